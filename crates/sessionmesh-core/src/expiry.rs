//! The end of idle sessions: when it is due, who agrees to it, and when what is left of a session may go.

use std::sync::Arc;

use crate::entry::Entry;
use crate::failpoint::{self, Bug};
use crate::id::SessionId;
use crate::moment::Moment;
use crate::session::{Expired, Record, Status, access_tolerance_ms};
use crate::wire::message::ExpireItem;

/// An expired session is remembered for so long, at least: late copies of the same end are told from news.
const EXPIRED_MS: u64 = 60_000;
/// Added to the guard, so that sessions with a limit of seconds do not vanish while a vote is under way.
const GUARD_SLACK_MS: u64 = 30_000;

/// What a node is to a session by its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first of its owners, which decides on its end.
    Primary,
    /// Another one of its owners.
    Backup,
    /// It only passes it on.
    Stranger,
}

/// What is to be done with one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// This node is no owner and should not have it any more.
    PassOn,
    /// Its idle limit has passed, and this node decides.
    Ask(ExpireItem),
    /// It is not needed any longer.
    Drop,
}

/// What is to be done with session `id` now, if anything.
#[must_use]
pub fn due(id: SessionId, held: &Entry, role: Role, now: Moment) -> Option<Due> {
    if role != Role::Stranger && held.is_fresh(now) {
        return None;
    }
    let record = held.record();
    if is_spent(record, role, now) {
        return Some(Due::Drop);
    }
    if role == Role::Stranger {
        return Some(Due::PassOn);
    }
    let decides = role == Role::Primary || failpoint::planted(Bug::ExpireOnBackup);
    let over = record.status() == Status::Live && record.is_past_limit(now) && decides;
    over.then(|| Due::Ask(ExpireItem { id, revision: record.session.revision(), age_ms: record.idle_ms(now) }))
}

/// Whether a record has served its time: a tombstone after its retention, an expired session after a while, and, as a
/// guard against leaks, a backup copy of which no primary has spoken for twice the idle limit.
#[must_use]
pub fn is_spent(record: &Record, role: Role, now: Moment) -> bool {
    let limit = record.session.idle_limit().ms;
    match record.status() {
        Status::Invalidated { .. } => record.session.invalidated().is_some_and(|end| end.is_spent(now)),
        Status::Expired => record.idle_ms(now) > limit.saturating_add(EXPIRED_MS.max(limit / 10)),
        Status::Live => {
            let guard = limit.saturating_mul(2).saturating_add(GUARD_SLACK_MS);
            role == Role::Backup && record.idle_ms(now) > guard
        }
    }
}

/// Whether an owner agrees that a session ends, of which it holds this. `from_primary`: by its view it is the primary who
/// asks.
///
/// It does not if it knows of a later use, or has not come to the limit itself. A node that was away for a while may not know
/// who decides now, nor that it has been decided.
#[must_use]
pub fn agrees(held: Option<&Record>, item: &ExpireItem, from_primary: bool, now: Moment) -> bool {
    if !(from_primary || failpoint::planted(Bug::ExpireOnBackup) || failpoint::planted(Bug::VoteForAnyone)) {
        return false;
    }
    let Some(record) = held else { return true };
    let tolerance = access_tolerance_ms(record.session.idle_limit().ms);
    let access = now.minus_ms(item.age_ms);
    // Who asks for an end that is known here missed it, unless it knows of a later use. It asks only if it is certain of
    // one; with the same bound here, the journey of a message could make both right.
    let missed = match record.status() {
        Status::Live => false,
        Status::Expired => record.session.expired().is_some_and(|mark| access <= mark.access.plus_ms(tolerance / 2)),
        Status::Invalidated { .. } => true,
    };
    (!missed || failpoint::planted(Bug::VoteForAnyone))
        && record.session.revision() <= item.revision
        && record.access <= access.plus_ms(tolerance)
        && (record.is_past_limit(now) || failpoint::planted(Bug::VoteTooSoon))
}

/// Whether all other owners agreed to the end of a session, by their votes under the view that asked; a silent one means: not
/// yet.
pub fn is_agreed(votes: impl IntoIterator<Item = Option<bool>>) -> bool {
    votes.into_iter().all(|vote| vote == Some(true)) || failpoint::planted(Bug::ExpireWithoutVote)
}

