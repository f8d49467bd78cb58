//! What a node holds of one session.

use crate::failpoint::{self, Bug};
use crate::moment::Moment;
use crate::replication::outbox::Version;
use crate::session::{Invalidated, Record, access_tolerance_ms};

/// What the node holds of one session.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The session, or its tombstone.
    pub record: Record,
    /// The last access that other nodes were told of.
    pub access_propagated: Moment,
}

impl Entry {
    /// What was just stored, of whose access others were told.
    #[must_use]
    pub fn new(record: Record) -> Self {
        let access_propagated = record.access;
        Self { record, access_propagated }
    }

    /// The entry of a session of which only the tombstone is kept.
    pub fn ended(end: Invalidated) -> Self {
        Self::new(Record::tombstone(end))
    }

    /// What the copy is now, for comparison with what was sent.
    pub fn version(&self) -> Version {
        (self.record.session.digest(), self.record.access)
    }

    /// The copy after a merge with what another node knew, which tells the other owners of the accesses until `known`.
    /// What this node has noted since, and was about to tell, is still to be told.
    pub fn merged(record: Record, told: Moment, known: Moment) -> Self {
        Self { access_propagated: told.max(known.min(record.access)), record }
    }

    /// Notes an access. Says whether the other owners must hear of it; then it counts as told, and it is for the caller to
    /// do so.
    #[must_use]
    pub fn access(&mut self, now: Moment) -> bool {
        self.record.access = self.record.access.max(now);
        let tell = must_propagate(self.record.session.idle_limit().ms, self.access_propagated, now);
        if tell {
            self.access_propagated = now;
        }
        tell && !failpoint::planted(Bug::AccessNotPassedOn)
    }
}

/// Whether an access of now must be told to the owners, if the last one of which they know was at `told`: so soon that,
/// with the advance that they ignore, they miss no more than a tenth of the idle limit.
pub fn must_propagate(idle_limit_ms: u64, told: Moment, now: Moment) -> bool {
    now.ms_since(told) >= (idle_limit_ms / 10 - access_tolerance_ms(idle_limit_ms)).max(1)
}

#[cfg(test)]
mod tests {
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
        let mut merged = Entry::merged(entry.record, entry.access_propagated, at(100));
        assert_eq!(merged.record.access, at(390));
        assert!(merged.access(at(500)), "others know of nothing after 100");
    }
}
