//! The weight of each member for each slot, and who is first by it.
//!
//! A view of 1,000 members has four million weights, and a node computes them at each change of the view, so this is made for
//! speed: what a weight is, and the order, is in the tests once more as plainly as can be.

use std::cmp::Reverse;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::id::Slot;
use crate::placement::view::MEMBERS_MAX;

#[cfg(test)]
mod tests;

/// The seed of all placement hashes. Part of the protocol.
const PLACEMENT_SEED: u64 = u64::from_be_bytes(*b"sessmesh");

/// Bytes 24 to 55 of the secret of xxh3 as little-endian numbers: the hash of 9 to 16 bytes uses these.
const SECRET: [u64; 4] = [0x1f67_b3b7_a4a4_4072, 0x78e5_c0cc_4ee6_79cb, 0x2172_ffcc_7dd0_5a82, 0x8e24_43f7_7446_08b8];
const FLIP_LOW: u64 = (SECRET[0] ^ SECRET[1]).wrapping_add(PLACEMENT_SEED);
const FLIP_HIGH: u64 = (SECRET[2] ^ SECRET[3]).wrapping_sub(PLACEMENT_SEED);

/// Bits that name a member in a key.
const MEMBER_BITS: u32 = MEMBERS_MAX.trailing_zeros();
const MEMBER_MASK: u64 = (1 << MEMBER_BITS) - 1;
const _: () = assert!(MEMBERS_MAX == 1 << MEMBER_BITS, "the members of a view have the numbers of so many bits");

pub(super) fn name_hash(name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), PLACEMENT_SEED)
}

/// The xxh3-64 of the slot (2 bytes) and the hash of the name (8 bytes), both little-endian.
///
/// Written out for these 10 bytes, of which the low and the high 8 are what xxh3 calls its two inputs: it takes a third of the
/// instructions.
#[inline]
pub(super) fn weight(slot: Slot, name_hash: u64) -> u64 {
    let low = (name_hash << 16 | u64::from(slot.number())) ^ FLIP_LOW;
    let high = name_hash ^ FLIP_HIGH;
    let product = u128::from(low) * u128::from(high);
    #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
    let folded = product as u64 ^ (product >> 64) as u64;
    let sum = low.swap_bytes().wrapping_add(high).wrapping_add(folded).wrapping_add(10);
    let mixed = (sum ^ sum >> 37).wrapping_mul(0x1656_6791_9e37_79f9);
    mixed ^ mixed >> 32
}

/// A member and its weight for one slot.
pub(super) type Weighed = (u64, u16);

/// Puts the `count` of `members` with the highest weights into `best`, the highest first. Of equal weights the first comes first.
///
/// Most members are worse than all that were chosen, so one look at the last of these is all that they cost.
pub(super) fn best(mut members: impl Iterator<Item = Weighed>, count: usize, best: &mut Vec<Weighed>) {
    best.clear();
    best.extend(members.by_ref().take(count));
    best.sort_by_key(|member| Reverse(member.0));
    for member in members {
        if best.last().is_some_and(|last| member.0 > last.0) {
            best.pop();
            insert(best, member);
        }
    }
}

/// The same for at most `count` of `members` that are all in different zones; `best` is empty. `zones` are by member.
///
/// As fast only if there are so many zones: until `count` are found, each member is looked at more closely.
pub(super) fn best_across_zones(
    members: impl Iterator<Item = Weighed>,
    zones: &[u16],
    count: usize,
    best: &mut Vec<Weighed>,
) {
    let zone = |member: u16| zones[usize::from(member)];
    for member in members {
        let full = best.len() == count;
        if full && best.last().is_none_or(|last| member.0 <= last.0) {
            continue;
        }
        match best.iter().position(|chosen| zone(chosen.1) == zone(member.1)) {
            Some(at) if best[at].0 >= member.0 => continue,
            Some(at) => drop(best.remove(at)),
            None if full => drop(best.pop()),
            None => {}
        }
        insert(best, member);
    }
}

fn insert(best: &mut Vec<Weighed>, member: Weighed) {
    let at = best.partition_point(|chosen| chosen.0 >= member.0);
    best.insert(at, member);
}

/// Sorts members by `weight`, the highest first, equal weights in the order of their numbers. `keys` is room to work in, and holds
/// the result: see [`member_of`].
///
/// A key is one number, the weight with the member in place of its lowest bits: that sorts in a fraction of the time. The few
/// members, if any, that differ in the lowest bits alone are put in order afterwards.
pub(super) fn sort(members: impl Iterator<Item = Weighed>, weight: impl Fn(u16) -> u64, keys: &mut Vec<u64>) {
    keys.clear();
    keys.extend(members.map(|(weight, member)| !weight & !MEMBER_MASK | u64::from(member)));
    keys.sort_unstable();
    for alike in keys.chunk_by_mut(|one, other| one >> MEMBER_BITS == other >> MEMBER_BITS) {
        if alike.len() > 1 {
            alike.sort_by_key(|key| !weight(member_of(*key)));
        }
    }
}

/// The member of a key.
#[allow(clippy::cast_possible_truncation, reason = "a member has 10 bits")]
pub(super) fn member_of(key: u64) -> u16 {
    (key & MEMBER_MASK) as u16
}