/// All owners agreed to what was asked at `asked_at`: ends the session, unless it was used since. Says whether it did.
pub fn end(record: &mut Record, item: &ExpireItem, asked_at: Moment) -> bool {
    let access = asked_at.minus_ms(item.age_ms);
    let used = record.session.revision() > item.revision
        || record.access > access.plus_ms(access_tolerance_ms(record.session.idle_limit().ms));
    if used || record.status() != Status::Live {
        return false;
    }
    let mark = Expired { revision: record.session.revision(), access: record.access };
    Arc::make_mut(&mut record.session).expire(mark);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary::{attribute, id, session, stamp};
    use crate::session::Invalidated;

    const NOW: Moment = Moment::START.plus_ms(1_000_000);
    /// The limit of a session is a minute, of which owners may miss so much.
    const TOLERANCE: u64 = 1_000;

    fn record(idle_ms: u64) -> Record {
        let mut session = session();
        session.put(attribute("n", Some(b"1"), stamp(2, 0)));
        Record::new(session, NOW.minus_ms(idle_ms))
    }

    fn expired(idle_ms: u64) -> Record {
        let mut record = record(idle_ms);
        let item = asked_of(&record);
        assert!(end(&mut record, &item, NOW));
        record
    }

    fn asked_of(record: &Record) -> ExpireItem {
        ExpireItem { id: id(1), revision: record.session.revision(), age_ms: record.idle_ms(NOW) }
    }

    #[test]
    fn a_session_ends_only_if_every_other_owner_agrees_and_a_silent_one_does_not() {
        assert!(is_agreed([]), "there is no other owner");
        assert!(is_agreed([Some(true), Some(true)]));
        assert!(!is_agreed([Some(true), Some(false)]));
        assert!(!is_agreed([Some(true), None]));
    }

    #[test]
    fn the_primary_asks_once_the_limit_has_passed_and_who_is_no_owner_passes_on() {
        let over = record(60_001);
        let due = |record: &Record, role| due(id(1), &Entry::new(record.clone()), role, NOW);
        assert!(matches!(due(&over, Role::Primary), Some(Due::Ask(item)) if item == asked_of(&over)));
        assert_eq!(due(&over, Role::Backup), None);
        assert_eq!(due(&record(60_000), Role::Primary), None);
        assert_eq!(due(&record(0), Role::Stranger), Some(Due::PassOn));
    }

    #[test]
    fn what_has_served_its_time_goes() {
        let end = Invalidated { successor: None, stamp: stamp(3, 0), retention_ms: 1_000, since: NOW.minus_ms(1_001) };
        assert!(is_spent(&Record::tombstone(end), Role::Primary, NOW));
        assert!(is_spent(&expired(60_000 + EXPIRED_MS + 1), Role::Primary, NOW));
        assert!(!is_spent(&expired(60_000 + EXPIRED_MS), Role::Primary, NOW));
        let abandoned = record(120_000 + GUARD_SLACK_MS + 1);
        assert!(is_spent(&abandoned, Role::Backup, NOW));
        assert!(!is_spent(&abandoned, Role::Primary, NOW) && !is_spent(&abandoned, Role::Stranger, NOW));
    }

    #[test]
    fn an_owner_agrees_unless_it_knows_of_a_later_use_or_has_not_come_to_the_limit() {
        let over = record(61_000);
        let item = asked_of(&over);
        assert!(agrees(Some(&over), &item, true, NOW));
        assert!(agrees(None, &item, true, NOW), "it has nothing that could speak against it");
        assert!(!agrees(Some(&record(61_000 - TOLERANCE - 1)), &item, true, NOW), "used later");
        assert!(!agrees(Some(&record(59_999)), &item, true, NOW), "the limit has not passed here");
        let mut written = over.clone();
        Arc::make_mut(&mut written.session).put(attribute("n", Some(b"2"), stamp(9, 0)));
        assert!(!agrees(Some(&written), &item, true, NOW));
    }

    #[test]
    fn nobody_agrees_to_the_end_of_another_than_its_primary_nor_to_one_that_was_decided_before() {
        let over = record(61_000);
        let item = asked_of(&over);
        assert!(!agrees(Some(&over), &item, false, NOW));
        assert!(!agrees(None, &item, false, NOW));
        assert!(!agrees(Some(&expired(61_000)), &item, true, NOW), "who asks has missed that it ended");
        let later = ExpireItem { age_ms: 61_000 - TOLERANCE, ..item };
        assert!(agrees(Some(&expired(61_000)), &later, true, NOW), "it knows of a later use");
    }

    #[test]
    fn a_session_that_was_used_during_the_vote_does_not_end() {
        let over = record(61_000);
        let item = asked_of(&over);
        let mut used = Record { access: NOW, ..over.clone() };
        assert!(!end(&mut used, &item, NOW) && used.status() == Status::Live);
        let mut written = over.clone();
        Arc::make_mut(&mut written.session).put(attribute("n", Some(b"2"), stamp(9, 0)));
        assert!(!end(&mut written, &item, NOW));
        let mut unused = over;
        assert!(end(&mut unused, &item, NOW) && unused.status() == Status::Expired);
        assert!(!end(&mut unused, &item, NOW), "once");
    }
}
