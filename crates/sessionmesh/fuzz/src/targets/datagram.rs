//! One datagram, of anybody, at nodes with and without a secret.

use std::sync::LazyLock;

use sessionmesh::fuzzing::{Ear, Forged, Keys, SealedNode};

use crate::{Outcome, Target, memory, public_secret};

/// What opens datagrams: without the key of the sender it gives nothing, recorded datagrams give nothing but a beacon, an answer
/// is not longer than what it answers, and in clear what is for this cluster is given as it is.
pub const TARGET: Target = Target { name: "datagram", check, seeds };

struct Ears {
    strict: Ear,
    of_others: Ear,
    half: Ear,
    without: Ear,
    /// What datagrams in clear begin with in this cluster.
    mark: Vec<u8>,
}

static EARS: LazyLock<Ears> = LazyLock::new(|| {
    let without = Ear::new(&[], true);
    let mark = without.says(b"").remove(0);
    let strict = Ear::new(&[public_secret()], false);
    let half = Ear::new(&[public_secret()], true);
    Ears { strict, of_others: Ear::new(&[sessionmesh::Secret::generate()], false), half, without, mark }
});

/// What the beacons of the seeds say.
const BEACON: &[u8] = b"here";

fn check(bytes: &[u8]) -> Outcome {
    let ears = &*EARS;
    let bound = 8_192 + 8 * bytes.len();
    let hears = |ear: &Ear| memory::within(bound, || ear.hears(bytes));
    assert_eq!(hears(&ears.of_others), (None, 0, None), "it has another secret");
    let (payload, sent, beacon) = hears(&ears.strict);
    assert_eq!(payload, None, "it is meant for no token of this life");
    assert!(sent <= bytes.len(), "the answer is longer than what it answers");
    assert!(beacon.as_deref().is_none_or(|beacon| beacon == BEACON), "nobody has sealed this");
    let in_clear = bytes.strip_prefix(&ears.mark[..]).map(<[u8]>::to_vec);
    assert_eq!(hears(&ears.without), (in_clear.clone(), 0, in_clear.clone()));
    if in_clear.is_some() {
        assert_eq!(hears(&ears.half), (in_clear.clone(), 0, in_clear.clone()));
    }
    Outcome::of(in_clear.is_some() || beacon.is_some() || sent > 0)
}

fn seeds() -> Vec<Vec<u8>> {
    let keys = |cluster| Keys::new(&[public_secret()], cluster).expect("there is a secret");
    let ours = keys("shop");
    let mut node = SealedNode::new(&ours);
    let (life, greeting) = ([3; 16], vec![4; 18]);
    let forged = |kind| Forged { life, number: 1, kind, sender: 5, receiver: 6, payload: greeting.clone() };
    let mut seeds = Ear::new(&[], true).says(b"gossip");
    seeds.push(node.seal_beacon(BEACON));
    seeds.extend(node.seal(b"gossip", ([10, 0, 0, 2], 7700).into()));
    seeds.extend([0, 1, 2].map(|kind| forged(kind).seal(&ours)));
    seeds.push(forged(1).seal(&keys("another")));
    seeds
}
