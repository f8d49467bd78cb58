use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const MOST: Bound = Bound { most: 6, before: at(u64::MAX >> 16) };
const ALL: Bound = Bound { most: usize::MAX, before: at(0) };

const fn at(ms: u64) -> Moment {
    Moment::START.plus_ms(ms)
}

fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn end(counter: u64, successor: Option<Successor>) -> Invalidated {
    Invalidated { successor, stamp: Stamp { counter, node: 7 }, retention_ms: 1_000, since: at(counter) }
}

/// Merges one end as owners do that hear of it.
fn hear(tombstones: &mut Tombstones, id: SessionId, end: &Invalidated) {
    let merged = tombstones.get(id).map_or(*end, |mut mine| {
        mine.merge(end);
        mine
    });
    tombstones.put(id, merged, MOST);
}

fn held(tombstones: &Tombstones) -> BTreeMap<SessionId, Invalidated> {
    tombstones.iter().collect()
}

fn ends() -> impl Strategy<Value = Vec<(SessionId, Invalidated)>> {
    let successor = prop_oneof![
        Just(None),
        (0..4_u8).prop_map(|to| Some(Successor::Renewed(id(to)))),
        (0..4_u8).prop_map(|to| Some(Successor::Moved(id(to)))),
    ];
    let one = (0..12_u8, 1..40_u64, 0..3_u64, successor).prop_map(|(of, counter, node, successor)| {
        (id(of), Invalidated { stamp: Stamp { counter, node }, retention_ms: 1_000 + node, ..end(counter, successor) })
    });
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn owners_hold_the_same_in_whatever_order_they_hear_of_ends(ends in ends(), swaps: Vec<(Index, Index)>) {
        let (mut here, mut there) = (Tombstones::default(), Tombstones::default());
        ends.iter().for_each(|(id, end)| hear(&mut here, *id, end));
        let mut shuffled = ends;
        if !shuffled.is_empty() {
            for (one, other) in swaps {
                let places = (one.index(shuffled.len()), other.index(shuffled.len()));
                shuffled.swap(places.0, places.1);
            }
        }
        shuffled.iter().for_each(|(id, end)| hear(&mut there, *id, end));
        // What one of them forgot meanwhile, the other one tells; where two ends of one id met, after a few audits.
        for _ in 0..3 {
            let (from_here, from_there) = (held(&here), held(&there));
            from_there.iter().for_each(|(id, end)| hear(&mut here, *id, end));
            from_here.iter().for_each(|(id, end)| hear(&mut there, *id, end));
        }
        prop_assert_eq!(held(&here), held(&there));
        prop_assert_eq!(here.digest(), there.digest());
        prop_assert!(here.len() <= MOST.most);
    }

    #[test]
    fn it_does_what_a_map_does(ends in ends(), removed: Vec<Index>) {
        let (mut packed, mut map) = (Tombstones::default(), BTreeMap::new());
        for (id, end) in &ends {
            prop_assert_eq!(packed.put(*id, *end, ALL), 0);
            map.insert(*id, *end);
            prop_assert_eq!(packed.get(*id), Some(*end));
        }
        for index in removed {
            let id = id(u8::try_from(index.index(12)).unwrap());
            prop_assert_eq!(packed.remove(id), map.remove(&id).is_some());
            prop_assert_eq!(packed.get(id), None);
        }
        let digest = map.iter().fold(0, |sum, (id, end)| sum ^ end.digest_of(*id));
        prop_assert_eq!((packed.len(), packed.digest()), (map.len(), digest));
        prop_assert_eq!(held(&packed), map);
    }
}

#[test]
fn of_too_many_the_earliest_ends_are_forgotten() {
    let mut tombstones = Tombstones::default();
    for number in 0..6 {
        assert_eq!(tombstones.put(id(number), end(10 + u64::from(number), None), MOST), 0);
    }
    assert_eq!(tombstones.put(id(6), end(20, None), MOST), 1);
    assert_eq!((tombstones.get(id(0)), tombstones.len()), (None, MOST.most));
    assert_eq!(tombstones.put(id(7), end(9, None), MOST), 1, "itself, since all others ended later");
    assert_eq!(tombstones.get(id(7)), None);
    assert_eq!(tombstones.put(id(6), end(20, Some(Successor::Moved(id(1)))), MOST), 0, "it has its place already");
}

