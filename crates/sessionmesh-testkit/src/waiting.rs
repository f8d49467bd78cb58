//! Waiting: for conditions, and for this machine.

use std::fs::File;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a cluster may take to settle after any change, before a test fails. Far more than it needs, for slow machines.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks of [`eventually_async`].
const LOOK: Duration = Duration::from_millis(5);
/// Between two looks of [`eventually_blocking`], which also says how long it took.
const CLOSE_LOOK: Duration = Duration::from_millis(2);

/// Looks until `look` is content, and returns what it found.
///
/// # Panics
///
/// With what was still wrong after `deadline`.
#[track_caller]
pub fn eventually<T>(deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move { look_until(deadline, caller, async || look()).await }
}

/// [`eventually`] for a look that takes awaiting.
#[track_caller]
pub fn eventually_async<T>(
    deadline: Duration,
    look: impl AsyncFnMut() -> Result<T, String>,
) -> impl Future<Output = T> {
    look_until(deadline, Location::caller(), look)
}

async fn look_until<T>(
    deadline: Duration,
    caller: &Location<'_>,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let until = Instant::now() + deadline;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(wrong) if Instant::now() >= until => panic!("{caller}: still after {deadline:?}: {wrong}"),
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// [`eventually`] for a test without a runtime. Returns after which time, and with what.
///
/// # Panics
///
/// With what was still wrong after `deadline`.
#[track_caller]
pub fn eventually_blocking<T>(deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> (Duration, T) {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return (start.elapsed(), found),
            Err(wrong) if start.elapsed() >= deadline => panic!("still after {deadline:?}: {wrong}"),
            Err(_) => thread::sleep(CLOSE_LOOK),
        }
    }
}

/// `Ok` if it `holds`, else what is wrong.
///
/// # Errors
///
/// What is wrong.
pub fn check(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
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

    /// The right of one test to use its own process, for tests that take turns within one program.
    pub async fn in_this_process() -> tokio::sync::MutexGuard<'static, ()> {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        TURN.lock().await
    }
}
