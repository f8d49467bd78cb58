use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::arbitrary::{NOW, attribute, content, copies, id, session, stamp};
use crate::session::Status;
use crate::wire::codec;
use crate::wire::message::{Batch, Message};
use crate::wire::version::Version;

/// A stamp to send from: none, any that the session holds, or the one above all.
fn from_within(record: &Record, choice: Index) -> Stamp {
    let mut stamps = vec![Stamp::ZERO, Stamp::DIGEST_ONLY, record.session.idle_limit().stamp];
    stamps.extend(record.session.attributes().iter().map(|a| a.stamp));
    stamps[choice.index(stamps.len())]
}

fn apply(sender: &Record, from: Stamp, receiver: &mut Option<Record>) -> Applied {
    Delta::since(id(1), sender, from, NOW).apply(receiver, NOW)
}

/// Whether `held` has at least what `other` has, last access and marks within their tolerance.
fn holds_all_of(held: &Record, other: &Record) -> bool {
    let mut both = held.clone();
    both.merge(other);
    let tolerance = access_tolerance_ms(held.session.idle_limit().ms);
    let near = |a: Moment, b: Moment| a.plus_ms(tolerance) >= b;
    content(&both.session) == content(&held.session)
        && near(held.access, both.access)
        && match (held.session.expired(), both.session.expired()) {
            (Some(mine), Some(merged)) => near(mine.access, merged.access),
            _ => true,
        }
}

