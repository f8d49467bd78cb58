//! What a node holds of one session.

use crate::failpoint::{self, Bug};
use crate::moment::Moment;
use crate::replication::outbox::Version;
use crate::session::{Invalidated, Record, access_tolerance_ms};

/// What the node holds of one session.
///
/// The sweep for idle sessions passes all of them again and again, and to look at the session itself is what costs it most: it
/// lies elsewhere in memory. So the entry has the idle limit beside it, in the room that a shorter form of `told` saves.
#[derive(Clone, Debug)]
pub struct Entry {
    record: Record,
    /// So many milliseconds before the last access lies the last one that other nodes were told of, or more if this is the
    /// largest number.
    untold_ms: u32,
    /// The idle limit in milliseconds; a longer one counts as the largest number.
    limit_ms: u32,
}

impl Entry {
    /// What was just stored, of whose access others were told.
    #[must_use]
    pub fn new(record: Record) -> Self {
        let told = record.access;
        Self::of(record, told)
    }

    /// The entry of a session of which only the tombstone is kept.
    pub fn ended(end: Invalidated) -> Self {
        Self::new(Record::tombstone(end))
    }

    /// The copy after a merge with what another node knew, which tells the other owners of the accesses until `known`.
    /// What this node has noted since, and was about to tell, is still to be told.
    pub fn merged(record: Record, told: Moment, known: Moment) -> Self {
        let told = told.max(known.min(record.access));
        Self::of(record, told)
    }

    fn of(record: Record, told: Moment) -> Self {
        let limit_ms = at_most_u32(record.session.idle_limit().ms);
        let mut entry = Self { record, untold_ms: 0, limit_ms };
        entry.set_told(told);
        entry
    }

    fn set_told(&mut self, told: Moment) {
        self.untold_ms = at_most_u32(self.record.access.ms_since(told));
    }

    /// The session, or its tombstone.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The session, or its tombstone.
    pub fn into_record(self) -> Record {
        self.record
    }

    /// The last access that other nodes were told of. One of more than 49 days before the last access counts as one of then.
    pub const fn told(&self) -> Moment {
        self.record.access.minus_ms(self.untold_ms as u64)
    }

    /// What the copy is now, for comparison with what was sent.
    pub fn version(&self) -> Version {
        (self.record.session.digest(), self.record.access)
    }

    /// Changes the record in any way. What others were told of its accesses stays the same.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut Record) -> R) -> R {
        let told = self.told();
        let result = change(&mut self.record);
        self.set_told(told);
        self.limit_ms = at_most_u32(self.record.session.idle_limit().ms);
        result
    }

    /// Notes an access. Says whether the other owners must hear of it; then it counts as told, and it is for the caller to
    /// do so.
    #[must_use]
    pub fn access(&mut self, now: Moment) -> bool {
        let told = self.told();
        self.record.access = self.record.access.max(now);
        let tell = must_propagate(self.record.session.idle_limit().ms, told, now);
        self.set_told(if tell { now } else { told });
        tell && !failpoint::planted(Bug::AccessNotPassedOn)
    }

    /// Whether its idle limit cannot have passed: known without a look at the session itself.
    pub const fn is_fresh(&self, now: Moment) -> bool {
        self.record.idle_ms(now) <= self.limit_ms as u64
    }
}

fn at_most_u32(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}

/// An access is told at least so often, however long the idle limit is.
const TOLD_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Whether an access of now must be told to the owners, if the last one of which they know was at `told`: so soon that,
/// with the advance that they ignore, they miss no more than a tenth of the idle limit.
pub fn must_propagate(idle_limit_ms: u64, told: Moment, now: Moment) -> bool {
    let untold_ms = idle_limit_ms / 10 - access_tolerance_ms(idle_limit_ms);
    now.ms_since(told) >= untold_ms.clamp(1, TOLD_MS_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::session::{IdleLimit, Session};
    use crate::stamp::Stamp;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::START.plus_ms(ms)
    }

    fn entry() -> Entry {
        let limit = IdleLimit { stamp: Stamp::ZERO, ms: 8_000 };
        Entry::new(Record::new(Session::new(1, limit), at(0)))
    }

    #[test]
    fn an_access_is_told_once_the_owners_would_miss_a_tenth_of_the_limit() {
        let mut entry = entry();
        assert!(!entry.access(at(399)));
        assert!(entry.access(at(400)));
        assert!(!entry.access(at(799)), "counted from the one that was told");
        assert!(entry.access(at(800)));
    }

    #[test]
    fn what_another_node_tells_is_no_telling_of_what_was_noted_here() {
        let mut entry = entry();
        assert!(!entry.access(at(390)));
        let mut merged = Entry::merged(entry.record.clone(), entry.told(), at(100));
        assert_eq!(merged.record.access, at(390));
        assert!(merged.access(at(500)), "others know of nothing after 100");
    }

    #[test]
    fn what_others_were_told_stays_the_same_whatever_changes() {
        let mut entry = Entry::merged(entry().record, at(0), at(0));
        assert!(!entry.access(at(300)));
        let other = Record { access: at(350), ..entry.record.clone() };
        entry.change(|record| record.merge(&other));
        assert_eq!((entry.record.access, entry.told()), (at(350), at(0)));
        assert!(!entry.access(at(360)) && entry.access(at(400)));
        assert_eq!((entry.record.access, entry.told()), (at(400), at(400)));
    }

    #[test]
    fn an_entry_is_fresh_until_its_limit_whatever_sets_it() {
        let mut entry = entry();
        assert!(entry.is_fresh(at(8_000)) && !entry.is_fresh(at(8_001)));
        let limit = IdleLimit { stamp: Stamp { counter: 1, node: 1 }, ms: 100 };
        entry.change(|record| Arc::make_mut(&mut record.session).set_idle_limit(limit));
        assert!(entry.is_fresh(at(100)) && !entry.is_fresh(at(101)));
        let long = IdleLimit { stamp: Stamp { counter: 2, node: 1 }, ms: u64::MAX };
        entry.change(|record| Arc::make_mut(&mut record.session).set_idle_limit(long));
        assert!(entry.is_fresh(at((1 << 32) - 1)) && !entry.is_fresh(at(1 << 32)), "then the session itself says it");
    }

    #[test]
    fn an_access_after_years_is_told_whatever_the_limit() {
        let limit = IdleLimit { stamp: Stamp::ZERO, ms: u64::MAX };
        let mut entry = Entry::new(Record::new(Session::new(1, limit), at(0)));
        assert!(!entry.access(at(TOLD_MS_MAX - 1)));
        assert!(entry.access(at(1 << 40)), "more than 49 days are as good as 49");
    }

    #[test]
    fn an_entry_takes_no_more_than_a_record_and_a_number() {
        assert_eq!(size_of::<Option<Entry>>(), size_of::<Record>() + size_of::<u64>());
    }
}
