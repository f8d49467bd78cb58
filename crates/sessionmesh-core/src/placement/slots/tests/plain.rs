//! The owners once more, as plainly as the rule can be said, to compare with: all members are weighed and sorted.

use std::cmp::Reverse;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;

const SEED: u64 = u64::from_be_bytes(*b"sessmesh");

fn plain_weight(view: &View, slot: Slot, member: u16) -> u64 {
    let name = xxh3_64_with_seed(view.members()[usize::from(member)].name.as_bytes(), SEED);
    xxh3_64_with_seed(&[&slot.number().to_le_bytes()[..], &name.to_le_bytes()].concat(), SEED)
}

/// These members by weight.
fn plain_order(view: &View, slot: Slot, mut members: Vec<u16>) -> Vec<u16> {
    members.sort_by_cached_key(|&member| (Reverse(plain_weight(view, slot, member)), member));
    members
}

fn plain_owners(view: &View, mode: Mode, slot: Slot) -> Vec<u16> {
    let state = |member: &u16| view.members()[usize::from(*member)].state;
    let all: Vec<u16> = indices(view).collect();
    let staying: Vec<u16> = all.iter().copied().filter(|member| state(member) != MemberState::Leaving).collect();
    let ranked = plain_order(view, slot, if staying.is_empty() { all } else { staying });
    let Mode::PrimaryBackup { backups } = mode else { return ranked };
    let mut zones = BTreeSet::new();
    let (first_of_zone, rest): (Vec<u16>, Vec<u16>) = ranked.into_iter().partition(|member| {
        let zone = &view.members()[usize::from(*member)].zone;
        zone.is_empty() || zones.insert(zone.clone())
    });
    first_of_zone.into_iter().chain(rest).take(usize::from(backups) + 1).collect()
}

fn plain_ranking(view: &View, mode: Mode, slot: Slot) -> Vec<u16> {
    let owners = plain_owners(view, mode, slot);
    let others = plain_order(view, slot, indices(view).filter(|member| !owners.contains(member)).collect());
    let (leaving, staying): (Vec<u16>, Vec<u16>) = others.into_iter().partition(|&member| is_leaving(view, member));
    [owners, staying, leaving].concat()
}

fn assert_as_plain(view: &View, mode: Mode, looked_at: impl Iterator<Item = Slot>) {
    let slots = Slots::new(view, mode);
    for slot in looked_at {
        assert_eq!(slots.owners(slot), plain_owners(view, mode, slot), "{slot} of {} in {mode:?}", view.len());
        assert_eq!(slots.ranking(view, slot), plain_ranking(view, mode, slot), "{slot} of {} in {mode:?}", view.len());
    }
}

#[test]
fn a_thousand_members_own_what_the_plain_rule_says() {
    for zones in [1, 3, 400] {
        let members = (0..1_000).map(|number| {
            let zone = if zones == 1 { String::new() } else { format!("zone-{}", number % zones) };
            let state = if number % 50 == 7 { MemberState::Leaving } else { MemberState::Ready };
            Member { state, ..member(&format!("node-{number:05}"), &zone) }
        });
        let view = View::new(members);
        for mode in [backups(1), backups(5), Mode::AllToAll] {
            assert_as_plain(&view, mode, Slot::all().step_by(1023));
        }
    }
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![1 => Just(Mode::AllToAll), 4 => (0..6_u8).prop_map(backups), 1 => any::<u8>().prop_map(backups)]
}

/// Members in a few zones, in many or in none, in all states; sometimes all of them are leaving.
fn any_members() -> impl Strategy<Value = Vec<Member>> {
    let zone = prop_oneof!["", "(|z1|z2|z3)", "z[0-9]{0,2}"].boxed();
    let placed = (zone, 0..6_u8);
    (prop::collection::btree_map("[a-z0-9-]{0,6}", placed, 0..40), prop::bool::weighted(0.1), any::<bool>()).prop_map(
        |(members, all_leave, zoned)| {
            let state = |number| match number {
                _ if all_leave => MemberState::Leaving,
                0 => MemberState::Leaving,
                1 => MemberState::Joining,
                _ => MemberState::Ready,
            };
            let members = members.iter();
            members
                .map(|(name, (zone, number))| Member {
                    state: state(*number),
                    ..member(name, if zoned { zone } else { "" })
                })
                .collect()
        },
    )
}

proptest! {
    #[test]
    fn the_owners_and_the_ranking_are_those_of_the_plain_rule(members in any_members(), mode in any_mode(), first in 0..64_usize) {
        assert_as_plain(&View::new(members), mode, Slot::all().skip(first).step_by(64));
    }
}