#[test]
fn one_that_others_may_not_have_heard_of_is_not_forgotten() {
    let mut tombstones = Tombstones::default();
    let bound = |before| Bound { most: 2, before: at(before) };
    for number in 0..5 {
        assert_eq!(tombstones.put(id(number), end(100 + u64::from(number), None), bound(100)), 0);
    }
    assert_eq!(tombstones.put(id(5), end(105, None), bound(102)), 2, "the first two had their time");
    assert_eq!(tombstones.put(id(6), end(106, None), bound(200)), 3);
    assert_eq!(held(&tombstones).into_keys().collect::<Vec<_>>(), [id(5), id(6)]);
}

#[test]
fn spent_ones_are_forgotten_and_none_is_looked_at_before_one_is_due() {
    let mut tombstones = Tombstones::default();
    tombstones.put(id(1), end(0, None), MOST);
    tombstones.put(id(2), end(200, Some(Successor::Renewed(id(3)))), MOST);
    assert_eq!(tombstones.forget_spent(at(1_000), 50), 0, "kept for 1,000 ms");
    assert_eq!(tombstones.forget_spent(at(1_001), 50), 1);
    assert_eq!(tombstones.get(id(1)), None);
    assert_eq!(tombstones.digest(), end(200, Some(Successor::Renewed(id(3)))).digest_of(id(2)));
    assert_eq!(tombstones.forget_spent(at(1_201), 500), 1);
    assert_eq!((tombstones.len(), tombstones.digest()), (0, 0));
    // The next look comes after a pause.
    tombstones.put(id(1), end(2_000, None), MOST);
    tombstones.put(id(2), end(2_010, None), MOST);
    assert_eq!(tombstones.forget_spent(at(3_001), 500), 1);
    assert_eq!(tombstones.forget_spent(at(3_501), 500), 0);
    assert_eq!(tombstones.forget_spent(at(3_502), 500), 1);
}

#[test]
fn one_takes_little_more_than_its_row() {
    assert_eq!((size_of::<Row<Nothing>>(), size_of::<Row<Successor>>()), (27, 44));
    let mut tombstones = Tombstones::default();
    for number in 0..2_000_u16 {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.wrapping_mul(7_919).to_be_bytes());
        let successor = Some(Successor::Renewed(id(1)));
        tombstones.put(SessionId::from_bytes(bytes), end(1, successor), ALL);
        let (len, capacity) = (tombstones.went_on.0.len(), tombstones.went_on.0.capacity());
        assert!(len < 200 || capacity * 44 <= len * 48, "{capacity} places for {len}");
    }
}

#[test]
fn origins_are_kept_once_and_only_while_a_tombstone_has_them() {
    let mut tombstones = Tombstones::default();
    let of_node =
        |node: u64| Invalidated { stamp: Stamp { counter: 1, node }, retention_ms: 1_000 + node, ..end(0, None) };
    for node in 0..500 {
        let at = u8::try_from(node % 7).unwrap();
        tombstones.put(id(at), of_node(node), ALL);
        assert_eq!(tombstones.get(id(at)), Some(of_node(node)));
        assert!(tombstones.origins.0.len() <= ORIGINS_UNUSED + 2 * 7 + 1, "{} origins", tombstones.origins.0.len());
    }
    for at in 0..7 {
        tombstones.put(id(at), of_node(u64::from(at % 2)), ALL);
    }
    assert_eq!(tombstones.forget_spent(at(1_001), 0), 4, "those of the shorter retention");
    assert_eq!(tombstones.origins.0, [Origin::of(&of_node(1))]);
    assert_eq!(held(&tombstones), [1, 3, 5].map(|at| (id(at), of_node(1))).into());
}

#[test]
fn every_end_is_kept_as_it_is() {
    let far = |since| Invalidated {
        retention_ms: crate::session::RETENTION_MS_MAX,
        since: Moment::from_ms(since),
        ..end(u64::MAX - 1, None)
    };
    let mut tombstones = Tombstones::default();
    for since in [0, (1 << 24) - 1, 1 << 24, (1 << 48) + 7, u64::MAX] {
        tombstones.put(id(1), far(since), ALL);
        assert_eq!(tombstones.get(id(1)), Some(far(since)));
    }
}
