//! Until when a node may answer for its own copies: remembered, so that a read need not look at each member.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use sessionmesh_core::moment::Moment;

/// What was found when the members were looked at last.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// Grows whenever a lease may have ended before its time.
    changes: AtomicU64,
    found: ArcSwapOption<Found>,
}

#[derive(Debug)]
struct Found {
    epoch: u64,
    changes: u64,
    until: Moment,
}

impl Trust {
    /// A lease was not renewed, or its link is gone: what was found counts no more.
    pub(crate) fn revoke(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// To be read before the members are looked at, and given to [`Trust::found`].
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Every member of this epoch's view lets this node trust its own copies until then, if nothing has changed since.
    pub(crate) fn found(&self, epoch: u64, changes: u64, until: Moment) {
        self.found.store(Some(std::sync::Arc::new(Found { epoch, changes, until })));
    }

    /// Whether that holds now.
    pub(crate) fn holds(&self, epoch: u64, now: Moment) -> bool {
        let found = self.found.load();
        let holds = |found: &Found| found.epoch == epoch && now < found.until && found.changes == self.changes();
        found.as_ref().is_some_and(|found| holds(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_its_epoch_until_its_time_unless_something_changed() {
        let at = |ms| Moment::START.plus_ms(ms);
        let trust = Trust::default();
        assert!(!trust.holds(1, at(0)));
        trust.found(1, trust.changes(), at(300));
        assert!(trust.holds(1, at(299)));
        assert!(!trust.holds(1, at(300)));
        assert!(!trust.holds(2, at(0)));
        let before = trust.changes();
        trust.revoke();
        assert!(!trust.holds(1, at(0)));
        trust.found(1, before, at(300));
        assert!(!trust.holds(1, at(0)), "the change came while the members were looked at");
    }
}
