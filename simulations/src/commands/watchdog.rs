//! A run that does not end in real time is a failure, too. Its thread cannot be stopped, so the program ends.

use std::collections::BTreeMap;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sessionmesh_simulations::oracle::Violation;

use super::arguments::Named;
use super::console::say;
use super::{failure, real_time};

/// A run takes a second or two, one of a large cluster many more.
const RUN_MAX: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Running = BTreeMap<u64, (Instant, Named)>;

/// Knows what is running.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    /// By a number that grows.
    running: Arc<Mutex<(u64, Running)>>,
}

impl Watchdog {
    /// Watches until the program ends; before it ends it for a run, it calls `last_words`.
    pub(super) fn new(last_words: impl Fn() + Send + 'static) -> Self {
        let watchdog = Self::default();
        let running = watchdog.running.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(LOOK_EVERY);
                let hangs = |(since, _): &&(Instant, Named)| real_time::now() - *since > RUN_MAX;
                let hanging = lock(&running).1.values().find(hangs).cloned();
                if let Some((_, named)) = hanging {
                    say(failure::text(&named, &endless()));
                    last_words();
                    process::exit(1);
                }
            }
        });
        watchdog
    }

    /// Does what plays `named`, and watches that it ends.
    pub(super) fn watch<T>(&self, named: &Named, play: impl FnOnce() -> T) -> T {
        let number = {
            let mut running = lock(&self.running);
            running.0 += 1;
            let number = running.0;
            running.1.insert(number, (real_time::now(), named.clone()));
            number
        };
        let played = play();
        lock(&self.running).1.remove(&number);
        played
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn endless() -> Violation {
    let detail = format!("it had not ended after {} s of real time", RUN_MAX.as_secs());
    Violation { promise: "a run ends", detail, at_ms: 0 }
}
