//! What tasks report when they are done, so that one that was overtaken takes nothing back.
//!
//! A task that is cancelled after its last await still runs to its end, on another thread, beside the task that takes
//! its place. Whatever it stores then comes after what the newer one has stored. So what is stored here only grows.

use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::interleave;

use crate::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, in whatever order it is reported.
#[derive(Debug)]
pub(crate) struct HighWaterMark(AtomicU64);

impl HighWaterMark {
    pub(crate) fn new(at: u64) -> Self {
        Self(AtomicU64::new(at))
    }

    /// Reports `to`. A smaller number than before changes nothing.
    pub(crate) fn raise(&self, to: u64) {
        interleave::seldom();
        if failpoint::planted(Bug::OvertakenScanStores) {
            self.0.store(to, Ordering::Release);
        }
        self.0.fetch_max(to, Ordering::AcqRel);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Work that is wanted again and again, and each time done later: what was wanted while it was being done is not done.
#[derive(Debug)]
pub(crate) struct Rounds {
    wanted: AtomicU64,
    done: HighWaterMark,
}

impl Rounds {
    /// The first round is wanted.
    pub(crate) fn wanted() -> Self {
        Self { wanted: AtomicU64::new(1), done: HighWaterMark::new(0) }
    }

    /// Another round is wanted.
    pub(crate) fn want(&self) {
        self.wanted.fetch_add(1, Ordering::AcqRel);
    }

    /// The round to do, if one is wanted. To be asked before anything is looked at that the round depends on.
    pub(crate) fn due(&self) -> Option<u64> {
        let wanted = self.wanted.load(Ordering::Acquire);
        (wanted > self.done.get()).then_some(wanted)
    }

    /// A round that [`Rounds::due`] named was done.
    pub(crate) fn done(&self, round: u64) {
        self.done.raise(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model;

    #[test]
    fn a_task_that_was_overtaken_takes_nothing_back() {
        model(|| {
            let scanned = HighWaterMark::new(1);
            scanned.raise(3);
            scanned.raise(2);
            assert_eq!(scanned.get(), 3);
        });
    }

    #[test]
    fn what_is_wanted_while_it_is_done_is_wanted_still() {
        model(|| {
            let audits = Rounds::wanted();
            let first = audits.due().unwrap();
            audits.want();
            audits.done(first);
            let second = audits.due().expect("the change came after the first round began");
            audits.done(second);
            audits.done(first);
            assert_eq!(audits.due(), None);
        });
    }
}
