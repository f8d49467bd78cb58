use std::collections::BTreeSet;

use proptest::prelude::*;

use super::drain::{self, Drain};
use super::handoff::Handoff;
use super::*;
use crate::arbitrary::{member, placement};
use crate::replication::targets::targets;
use crate::stamp::Stamp;

mod plain;

const TIMING: Timing = Timing::new(500);
const NOW: Moment = Moment::START.plus_ms(100_000);

fn node(name: &str) -> NodeHash {
    NodeHash::of(name, 1)
}

/// A slot that these own under the placement, the primary first.
fn slot_of(placement: &Placement, owners: &[&str]) -> Slot {
    let owners: Vec<NodeHash> = owners.iter().map(|name| node(name)).collect();
    Slot::all().find(|slot| placement.owner_nodes(*slot) == owners).expect("of 4096 slots some are theirs")
}

/// A peer that goes by this view, and that this node granted a lease to just now.
fn healthy(placement: &Placement) -> PeerStatus {
    PeerStatus {
        view: Some(placement.hash()),
        granted_until: Some(NOW.plus_ms(100)),
        view_outlasts_leases: true,
        ..PeerStatus::default()
    }
}

fn left_out() -> PeerStatus {
    PeerStatus { left_out: true, silent: true, ..PeerStatus::default() }
}

#[test]
fn a_commit_waits_for_the_owners_and_for_who_stands_in_for_one_that_is_left_out() {
    let here = placement("a", &["a", "b", "c", "d"]);
    let slot = slot_of(&here, &["a", "b"]);
    let all_healthy = targets(&here, slot, false, |_| Some(healthy(&here)), &TIMING, NOW);
    assert_eq!(
        (all_healthy.owners, all_healthy.stand_ins, all_healthy.also_awaited),
        (vec![node("b")], vec![], vec![])
    );
    let next = here.stand_ins(slot).collect::<Vec<_>>();
    let without_b = |other| if other == node("b") { Some(left_out()) } else { Some(healthy(&here)) };
    let stood_in = targets(&here, slot, false, without_b, &TIMING, NOW);
    assert_eq!((stood_in.owners, stood_in.stand_ins), (vec![], vec![next[0]]));
    let without_two = |other| if other == next[1] { Some(healthy(&here)) } else { Some(left_out()) };
    assert_eq!(targets(&here, slot, false, without_two, &TIMING, NOW).stand_ins, [next[1]]);
}

#[test]
fn an_owner_under_the_view_before_is_waited_for_until_its_lease_has_run_out_or_it_goes_by_this_one() {
    let before = placement("a", &["a", "b", "c"]);
    let after = placement("a", &["a", "b", "c", "d"]).replacing(&before, &TIMING, NOW);
    let slot = Slot::all()
        .find(|slot| {
            before.owner_nodes(*slot) == [node("a"), node("b")] && !after.owners(*slot).any(|own| own == node("b"))
        })
        .expect("the newcomer takes some slots of b");
    let old = |other| {
        let view = if other == node("b") { before.hash() } else { after.hash() };
        Some(PeerStatus { view: Some(view), ..healthy(&after) })
    };
    let displaced = |now| targets(&after, slot, false, old, &TIMING, now).also_awaited;
    assert_eq!(displaced(NOW), [node("b")]);
    assert_eq!(displaced(NOW.plus_ms(99)), [node("b")]);
    assert!(displaced(NOW.plus_ms(100)).is_empty(), "its lease has run out");
    assert!(targets(&after, slot, false, |_| Some(healthy(&after)), &TIMING, NOW).also_awaited.is_empty());
    assert!(
        targets(&after, slot, false, |_| None, &TIMING, NOW).also_awaited.is_empty(),
        "there is no link to it any more"
    );
}

