//! Machines that are busy: made so, and measured, so that a test that measures itself also holds on one.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

/// Threads that do nothing but compute, until this is dropped.
#[derive(Debug)]
pub struct BusyThreads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyThreads {
    /// So many for each core.
    #[must_use]
    pub fn for_each_core(number: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let compute = |stop: Arc<AtomicBool>| {
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        };
        let threads =
            (0..cores * number).map(|_| stop.clone()).map(|stop| thread::spawn(move || compute(stop))).collect();
        Self { stop, threads }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }
}

impl Drop for BusyThreads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It only computes.
            let _ = thread.join();
        }
    }
}

/// How late this machine does what is due, since a moment. A test that holds a duration against a bound takes it off, so
/// that the bound is one of the code and not of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    before: Duration,
}

/// How long the thread that measures sleeps, and what it may take longer on a quiet machine.
const NAP: Duration = Duration::from_millis(5);
const USUAL: Duration = Duration::from_millis(1);

impl Lag {
    /// From now on.
    #[must_use]
    pub fn watch() -> Self {
        Self { before: Self::total() }
    }

    /// By how much the machine was late, summed up.
    #[must_use]
    pub fn so_far(&self) -> Duration {
        Self::total() - self.before
    }

    /// What is left of `took` without the waits for a processor: for two, since what is measured is done by several threads,
    /// one after the other.
    #[must_use]
    pub fn take_off(&self, took: Duration) -> Duration {
        took.saturating_sub(self.so_far() * 2)
    }

    fn total() -> Duration {
        static MICROS: OnceLock<Arc<AtomicU64>> = OnceLock::new();
        let micros = MICROS.get_or_init(|| {
            let total = Arc::new(AtomicU64::new(0));
            let counting = total.clone();
            thread::spawn(move || {
                loop {
                    let start = Instant::now();
                    thread::sleep(NAP);
                    let late = start.elapsed().saturating_sub(NAP + USUAL);
                    counting.fetch_add(u64::try_from(late.as_micros()).unwrap_or(0), Ordering::Relaxed);
                }
            });
            total
        });
        Duration::from_micros(micros.load(Ordering::Relaxed))
    }
}
