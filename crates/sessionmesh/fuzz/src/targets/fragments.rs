//! Gossip in parts: datagrams in any order, from anybody.

use std::net::SocketAddr;

use sessionmesh::fuzzing::Parts;
use tokio::runtime::{Builder, Runtime};

use crate::script::Script;
use crate::{Outcome, Target};

/// What puts parts together: a message that is cut arrives whole from parts in any order, everything else makes none that is
/// longer than its parts, and little is kept of what never becomes whole. The input says which datagrams come.
pub const TARGET: Target = Target { name: "fragments", check, seeds };

const MESSAGES_MAX: usize = 32;
/// More say nothing new, and each may be a message of 65 KB.
const STEPS_MAX: usize = 16;
/// From this kind of a step on a message may have as many parts as there can be.
const MANY_PARTS_FROM: u8 = 248;
/// What the gossip library makes at most.
const MESSAGE_BYTES_MAX: usize = 65_510;
/// A datagram is not longer, unsealed.
const PART_BYTES_MAX: usize = 1_200;

fn from(port: u8) -> SocketAddr {
    ([10, 0, 0, 1], u16::from(port)).into()
}

thread_local! {
    /// A clock that stands: a part that is late counts as lost, and a fuzzer may be paused.
    static CLOCK: Runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
}

fn check(bytes: &[u8]) -> Outcome {
    CLOCK.with(|clock| {
        let _standing = clock.enter();
        play(bytes)
    })
}

fn play(bytes: &[u8]) -> Outcome {
    let (mut parts, mut script, mut number, mut whole) = (Parts::default(), Script::new(bytes), 1_000, 0);
    for step in std::iter::from_fn(|| step(&mut script)).take(STEPS_MAX) {
        match step {
            Step::Datagram { port, datagram } => {
                let is_part = datagram.starts_with(&[0x53, 0xb1]);
                let (before, length) = (parts.held().1, datagram.len());
                let message = parts.take(from(port), datagram.clone());
                assert!(is_part || message.as_ref() == Some(&datagram), "what is no part is given as it is");
                assert!(!is_part || message.is_none_or(|message| message.len() <= before + length));
            }
            Step::Message { length, first, without_last } => {
                number += 1;
                let message: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
                let mut datagrams = Parts::cut(message.clone(), number);
                assert!(datagrams.iter().all(|datagram| datagram.len() <= PART_BYTES_MAX));
                let middle = first % datagrams.len();
                datagrams.rotate_left(middle);
                let last = datagrams.pop().expect("there is one at least");
                for datagram in datagrams {
                    assert_eq!(parts.take(from(0), datagram), None, "a part is missing");
                }
                if !without_last {
                    assert_eq!(parts.take(from(0), last), Some(message));
                    whole += 1;
                }
            }
        }
        let (messages, bytes) = parts.held();
        assert!(messages <= MESSAGES_MAX && bytes <= messages * 70_000);
    }
    Outcome::of(whole > 0)
}

enum Step {
    Datagram { port: u8, datagram: Vec<u8> },
    Message { length: usize, first: usize, without_last: bool },
}

fn step(script: &mut Script<'_>) -> Option<Step> {
    let kind = script.byte()?;
    match kind % 4 {
        0 => {
            let port = script.byte()?;
            let length = script.byte()?;
            Some(Step::Datagram { port, datagram: script.bytes(length.into()).to_vec() })
        }
        1 => {
            let (port, number, at, count, length) =
                (script.byte()?, script.byte()?, script.byte()?, script.byte()?, script.number()?);
            let head = [&[0x53, 0xb1][..], &u64::from(number % 4).to_le_bytes(), &[at, count]].concat();
            let part = [head, vec![at; usize::from(length) % (PART_BYTES_MAX + 100)]].concat();
            Some(Step::Datagram { port: port % 3 + 1, datagram: part })
        }
        _ => {
            let (length, first) = (script.number()?, script.byte()?);
            // Most have a few parts: what is cut into many takes long, and says little more.
            let most = if kind >= MANY_PARTS_FROM { MESSAGE_BYTES_MAX } else { 5 * PART_BYTES_MAX };
            let length = usize::from(length) % most;
            Some(Step::Message { length, first: first.into(), without_last: kind % 4 == 3 })
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        // A message of three parts, a small one, and one that stays without its last part.
        vec![2, 0xb8, 0x0b, 1, 2, 5, 0, 0, 3, 0xb8, 0x0b, 0],
        // Two parts that somebody made, the second one first, between others; and a datagram that is no part.
        vec![1, 1, 1, 1, 2, 4, 0, 0, 1, 3, 9, 8, 7, 1, 1, 1, 0, 2, 4, 0, 2, 0xff, 0xff, 40],
        // A message of as many parts as there can be.
        vec![250, 0xe5, 0xff, 7],
        // Parts that do not fit each other.
        vec![1, 1, 1, 0, 3, 9, 0, 1, 1, 1, 2, 2, 9, 0, 1, 1, 1, 200, 255, 9, 0, 2, 1, 0, 0],
    ]
}
