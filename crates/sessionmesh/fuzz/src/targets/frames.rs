//! A stream of frames, in pieces of any size.

use sessionmesh::fuzzing::{FRAME_BYTES_MAX, frames_of, messages_in};

use crate::stranger::Stranger;
use crate::{Outcome, Target, memory};

/// What reads frames: whatever pieces the bytes come in, the messages are the same, none is larger than the limit, and framed
/// again they are read again. The first byte says how many bytes come at a time, the second one which limit there is.
pub const TARGET: Target = Target { name: "frames", check, seeds };

const LIMITS: [usize; 3] = [4_096, 64, 64 << 20];

fn check(bytes: &[u8]) -> Outcome {
    let &[at_a_time, limit, ref stream @ ..] = bytes else { return Outcome::Refused };
    let limit = LIMITS[usize::from(limit) % LIMITS.len()];
    // A frame gets its room once its header has come; a message, while it grows, up to three times its own.
    let bound = 2 * FRAME_BYTES_MAX + 16 * stream.len();
    let read = |pieces| {
        let stranger = Stranger::new(stream, pieces);
        memory::within(bound, || messages_in(stranger, limit)).expect("the stream never waits")
    };
    let (messages, ended) = read(at_a_time);
    let at_once = read(0);
    assert_eq!((&messages, ended), (&at_once.0, at_once.1));
    assert!(messages.iter().all(|message| message.len() <= limit));
    assert!(messages.iter().map(Vec::len).sum::<usize>() <= stream.len());
    let framed: Vec<u8> = messages.iter().flat_map(|message| frames_of(message)).collect();
    assert_eq!(messages_in(&framed[..], limit), Some((messages, true)));
    Outcome::of(ended)
}

fn seeds() -> Vec<Vec<u8>> {
    let framed: Vec<Vec<u8>> = super::message::seeds().iter().map(|message| frames_of(message)).collect();
    let with = |head: [u8; 2], frames: &[Vec<u8>]| [&head[..], &frames.concat()].concat();
    // A message of three frames.
    let parts = [&[2, 0, 0, 0, 1, b'a'][..], &[3, 0, 0, 0, 1, b'b', b'c'], &[1, 0, 0, 0, 0]].map(<[u8]>::to_vec);
    vec![with([0, 0], &framed[..3]), with([1, 1], &framed[8..12]), with([7, 2], &framed[12..]), with([3, 0], &parts)]
}