fn batch(deltas: Vec<Delta<'_>>) -> Message<'_> {
    Message::Batch(Batch { seq: 1, counter: 1, deltas, tombstones: Vec::new() })
}

proptest! {
    #[test]
    fn a_delta_that_fits_merges_like_the_whole_and_one_that_does_not_changes_nothing(
        [sender, receiver] in copies::<2>(),
        choice: Index,
    ) {
        let from = from_within(&sender, choice);
        let mut held = Some(receiver.clone());
        let applied = apply(&sender, from, &mut held);
        let held = held.unwrap();
        match applied {
            Applied::NeedsWhole => {
                prop_assert!(!Delta::since(id(1), &sender, from, NOW).is_whole());
                prop_assert_eq!(held, receiver);
            }
            Applied::Merged { changed, newer } => {
                let mut merged = receiver.clone();
                merged.merge(&sender);
                prop_assert_eq!(content(&held.session), content(&merged.session));
                prop_assert!(holds_all_of(&held, &sender) && holds_all_of(&held, &receiver));
                prop_assert_eq!(newer, content(&held.session) != content(&sender.session));
                                let differs = content(&held.session) != content(&receiver.session)
                    || held.session.expired() != receiver.session.expired();
                prop_assert_eq!(changed, differs);

                prop_assert_eq!(held.session.digest(), held.session.computed_digest());
            }
        }
    }

    #[test]
    fn a_delta_of_new_and_of_overwritten_attributes_fits_what_they_were_written_on(
        [ancestor] in copies::<1>(),
        keys in prop::collection::btree_set(0..6_u64, 1..4),
    ) {
                let mut later = ancestor.clone();
        for key in keys {
            let write = attribute(&key.to_string(), Some(b"later"), stamp(1_000 + key, 1));
            Arc::make_mut(&mut later.session).put(write);
        }
        let mut held = Some(ancestor);
        let applied = apply(&later, stamp(1_000, 0), &mut held);
        prop_assert!(matches!(applied, Applied::Merged { newer: false, .. }), "{:?}", applied);
        prop_assert_eq!(content(&held.unwrap().session), content(&later.session));
    }

    #[test]
    fn a_whole_session_always_merges([sender, receiver] in copies::<2>(), empty: bool) {
        let mut held = (!empty).then(|| receiver.clone());
        let applied = apply(&sender, Stamp::ZERO, &mut held);
        prop_assert!(matches!(applied, Applied::Merged { .. }), "{:?}", applied);
        prop_assert!(Delta::since(id(1), &sender, Stamp::ZERO, NOW).is_whole());
        if empty {
            prop_assert_eq!(held.unwrap(), sender);
        }
    }

    #[test]
    fn no_delta_makes_a_part_of_a_session_visible([sender] in copies::<1>(), choice: Index) {
        let mut held = None;
        let from = from_within(&sender, choice);
        match apply(&sender, from, &mut held) {
            Applied::NeedsWhole => prop_assert_eq!(held, None),
            Applied::Merged { changed, newer } => {
                prop_assert!(changed && !newer);
                prop_assert_eq!(held.unwrap(), sender);
            }
        }
    }

    #[test]
    fn a_delta_that_was_encoded_and_decoded_does_the_same([sender, receiver] in copies::<2>(), choice: Index) {
        let delta = Delta::since(id(1), &sender, from_within(&sender, choice), NOW);
        let bytes = codec::encode(&batch(vec![delta.clone()]), Version::NEWEST).unwrap();
        let Message::Batch(batch) = codec::decode(&bytes, Version::NEWEST).unwrap() else { panic!("a batch stays a batch") };
        let (mut here, mut there) = (Some(receiver.clone()), Some(receiver));
        prop_assert_eq!(delta.apply(&mut here, NOW), batch.deltas[0].apply(&mut there, NOW));
        prop_assert_eq!(here, there);
    }

    #[test]
    fn a_delta_of_the_digest_only_fits_exactly_the_same_attributes([sender, receiver] in copies::<2>()) {
        let same = sender.session.attributes() == receiver.session.attributes();
        let ended = sender.session.invalidated().is_some() || receiver.session.invalidated().is_some();
        let mut held = Some(receiver);
        let applied = apply(&sender, Stamp::DIGEST_ONLY, &mut held);
        prop_assert_eq!(matches!(applied, Applied::Merged { .. }), same || ended);
    }

    #[test]
    fn passing_an_expiry_and_an_access_around_does_not_make_them_later(
        passes in prop::collection::vec((0..4_usize, 0..4_usize, any::<bool>()), 0..60),
        write_at in 0..60_usize,
    ) {
        const NODES: u64 = 4;
        let limit_ms = session().idle_limit().ms;
        let transit_ms = access_tolerance_ms(limit_ms) / NODES;
        let mut first = Record::new(session(), Moment::START);
        Arc::make_mut(&mut first.session).expire(Expired { revision: stamp(1, 0), access: Moment::START });
        let mut held = [Some(first), None, None, None];
        // All nodes share one clock here, so that what travelled too long shows as a later moment.
        let mut now = Moment::START.plus_ms(limit_ms);
        for (at, (from, to, slow)) in passes.into_iter().enumerate() {
            let Some(mut sender) = held[from].clone().filter(|_| from != to) else { continue };
            if at == write_at {
                // An unequal digest must not let the mark through either.
                Arc::make_mut(&mut sender.session).set_created(1);
                held[from] = Some(sender.clone());
            }
            let delta = Delta::since(id(1), &sender, Stamp::ZERO, now);
            now = now.plus_ms(if slow { transit_ms } else { 0 });
            delta.apply(&mut held[to], now);
        }
        for record in held.into_iter().flatten() {
            let latest = Moment::START.plus_ms(transit_ms * (NODES - 1));
            prop_assert!(record.access <= latest);
            prop_assert!(record.session.expired().unwrap().access <= latest);
            prop_assert_eq!(record.status(), Status::Expired);
        }
    }

    #[test]
    fn passing_a_tombstone_around_does_not_renew_it(
        passes in prop::collection::vec((0..4_usize, 0..4_usize, 0..1_000_u64), 0..60),
    ) {
        let end = Invalidated { successor: None, stamp: stamp(1, 1), retention_ms: 9, since: Moment::START };
        let mut held = [Some(Record::new(Session::tombstone(end), Moment::START)), None, None, None];
        let mut now = Moment::START.plus_ms(50_000);
        for (from, to, transit_ms) in passes {
            let Some(sender) = held[from].clone() else { continue };
            let before = held[to].as_ref().map(|record| record.session.invalidated().unwrap().since);
            let delta = Delta::since(id(1), &sender, Stamp::ZERO, now);
            now = now.plus_ms(transit_ms);
            delta.apply(&mut held[to], now);
            let since = held[to].as_ref().unwrap().session.invalidated().unwrap().since;
            prop_assert!(since <= before.unwrap_or(sender.session.invalidated().unwrap().since.plus_ms(transit_ms)));
        }
    }
}

#[test]
fn ages_become_moments_of_the_receivers_own_clock() {
    let mut record = Record::new(session(), Moment::START.plus_ms(300));
    Arc::make_mut(&mut record.session).expire(Expired { revision: stamp(1, 0), access: Moment::START.plus_ms(200) });
    let delta = Delta::since(id(1), &record, Stamp::ZERO, Moment::START.plus_ms(1_000));
    assert_eq!(delta.age_ms, 700);

    let theirs = Moment::START.plus_ms(5);
    let held = delta.to_record(theirs);
    assert_eq!(held.access, theirs.minus_ms(700));
    assert_eq!(held.session.expired().unwrap().access, theirs.minus_ms(800));

    let end = Invalidated { successor: None, stamp: stamp(2, 1), retention_ms: 9, since: Moment::START };
    let tombstone = Record::new(Session::tombstone(end), Moment::START);
    let held = Delta::since(id(1), &tombstone, Stamp::ZERO, Moment::START.plus_ms(40)).to_record(theirs);
    assert_eq!(held.session.invalidated().unwrap().since, theirs.minus_ms(40));
}

#[test]
fn an_access_later_than_the_clock_has_no_age() {
    let record = Record::new(session(), Moment::START.plus_ms(1));
    assert_eq!(Delta::since(id(1), &record, Stamp::ZERO, Moment::START).age_ms, 0);
}

#[test]
fn a_later_access_is_taken_and_an_earlier_one_is_not() {
    let accessed = |ms| Record::new(session(), Moment::START.plus_ms(ms));
    let mut held = Some(accessed(5_000));
    apply(&accessed(9_000), Stamp::DIGEST_ONLY, &mut held);
    assert_eq!(held, Some(accessed(9_000)));
    apply(&accessed(5_000), Stamp::DIGEST_ONLY, &mut held);
    assert_eq!(held, Some(accessed(9_000)));
}

#[test]
fn an_impossible_idle_limit_of_a_peer_becomes_a_possible_one() {
    let record = Record::new(Session::new(1, IdleLimit { stamp: stamp(9, 9), ms: 0 }), Moment::START);
    let mut held = None;
    apply(&record, Stamp::ZERO, &mut held);
    assert_eq!(held.unwrap().session.idle_limit().ms, 1);
}

#[test]
fn the_clock_of_a_receiver_learns_the_largest_counter() {
    let mut record = Record::new(session(), Moment::START);
    Arc::make_mut(&mut record.session).put(attribute("a", None, stamp(7, 1)));
    assert_eq!(Delta::since(id(1), &record, Stamp::ZERO, NOW).counter(), 7);
    assert_eq!(Delta::since(id(1), &record, Stamp::DIGEST_ONLY, NOW).counter(), 1);
}

#[test]
fn a_change_fits_although_its_sender_forgot_an_early_removal_by_it() {
    let mut before = session();
    for number in 0..REMOVED_MAX as u64 {
        before.put(attribute(&format!("csrf-{number}"), None, stamp(10 + number, 1)));
    }
    let mut after = before.clone();
    after.put(attribute("csrf-new", None, stamp(1_000_000, 1)));
    let (before, after) = (Record::new(before, NOW), Record::new(after, NOW));
    let mut held = Some(before);
    let applied = apply(&after, stamp(1_000_000, 0), &mut held);
    assert_eq!(applied, Applied::Merged { changed: true, newer: false });
    assert_eq!(held.unwrap().session.digest(), after.session.digest());
    // Of another session it fits none the more.
    let mut other = session();
    for number in 0..REMOVED_MAX as u64 {
        other.put(attribute(&format!("other-{number}"), None, stamp(10 + number, 1)));
    }
    assert_eq!(apply(&after, stamp(1_000_000, 0), &mut Some(Record::new(other, NOW))), Applied::NeedsWhole);
}
