//! What is judged of a gossip message before the library sees it. The library itself is no target: it is not ours.

use sessionmesh::fuzzing::{gossip_guard, incarnation_bytes};

use crate::{Outcome, Target, memory};

/// The guard: whom it names stands in the message, with names that are not too long; it has room for no more than it says;
/// what follows a delta changes nothing, and a delta that is cut is refused.
pub const TARGET: Target = Target { name: "gossip_guard", check, seeds };

const NAME_BYTES_MAX: usize = 64;
/// The largest message that goes to the guard.
const MESSAGE_BYTES_MAX: usize = 65_535;
/// What a digest says of an incarnation, beside its id.
const COUNTERS_BYTES: usize = 24;
/// Header, kind and the count of a digest.
const DIGEST_AT: usize = 6;
/// Incarnations that there is room for at a node that knows nobody.
const FIRST_LIVES_MAX: usize = 640;
const DIGEST_BYTES_MAX: usize = 64_000;
/// A delta unpacks to 2 MiB at most, in a buffer that grows; beside it one block.
const UNPACKED_BYTES_MAX: usize = 7 << 20;

fn check(bytes: &[u8]) -> Outcome {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Outcome::Refused;
    }
    let bound = UNPACKED_BYTES_MAX + 32 * bytes.len();
    let Some((introduced, has_room)) = memory::within(bound, || gossip_guard(bytes)) else { return Outcome::Refused };
    assert!(bytes.starts_with(&[0x53, 0xb0, 0]) && bytes[3] <= 3, "only messages of the library pass");
    let mut at = DIGEST_AT;
    for one in &introduced {
        assert!(one.name.len() <= NAME_BYTES_MAX);
        assert!(bytes[at..].starts_with(&one.written), "it is introduced by the message");
        at += one.written.len() + COUNTERS_BYTES;
    }
    let digest: usize = introduced.iter().map(|one| one.written.len() + COUNTERS_BYTES).sum();
    assert!(!has_room || introduced.len() <= FIRST_LIVES_MAX && digest <= DIGEST_BYTES_MAX);
    assert!(passes(&[bytes, &[0]].concat()), "what follows is not looked at");
    if bytes[3] == 1 || bytes[3] == 2 {
        assert!(!passes(&bytes[..if bytes[3] == 1 { at } else { 4 }]), "there is no delta any more");
    }
    Outcome::Read
}

fn passes(bytes: &[u8]) -> bool {
    gossip_guard(bytes).is_some()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_le_bytes()[..], text.as_bytes()].concat()
}

fn web(number: u8) -> Vec<u8> {
    incarnation_bytes(&format!("web-{number}"), 1_700_000_000_000, ([10, 0, 0, number], 7700).into())
}

fn digest(names: u8) -> Vec<u8> {
    let ids = (1..=names).flat_map(|number| [web(number), vec![0; COUNTERS_BYTES]].concat());
    [&[names, 0][..], &ids.collect::<Vec<u8>>()].concat()
}

/// What members say of themselves, in one block.
fn delta(compressed: bool) -> Vec<u8> {
    let value = |key: &str, value: &str, version: u64| {
        [&[1][..], &text(key), &text(value), &version.to_le_bytes(), &[0]].concat()
    };
    let node = |number: u8| [&[0][..], &web(number), &[0; 16]].concat();
    let terms = "1 500 1000 1800000 900000 1000000 256 256 1048576 4194304 0 0";
    let said = [
        node(1),
        value("addr", "10.0.0.1:7700", 1),
        value("state", "ready", 4),
        value("terms", terms, 5),
        value("zone", "", 2),
        node(2),
        [&[2][..], &9_u64.to_le_bytes()].concat(),
    ]
    .concat();
    let block = if compressed { zstd::bulk::compress(&said, 0).expect("it can be compressed") } else { said };
    let length = u16::try_from(block.len()).expect("a small block");
    [&[if compressed { 1 } else { 2 }][..], &length.to_le_bytes(), &block, &[0]].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let message = |kind: u8, parts: &[Vec<u8>]| [&[0x53, 0xb0, 0, kind][..], &parts.concat()].concat();
    vec![
        message(0, &[digest(3), text("shop")]),
        message(1, &[digest(2), delta(false)]),
        message(1, &[digest(1), delta(true)]),
        message(2, &[delta(false)]),
        message(2, &[delta(true)]),
        message(2, &[vec![0]]),
        message(3, &[]),
    ]
}
