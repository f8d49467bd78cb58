//! A beacon of the multicast group, once it is opened.

use sessionmesh::fuzzing::{beacon, beacon_of};

use crate::{Outcome, Target, memory};

/// What reads beacons: what it reads is what was written, but for other flags and additions of later versions.
pub const TARGET: Target = Target { name: "beacon", check, seeds };

const NAME_BYTES_MAX: usize = 64;
/// Where the flags are, and the one that is known.
const FLAGS: usize = 4;
const ANSWER: u8 = 1;

fn check(bytes: &[u8]) -> Outcome {
    // Two names, and the bytes that are written for the comparison, in a buffer that grows.
    let Some(beacon) = memory::within(1_024, || beacon(bytes)) else { return Outcome::Refused };
    let (written, read) = (&beacon.written, &bytes[..beacon.written.len()]);
    assert_eq!(written[..FLAGS], read[..FLAGS]);
    assert_eq!(written[FLAGS], read[FLAGS] & ANSWER);
    assert_eq!(written[FLAGS + 1..], read[FLAGS + 1..]);
    assert!(beacon.cluster.len() <= NAME_BYTES_MAX && beacon.name.len() <= NAME_BYTES_MAX);
    Outcome::Read
}

fn seeds() -> Vec<Vec<u8>> {
    let (short, long) = (([10, 0, 0, 1], 7700).into(), ([0xfd00, 0, 0, 0, 0, 0, 0, 1], 7700).into());
    vec![
        beacon_of("web-1", short, false),
        beacon_of("web-2", long, true),
        beacon_of(&"n".repeat(NAME_BYTES_MAX), ([0, 0, 0, 0], 1).into(), false),
    ]
}
