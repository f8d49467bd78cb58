//! Many runs, on all cores.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use sessionmesh_simulations::run::{Report, play};

use super::arguments::Named;
use super::console::{Progress, say};
use super::failure;
use super::tally::Tally;
use super::watchdog::Watchdog;

/// As many runs at once as there are cores: each runs on one thread.
pub(super) fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Does `work` on all cores, until each of them has nothing left to do.
pub(super) fn on_all_cores(work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..cores().get() {
            scope.spawn(&work);
        }
    });
}

/// Runs that are added up.
#[derive(Debug)]
pub(super) struct Batch {
    tally: Arc<Mutex<Tally>>,
    watchdog: Watchdog,
}

impl Batch {
    /// Nothing has run yet.
    pub(super) fn new() -> Self {
        let tally = Arc::new(Mutex::new(Tally::new()));
        let standing = tally.clone();
        let watchdog = Watchdog::new(move || {
            let mut tally = lock(&standing);
            tally.seeds += 1;
            tally.failed += 1;
            say(&*tally);
        });
        Self { tally, watchdog }
    }

    /// Plays what `next` gives until it gives nothing, or so many have failed. Each failure is printed at once.
    pub(super) fn play(&self, failures_max: u64, next: impl Fn() -> Option<Named> + Sync) {
        let standing = self.tally.clone();
        let _progress = Progress::new(move || lock(&standing).progress());
        on_all_cores(|| {
            while lock(&self.tally).failed < failures_max
                && let Some(named) = next()
            {
                let report = self.play_one(&named);
                lock(&self.tally).add(&report);
            }
        });
    }

    /// Plays one, and prints its failure.
    pub(super) fn play_one(&self, named: &Named) -> Report {
        let report = self.watchdog.watch(named, || play(&named.scenario));
        if let Some(violation) = &report.violation {
            say(failure::text(named, violation));
        }
        report
    }

    /// What came of them so far.
    pub(super) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
