use proptest::prelude::*;

use super::*;

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// Computed with the reference implementation of xxHash (Python package `xxhash`).
#[test]
fn the_weights_are_part_of_the_protocol() {
    assert_eq!(PLACEMENT_SEED, 0x7365_7373_6d65_7368);
    assert_eq!(name_hash("app-1"), 0xcd69_aa8f_18d8_946a);
    assert_eq!(name_hash(""), 0x4310_007f_da07_4d7b);
    assert_eq!(weight(slot(0), name_hash("app-1")), 0xa665_1275_e2d8_260d);
    assert_eq!(weight(slot(4095), name_hash("app-1")), 0xeb7b_398f_9fab_87eb);
    assert_eq!(weight(slot(0x0102), 0x0102_0304_0506_0708), 0xcb16_3669_5b7c_7b75);
}

/// A weight of few, so that there are equal ones, and ones that differ in the bits alone for which a key has no room.
fn few_weights() -> impl Strategy<Value = u64> {
    let (high, low) = (0..3_u64, prop_oneof![Just(0_u64), Just(1), Just(MEMBER_MASK), Just(MEMBER_MASK + 1)]);
    prop_oneof![4 => (high, low).prop_map(|(high, low)| high << 62 | low), 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

/// Some members of those that there may be, each with its weight and its zone.
fn members() -> impl Strategy<Value = Vec<(Weighed, u16)>> {
    let member = (few_weights(), prop::bool::weighted(0.8), 0..5_u16);
    prop::collection::vec(member, 0..40).prop_map(|all| {
        let numbered = all.into_iter().zip((0..).step_by(25));
        numbered.filter(|((_, is, _), _)| *is).map(|((weight, _, zone), member)| ((weight, member), zone)).collect()
    })
}

/// The members from the highest weight to the lowest, equal weights in the order of their numbers.
fn in_order(members: &[(Weighed, u16)]) -> Vec<(Weighed, u16)> {
    let mut sorted = members.to_vec();
    sorted.sort_by(|((one, a), _), ((other, b), _)| other.cmp(one).then(a.cmp(b)));
    sorted
}

fn weighed(members: &[(Weighed, u16)]) -> impl Iterator<Item = Weighed> {
    members.iter().map(|(weighed, _)| *weighed)
}

proptest! {
    #[test]
    fn a_weight_is_the_hash_of_slot_and_name(number in 0..4096_u16, name_hash: u64) {
        let bytes = [&number.to_le_bytes()[..], &name_hash.to_le_bytes()].concat();
        prop_assert_eq!(weight(slot(number), name_hash), xxh3_64_with_seed(&bytes, PLACEMENT_SEED));
    }

    #[test]
    fn the_best_are_the_first_in_the_order(members in members(), count in 0..8_usize) {
        let mut found = vec![(1, 1)];
        best(weighed(&members), count, &mut found);
        let wanted: Vec<Weighed> = weighed(&in_order(&members)).take(count).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn the_best_across_zones_are_the_first_of_their_zones_in_the_order(members in members(), count in 0..8_usize) {
        let mut zones = vec![0; MEMBERS_MAX];
        let (mut used, mut wanted) = (Vec::new(), Vec::new());
        for ((weight, member), zone) in in_order(&members) {
            zones[usize::from(member)] = zone;
            if !used.contains(&zone) {
                used.push(zone);
                wanted.push((weight, member));
            }
        }
        wanted.truncate(count);
        let mut found = Vec::new();
        best_across_zones(weighed(&members), &zones, count, &mut found);
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn sorted_members_are_in_the_order(members in members()) {
        let weight = |member| weighed(&members).find(|(_, other)| *other == member).unwrap().0;
        let mut keys = vec![1];
        sort(weighed(&members), weight, &mut keys);
        let wanted: Vec<u16> = weighed(&in_order(&members)).map(|(_, member)| member).collect();
        prop_assert_eq!(keys.into_iter().map(member_of).collect::<Vec<_>>(), wanted);
    }
}
