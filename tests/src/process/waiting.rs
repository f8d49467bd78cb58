//! Waiting: for conditions, and for this machine.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// How long a cluster may take to settle after any change, before a test fails. Far more than it needs, for slow machines.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks of [`eventually`].
const LOOK: Duration = Duration::from_millis(2);

/// Looks again and again until `look` succeeds, and returns after which time and with what.
///
/// # Panics
///
/// At the deadline, with what the last look found wrong.
#[track_caller]
pub fn eventually<T>(deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> (Duration, T) {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return (start.elapsed(), found),
            Err(wrong) if start.elapsed() >= deadline => panic!("after {deadline:?} still: {wrong}"),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// Whether `condition` holds, for [`eventually`].
///
/// # Errors
///
/// What is wrong if it does not.
pub fn check(condition: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(wrong()) }
}

/// The middle one of some times.
///
/// # Panics
///
/// Without any.
#[must_use]
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Sets a flag when it is dropped, also by a failure, so that no thread goes on that waits for the flag.
#[derive(Debug)]
pub struct SetWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The right of one test to use the machine, until it is dropped.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code, reason = "it is held, not read")] File);

impl Turn {
    /// Waits for it.
    ///
    /// # Panics
    ///
    /// When the lock file cannot be made.
    #[must_use]
    pub fn wait() -> Self {
        let path = std::env::temp_dir().join("sessionmesh-tests.lock");
        let file = File::options().create(true).append(true).open(path).expect("a lock file can be made");
        file.lock().expect("a file can be locked");
        Self(file)
    }
}