#[test]
fn an_owner_from_two_views_ago_is_waited_for_as_long_as_its_lease_may_run() {
    let first = placement("a", &["a", "b", "c"]);
    let second = placement("a", &["a", "b", "c", "d"]).replacing(&first, &TIMING, NOW);
    let third = placement("a", &["a", "b", "c", "d", "e"]).replacing(&second, &TIMING, NOW.plus_ms(50));
    let owned_by_b = |placement: &Placement, slot| placement.owners(slot).any(|owner| owner == node("b"));
    let slot = Slot::all()
        .find(|slot| owned_by_b(&first, *slot) && !owned_by_b(&second, *slot) && !owned_by_b(&third, *slot))
        .expect("the first newcomer takes some slots of b");
    let b_behind = |other| {
        let view = if other == node("b") { first.hash() } else { third.hash() };
        Some(PeerStatus { view: Some(view), granted_until: Some(NOW.plus_ms(1_000)), ..healthy(&third) })
    };
    let waits_for_b = |now| third.displaced(slot, b_behind, &TIMING, now).contains(&node("b"));
    assert!(waits_for_b(NOW.plus_ms(TIMING.lease_ms - 1)));
    assert!(!waits_for_b(NOW.plus_ms(TIMING.lease_ms)), "no lease of the first view runs any more");
}

#[test]
fn a_node_that_was_started_again_is_sent_all_as_if_it_had_never_been_there() {
    let before = placement("a", &["a", "b", "c"]);
    let known: BTreeSet<NodeHash> = before.view.members().iter().map(Member::node).collect();
    for state in [MemberState::Joining, MemberState::Ready] {
        let again = Member { incarnation: 2, ..member("b", state) };
        let view = View::new([member("a", MemberState::Ready), again, member("c", MemberState::Ready)]);
        let slots = Arc::new(Slots::new(&view, view.in_force().mode));
        let after = Placement::new(2, view, slots, "a");
        for owners in [["a", "b"], ["b", "a"]] {
            let plan = Handoff::new(&before, &after, &known).plan(slot_of(&before, &owners));
            assert_eq!(plan, [(NodeHash::of("b", 2), Stamp::ZERO)], "{state:?} {owners:?}");
        }
    }
}

#[test]
fn after_a_stall_those_are_waited_for_that_have_not_said_that_they_count_this_node() {
    let here = placement("a", &["a", "b", "c"]);
    let slot = slot_of(&here, &["a", "b"]);
    let doubted = PeerStatus { doubted: true, view: None, granted_until: None, ..healthy(&here) };
    let c_doubted = |other| Some(if other == node("c") { doubted } else { healthy(&here) });
    assert_eq!(targets(&here, slot, true, c_doubted, &TIMING, NOW).also_awaited, [node("c")]);
    assert!(targets(&here, slot, false, c_doubted, &TIMING, NOW).also_awaited.is_empty());
}

#[test]
fn one_that_is_left_out_and_may_never_say_so_is_waited_for_only_where_nobody_else_can_vouch() {
    let here = placement("a", &["a", "b", "c"]);
    let mute = PeerStatus { doubted: true, ..left_out() };
    let c_mute = |other| Some(if other == node("c") { mute } else { healthy(&here) });
    assert!(here.unaware(c_mute).is_empty(), "b has gone by this view for a lease");
    let b_new = |other| {
        let b = PeerStatus { view_outlasts_leases: false, ..healthy(&here) };
        Some(if other == node("c") { mute } else { b })
    };
    assert_eq!(here.unaware(b_new), [node("c")]);
    let silent = PeerStatus { long_silent: true, ..mute };
    assert!(here.unaware(|other| Some(if other == node("c") { silent } else { b_new(other)? })).is_empty());
}

#[test]
fn a_newcomer_waits_for_all_that_do_not_know_it() {
    let here = placement("a", &["+a", "b", "c"]);
    let unaware = |other| Some(PeerStatus { view: (other == node("b")).then(|| here.hash()), ..healthy(&here) });
    assert_eq!(here.unaware(unaware), [node("c")]);
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Some of the names, `a` among them; some of the others are joining.
fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::option::weighted(0.7, any::<bool>()), NAMES.len() - 1).prop_map(|others| {
        let others = NAMES[1..].iter().zip(others);
        let named =
            others.filter_map(|(name, joining)| Some(if joining? { format!("+{name}") } else { (*name).to_owned() }));
        std::iter::once("a".to_owned()).chain(named).collect()
    })
}

