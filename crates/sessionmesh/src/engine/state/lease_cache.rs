//! Until when a node may answer for its own copies: remembered, so that a read need not look at each member.

use sessionmesh_core::moment::Moment;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, ArcSwapOption};

/// What was found when the members were looked at last.
#[derive(Debug, Default)]
pub(crate) struct LeaseCache {
    /// Grows whenever a lease may have ended before its time.
    changes: AtomicU64,
    found: ArcSwapOption<Checked>,
}

#[derive(Debug)]
struct Checked {
    epoch: u64,
    changes: u64,
    until: Moment,
}

impl LeaseCache {
    /// A lease was not renewed, or its link is gone: what was found counts no more.
    pub(crate) fn revoke(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// To be read before the members are looked at, and given to [`LeaseCache::remember`].
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Every member of this epoch's view lets this node cache its own copies until then, if nothing has changed since.
    pub(crate) fn remember(&self, epoch: u64, changes: u64, until: Moment) {
        self.found.store(Some(Arc::new(Checked { epoch, changes, until })));
    }

    /// Whether that holds now.
    pub(crate) fn holds(&self, epoch: u64, now: Moment) -> bool {
        let found = self.found.load();
        let holds = |found: &Checked| found.epoch == epoch && now < found.until && found.changes == self.changes();
        found.as_ref().is_some_and(|found| holds(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model;

    #[test]
    fn it_holds_for_its_epoch_until_its_time_unless_something_changed() {
        model(|| {
            let at = |ms| Moment::START.plus_ms(ms);
            let cache = LeaseCache::default();
            assert!(!cache.holds(1, at(0)));
            cache.remember(1, cache.changes(), at(300));
            assert!(cache.holds(1, at(299)));
            assert!(!cache.holds(1, at(300)));
            assert!(!cache.holds(2, at(0)));
            let before = cache.changes();
            cache.revoke();
            assert!(!cache.holds(1, at(0)));
            cache.remember(1, before, at(300));
            assert!(!cache.holds(1, at(0)), "the change came while the members were looked at");
        });
    }
}
