//! A beacon of the multicast group, once it is opened.

use sessionmesh::fuzzing::{beacon, beacon_of};

use crate::{Outcome, Target, memory};

/// What reads beacons: what it reads is what was written.
pub const TARGET: Target = Target { name: "beacon", check, seeds };

const NAME_BYTES_MAX: usize = 64;

fn check(bytes: &[u8]) -> Outcome {
    // Two names, and the bytes that are written for the comparison, in a buffer that grows.
    let Some(beacon) = memory::within(1_024, || beacon(bytes)) else { return Outcome::Refused };
    assert_eq!(beacon.written, bytes);
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
