use proptest::prelude::*;

use super::*;
use crate::terms::Mode;

fn member(name: &str, incarnation: u64) -> Member {
    Member {
        name: name.into(),
        incarnation,
        addr: "127.0.0.1:4000".parse().unwrap(),
        zone: "".into(),
        state: MemberState::Ready,
        terms: Terms { mode: Mode::PrimaryBackup { backups: 1 }, ..Terms::NONE },
    }
}

fn asking_for(mode: Mode, name: &str) -> Member {
    let member = member(name, 1);
    Member { terms: Terms { mode, ..member.terms }, ..member }
}

fn hash_with(change: impl FnOnce(&mut Member)) -> ViewHash {
    let mut changed = member("b", 7);
    change(&mut changed);
    View::new([member("a", 1), changed]).hash()
}

/// Computed with the reference implementation of xxHash (Python package `xxhash`).
#[test]
fn the_hashes_are_part_of_the_protocol() {
    assert_eq!(NodeHash::of("app-1", 1), NodeHash(0x0956_ed18_df79_0cf9));
    assert_eq!(NodeHash::of("", 0), NodeHash(0xc77b_3abb_6f87_acd9));
    assert_eq!(View::new([]).hash(), ViewHash(0xc44b_dff4_074e_ecdb));
    let leaving = Member { zone: "eu-1".into(), state: MemberState::Leaving, ..member("app-2", 9) };
    assert_eq!(View::new([member("app-1", 1), leaving]).hash(), ViewHash(0x4bca_5c5f_e4bd_69f1));
}

#[test]
fn the_newest_incarnation_of_a_name_wins() {
    let view = View::new([member("b", 1), member("a", 8), member("a", 9), member("a", 3)]);
    assert_eq!(view.members(), [member("a", 9), member("b", 1)]);
    assert_eq!((view.len(), view.is_empty()), (2, false));
}

#[test]
fn within_one_incarnation_leaving_wins() {
    let leaving = Member { state: MemberState::Leaving, ..member("a", 1) };
    assert_eq!(View::new([leaving.clone(), member("a", 1)]).members(), [leaving]);
}

#[test]
fn a_member_is_found_by_its_name() {
    let view = View::new([member("b", 1), member("a", 8)]);
    assert_eq!((view.index_of("a"), view.index_of("b"), view.index_of("c")), (Some(0), Some(1), None));
    assert_eq!(view.get("b"), Some(&member("b", 1)));
    assert_eq!(view.get(""), None);
    assert_eq!(member("b", 1).node(), NodeHash::of("b", 1));
}

#[test]
fn the_hash_sees_exactly_what_placement_and_ownership_depend_on() {
    let hash = hash_with(|_| ());
    assert_ne!(hash, hash_with(|m| m.name = "c".into()));
    assert_ne!(hash, hash_with(|m| m.incarnation = 8));
    assert_ne!(hash, hash_with(|m| m.zone = "z".into()));
    assert_ne!(hash, hash_with(|m| m.state = MemberState::Leaving));
    assert_eq!(hash, hash_with(|m| m.state = MemberState::Joining));
    assert_eq!(hash, hash_with(|m| m.addr = "10.0.0.1:1".parse().unwrap()));
}

#[test]
fn the_mode_in_force_is_the_largest_that_a_member_asks_for_while_it_is_there() {
    let modes = [1, 2].map(|backups| Mode::PrimaryBackup { backups });
    let view =
        |modes: &[Mode]| View::new(["a", "b", "c"].iter().zip(modes).map(|(name, mode)| asking_for(*mode, name)));
    let [one, two] = modes;
    let hashes = [[one, one, one], [one, two, one], [Mode::AllToAll, two, one]].map(|modes| {
        let (view, largest) = (view(&modes), modes.into_iter().max().unwrap());
        assert_eq!(view.in_force().mode, largest);
        view.hash()
    });
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    assert_eq!(view(&[one, two, one]).hash(), view(&[two, two, two]).hash(), "the same owners");
    let leaving = Member { state: MemberState::Leaving, ..asking_for(two, "b") };
    assert_eq!(View::new([asking_for(one, "a"), leaving]).in_force().mode, two);
    assert_eq!(View::new([asking_for(one, "a")]).in_force().mode, one);
}

#[test]
fn tombstones_are_kept_for_the_longest_time_and_trusted_for_the_shortest() {
    let keeping = |name: &str, tombstone_retention_ms| {
        let member = member(name, 1);
        Member { terms: Terms { tombstone_retention_ms, ..member.terms }, ..member }
    };
    let view = View::new([keeping("a", 60_000), keeping("b", 86_400_000), keeping("c", 3_600_000)]);
    assert_eq!(view.in_force().tombstone_retention_ms, 86_400_000);
    assert_eq!(view.shortest_retention_ms(), 60_000);
}

#[test]
fn text_cannot_move_between_name_and_zone_unnoticed() {
    let of = |name: &str, zone: &str| View::new([Member { zone: zone.into(), ..member(name, 1) }]).hash();
    assert_ne!(of("ab", "c"), of("a", "bc"));
}

#[test]
fn a_view_holds_no_more_than_its_limit() {
    let view = View::new((0..=MEMBERS_MAX).map(|n| member(&format!("{n:05}"), 1)));
    assert_eq!(view.len(), MEMBERS_MAX);
    assert_eq!(view.get("01024"), None);
}

fn any_member() -> impl Strategy<Value = Member> {
    use MemberState::{Joining, Leaving, Ready};
    ("[a-c]", 0..3_u64, 1..3_u16, "[yz]?", prop::sample::select(vec![Joining, Ready, Leaving])).prop_map(
        |(name, incarnation, port, zone, state)| Member {
            addr: ([127, 0, 0, 1], port).into(),
            zone: zone.into(),
            state,
            ..member(&name, incarnation)
        },
    )
}

proptest! {
    #[test]
    fn the_order_of_construction_does_not_matter(
        (members, shuffled) in prop::collection::vec(any_member(), 0..12)
            .prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
    ) {
        let view = View::new(members);
        prop_assert!(view.members().is_sorted_by(|a, b| a.name < b.name));
        prop_assert_eq!(view, View::new(shuffled));
    }

    #[test]
    fn the_hash_of_a_node_separates_name_and_incarnation(a in "[a-z]{0,20}", i: u64, b in "[a-z]{0,20}", j: u64) {
        prop_assert_eq!(NodeHash::of(&a, i) == NodeHash::of(&b, j), (a, i) == (b, j));
    }

    #[test]
    fn hashes_are_eight_little_endian_bytes_in_both_codecs(hash: u64) {
        let bytes = hash.to_le_bytes();
        prop_assert_eq!(&wincode::serialize(&NodeHash(hash)).unwrap()[..], &bytes[..]);
        prop_assert_eq!(&wincode::serialize(&ViewHash(hash)).unwrap()[..], &bytes[..]);
        prop_assert_eq!(bincode::serde::encode_to_vec(NodeHash(hash), bincode::config::legacy()).unwrap(), &bytes[..]);
        prop_assert_eq!(wincode::deserialize::<ViewHash>(&bytes).unwrap(), ViewHash(hash));
    }
}
