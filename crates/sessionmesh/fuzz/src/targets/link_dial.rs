//! A connection that this node has opened, to a stranger.

use sessionmesh::fuzzing::refusal;
use sessionmesh::network::ByteStream;

use super::link_accept::{DOORS, MEMORY_BYTES_MAX, READ_MAX, handshake};
use crate::stranger::Stranger;
use crate::{Outcome, Target, memory};

/// What dials: nobody is taken for a member by saying something that was not made for this connection, no more is read than a
/// handshake takes, and memory is bounded. The first byte says how many bytes come at a time.
pub const TARGET: Target = Target { name: "link_dial", check, seeds };

/// A dialler says less than this to anybody.
const WRITTEN_MAX: usize = 2_048;

fn check(bytes: &[u8]) -> Outcome {
    let &[at_a_time, ref said @ ..] = bytes else { return Outcome::Refused };
    let [door, ..] = &*DOORS;
    let stranger = Stranger::new(said, at_a_time);
    let boxed: Box<dyn ByteStream> = Box::new(stranger.clone());
    let allowed = MEMORY_BYTES_MAX + said.len();
    let dialled = memory::within(allowed, || door.dial(boxed)).expect("it never waits for a stranger who has closed");
    let Err(error) = dialled else { panic!("a stranger was taken for a member") };
    assert!(stranger.read() <= READ_MAX && (64..WRITTEN_MAX).contains(&stranger.written()));
    let why = refusal(&error);
    assert!(why.is_some(), "no reason to count: {error}");
    // What was TLS, but proved nothing.
    Outcome::of(why.is_some_and(|why| why.contains("did not prove")))
}

fn seeds() -> Vec<Vec<u8>> {
    let (_, listener) = handshake();
    let with = |head: u8, said: &[u8]| [&[head][..], said].concat();
    vec![
        with(0, &listener),
        with(90, &listener),
        with(3, &listener[..listener.len() / 2]),
        with(0, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ]
}
