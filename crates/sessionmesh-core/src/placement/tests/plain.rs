//! The plan of a hand-over once more, as plainly as the rule can be said, to compare with: members are looked up by who they are.

use super::*;
use crate::arbitrary::member;
use crate::stamp::Stamp;
use crate::terms::{Mode, Terms};

fn plain_plan(before: &Placement, after: &Placement, slot: Slot, known: &BTreeSet<NodeHash>) -> handoff::Plan {
    let old = before.owner_nodes(slot);
    let whole_or_digest = |node: NodeHash| {
        if known.contains(&node) { Stamp::DIGEST_ONLY } else { Stamp::ZERO }
    };
    let is_new = |node: NodeHash| !old.contains(&node);
    if !after.is_owner(slot) {
        let from = |node| if is_new(node) { whole_or_digest(node) } else { Stamp::DIGEST_ONLY };
        return after.owners(slot).map(|node| (node, from(node))).collect();
    }
    let me = after.node();
    if is_new(me) {
        return after.owners(slot).map(|node| (node, Stamp::DIGEST_ONLY)).collect();
    }
    let new = after.owner_nodes(slot);
    if new.iter().find(|node| old.contains(node) && !after.is_newcomer(**node)) != Some(&me) {
        return handoff::Plan::new();
    }
    let displaced = old.iter().any(|node| !new.contains(node) && after.is_other(*node));
    after
        .owners(slot)
        .filter(|node| if is_new(*node) { !displaced } else { after.is_newcomer(*node) })
        .map(|node| (node, if is_new(node) { whole_or_digest(node) } else { Stamp::DIGEST_ONLY }))
        .collect()
}

/// The node `a`, and some of eleven others: each in a zone or in none, in any state, sometimes restarted.
fn members() -> impl Strategy<Value = Vec<Member>> {
    let state =
        prop_oneof![1 => Just(MemberState::Joining), 3 => Just(MemberState::Ready), 1 => Just(MemberState::Leaving)];
    let one = (prop::bool::weighted(0.8), state, prop_oneof![Just(""), Just("z1"), Just("z2")], 1..3_u64);
    prop::collection::vec(one, 12).prop_map(|all| {
        let named = all.into_iter().zip('a'..);
        let there = named.filter(|((there, ..), name)| *there || *name == 'a');
        let member = |((_, state, zone, incarnation), name): (_, char)| Member {
            zone: Arc::from(zone),
            incarnation: if name == 'a' { 1 } else { incarnation },
            ..member(&name.to_string(), state)
        };
        there.map(member).collect()
    })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![1 => Just(Mode::AllToAll), 3 => (0..4_u8).prop_map(|backups| Mode::PrimaryBackup { backups })]
}

fn placed(members: Vec<Member>, mode: Mode) -> Placement {
    let view = View::new(members.into_iter().map(|member| Member { terms: Terms { mode, ..member.terms }, ..member }));
    let slots = Arc::new(Slots::new(&view, mode));
    Placement::new(1, view, slots, "a")
}

proptest! {
    #[test]
    fn a_plan_is_that_of_the_plain_rule(
        old in (members(), mode()), new in (members(), mode()), same_mode: bool, known: u32, first in 0..32_usize,
    ) {
        let (before, after) = (placed(old.0, old.1), placed(new.0, if same_mode { old.1 } else { new.1 }));
        let seen = before.nodes.iter().chain(after.nodes.iter()).zip(0..);
        let known = seen.filter(|(_, at)| known >> at & 1 == 1).map(|(node, _)| *node).collect();
        let handoff = Handoff::new(&before, &after, &known);
        for slot in Slot::all().skip(first).step_by(32) {
            prop_assert_eq!(handoff.plan(slot), plain_plan(&before, &after, slot, &known), "{}", slot);
        }
    }
}
