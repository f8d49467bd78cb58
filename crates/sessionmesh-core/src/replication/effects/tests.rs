use super::*;
use crate::arbitrary::{attribute, id, session, stamp};
use crate::session::Record;

const NOW: Moment = Moment::START.plus_ms(1_000_000);
const LIVE: Snapshot = Snapshot { status: Some(Status::Live), access: Some(NOW) };
const NOTHING: Snapshot = Snapshot { status: None, access: None };

fn record() -> Record {
    let mut session = session();
    session.put(attribute("cart", Some(b"tea"), stamp(2, 0)));
    Record::new(session, NOW)
}

fn end(successor: Option<Successor>) -> Invalidated {
    Invalidated { successor, stamp: stamp(3, 0), retention_ms: 1_000, since: NOW }
}

fn ended(successor: Option<Successor>) -> Snapshot {
    Snapshot { status: Some(Status::Invalidated { successor }), access: Some(NOW) }
}

fn renewed() -> Option<Successor> {
    Some(Successor::Renewed(id(2)))
}

fn moved() -> Option<Successor> {
    Some(Successor::Moved(id(3)))
}

/// What follows for a node of this role when a delta of `record` came.
fn effects(
    record: &Record,
    before: Snapshot,
    after: Snapshot,
    role: Role,
    change: impl FnOnce(&mut Merged<'_>),
) -> Effects {
    let delta = Delta::since(id(1), record, Stamp::ZERO, NOW);
    let changed = before != after;
    let (newer, reprieved, from_outside) = (false, false, false);
    let overtaken = Vec::new();
    let mut merged = Merged { delta: &delta, before, after, overtaken, changed, newer, reprieved, role, from_outside };
    change(&mut merged);
    after_merge(merged)
}

#[test]
fn an_owner_that_merges_news_has_nothing_more_to_do_and_a_stranger_passes_it_on() {
    let come = |role| effects(&record(), NOTHING, LIVE, role, |_| ());
    let expected = Effects { lift_hold: true, ..Effects::default() };
    assert_eq!(come(Role::Backup), expected);
    assert_eq!(come(Role::Stranger), Effects { forward: Some(Stamp::ZERO), ..expected });
    let again = |role| effects(&record(), LIVE, LIVE, role, |_| ());
    assert_eq!(again(Role::Stranger), Effects::default(), "what changes nothing comes to rest");
    let used = Snapshot { access: Some(NOW.minus_ms(1)), ..LIVE };
    let accessed = effects(&record(), used, LIVE, Role::Stranger, |merged| merged.changed = false);
    assert_eq!(accessed, Effects { forward: Some(Stamp::DIGEST_ONLY), ..Effects::default() });
}

#[test]
fn what_comes_from_outside_the_view_is_passed_on_by_owners_too() {
    let come = |before| effects(&record(), before, LIVE, Role::Backup, |merged| merged.from_outside = true);
    assert_eq!(
        come(NOTHING).forward,
        Some(Stamp::ZERO),
        "whoever sent it may be dead, and nobody else tells the others"
    );
    assert_eq!(come(LIVE).forward, None, "what changes nothing comes to rest");
    assert!(after_tombstones(true, true, false, true).forward);
    assert!(!after_tombstones(true, false, false, true).forward);
}

#[test]
fn a_write_that_was_under_way_when_the_id_was_renewed_follows_whichever_comes_first() {
    let late = vec![attribute("cart", Some(b"tea"), stamp(2, 0))];
    let after = effects(&record(), ended(renewed()), ended(renewed()), Role::Backup, |_| ());
    assert_eq!(after.late_writes, Some((id(2), late.clone())), "the write comes after the tombstone");
    let tombstone = Record::tombstone(end(renewed()));
    let before = |merged: &mut Merged<'_>| merged.overtaken = late.clone();
    let overtaken = effects(&tombstone, LIVE, ended(renewed()), Role::Backup, before);
    assert_eq!(overtaken.late_writes, Some((id(2), late.clone())), "the write was here when the tombstone came");
    let logout = effects(&record(), ended(None), ended(None), Role::Backup, |_| ());
    assert_eq!(logout.late_writes, None, "there is nobody to follow to");
}

#[test]
fn what_was_written_on_the_renewing_node_meanwhile_follows() {
    let written = record();
    let late = written.session.attributes().to_vec();
    let effects = after_end(LIVE, ended(renewed()), Some(&written.session), None, renewed(), Role::Primary);
    assert_eq!(effects.late_writes, Some((id(2), late)));
    assert_eq!(effects.announcement, Some(Announcement::Renewed(id(2))));
    assert_eq!(after_end(LIVE, ended(None), Some(&written.session), None, None, Role::Backup), Effects::default());
}

#[test]
fn the_primary_tells_of_an_end_once() {
    let tombstone = Record::tombstone(end(None));
    let told = |before, role| effects(&tombstone, before, ended(None), role, |_| ()).announcement;
    assert_eq!(told(LIVE, Role::Primary), Some(Announcement::Invalidated));
    assert_eq!(
        (told(LIVE, Role::Backup), told(ended(None), Role::Primary), told(NOTHING, Role::Primary)),
        (None, None, None)
    );
    let moving = after_end(LIVE, ended(moved()), None, None, moved(), Role::Primary).announcement;
    assert_eq!(moving, Some(Announcement::Moved(id(3))));
}

#[test]
fn a_session_that_lives_on_after_all_is_told_to_those_that_agreed_to_its_end() {
    let reprieved = |role| {
        effects(&record(), LIVE, LIVE, role, |merged| {
            (merged.changed, merged.reprieved) = (false, true);
        })
    };
    assert_eq!(reprieved(Role::Primary), Effects { lift_hold: true, propagate_access: true, ..Effects::default() });
    assert_eq!(reprieved(Role::Backup), Effects { lift_hold: true, ..Effects::default() });
}

#[test]
fn of_two_ends_what_the_loser_made_ends_but_two_renewals_leave_each_other_alone() {
    assert_eq!(ends_met(renewed(), renewed()), None);
    assert_eq!(ends_met(renewed(), None), Some((id(2), None)), "a logout beats a renewal");
    assert_eq!(ends_met(moved(), renewed()), Some((id(3), renewed())), "a renewal beats a move, and takes its content");
    assert_eq!(ends_met(renewed(), Some(Successor::Renewed(id(4)))), None);
    let tombstone = Record::tombstone(end(moved()));
    let met = effects(&tombstone, ended(renewed()), ended(renewed()), Role::Backup, |merged| merged.changed = false);
    assert_eq!(met.loser, Some((id(3), renewed())));
    let was = end(moved());
    assert_eq!(after_end(ended(moved()), ended(None), None, Some(&was), None, Role::Backup).loser, Some((id(3), None)));
}

#[test]
fn a_sender_that_lacks_something_gets_it() {
    assert!(effects(&record(), LIVE, LIVE, Role::Backup, |merged| merged.newer = true).send_back);
}

#[test]
fn tombstones_that_are_news_go_on_to_the_owners_and_more_goes_back() {
    let stranger = after_tombstones(false, true, true, false);
    assert_eq!(stranger, SlotEffects { forward: true, send_back: true, copy: CopyState::InTransit });
    let owner = after_tombstones(true, true, false, false);
    assert_eq!(owner, SlotEffects { forward: false, send_back: false, copy: CopyState::Kept });
    assert!(
        !after_tombstones(false, false, false, false).forward,
        "what is no news goes nowhere, or it would go on for ever"
    );
}