fn seen_by(me: &str, names: &[String]) -> Placement {
    placement(me, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Which view the peer reported (0 none, 1 the one before, 2 this one), whether a lease of this node runs there, and whether
/// it is left out. Who is left out has no lease.
fn peer() -> impl Strategy<Value = (u8, bool, bool)> {
    (0..3_u8, any::<bool>(), any::<bool>()).prop_map(|(view, leased, left_out)| (view, leased && !left_out, left_out))
}

proptest! {
    #[test]
    fn no_commit_is_acknowledged_without_an_owner_that_may_serve_its_own_copy(
        old in names(), new in names(), slot in 0..4_096_u16, peers in prop::collection::vec(peer(), NAMES.len()),
    ) {
        let before = seen_by("a", &old);
        let after = seen_by("a", &new).replacing(&before, &TIMING, NOW);
        let slot = Slot::masked(slot);
        let status = |other: NodeHash| {
            let at = NAMES.iter().position(|name| node(name) == other)?;
            let (view, leased, left_out) = peers[at];
            let view = [None, Some(before.hash()), Some(after.hash())][usize::from(view)];
            let granted_until = leased.then(|| NOW.plus_ms(1));
            Some(PeerStatus { view, granted_until, left_out, ..PeerStatus::default() })
        };
        let waited = targets(&after, slot, false, status, &TIMING, NOW);
        for owner in before.owners(slot).chain(after.owners(slot)) {
            let peer = status(owner).unwrap();
            if peer.may_serve_locally(after.hash(), NOW) {
                prop_assert!(waited.owners.contains(&owner) || waited.also_awaited.contains(&owner));
            }
        }
    }

    #[test]
    fn every_new_owner_is_sent_what_a_node_holds_that_has_it(
        old in names(), new in names(), slot in 0..4_096_u16,
    ) {
        let slot = Slot::masked(slot);
        let bare = |names: &[String]| names.iter().map(|name| name.trim_start_matches('+').to_owned()).collect::<Vec<_>>();
        let stayed: Vec<String> = bare(&old).into_iter().filter(|name| bare(&new).contains(name)).collect();
        let known: BTreeSet<NodeHash> = bare(&old).iter().map(|name| node(name)).collect();
        let plans: Vec<(NodeHash, handoff::Plan)> = stayed
            .iter()
            .map(|me| (node(me), Handoff::new(&seen_by(me, &old), &seen_by(me, &new), &known).plan(slot)))
            .collect();
        let (before, after) = (seen_by("a", &old), seen_by("a", &new));
        let had: Vec<NodeHash> = before.owner_nodes(slot);
        let joining = |owner: &NodeHash| new.iter().any(|name| name.strip_prefix('+').is_some_and(|name| node(name) == *owner));
        // Those that had it, are still there, and have all that they own.
        let ready: Vec<&NodeHash> = had.iter().filter(|owner| plans.iter().any(|(me, _)| me == *owner) && !joining(owner)).collect();
        for owner in after.owner_nodes(slot).into_iter().filter(|owner| !had.contains(owner)) {
            let sends = |(me, plan): &&(NodeHash, handoff::Plan)| had.contains(me) && plan.iter().any(|(to, _)| *to == owner);
            let senders = plans.iter().filter(sends).count();
            prop_assert!(senders > 0 || ready.is_empty(), "nobody sends to {:?}", owner);
        }
    }
}

#[test]
fn a_leaving_node_stops_when_all_is_handed_over_or_nobody_stays() {
    let done = Drain { scanned: true, waiting_commits: 0, held: 0 };
    let stays = placement("a", &["-a", "b"]);
    assert!(drain::is_done(&stays, done));
    assert!(!drain::is_done(&placement("a", &["a", "b"]), done), "the view does not say yet that it leaves");
    assert!(!drain::is_done(&stays, Drain { scanned: false, ..done }));
    assert!(!drain::is_done(&stays, Drain { waiting_commits: 1, ..done }));
    assert!(!drain::is_done(&stays, Drain { held: 1, ..done }));
    for nobody in [&["-a"][..], &["-a", "-b"]] {
        assert!(drain::is_done(&placement("a", nobody), Drain { held: 1, ..done }), "{nobody:?}");
    }
}
