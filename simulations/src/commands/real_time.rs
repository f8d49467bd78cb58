//! Real time: for limits, progress and rates. Nothing within a run sees it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECONDS_A_DAY: u64 = 86_400;
/// Seeds of one day.
const SEEDS_A_DAY: u64 = 1_000_000;
/// Seeds that one hunt may use until another one begins with the same ones.
const SEEDS_A_SECOND: u64 = 1_000;

#[allow(clippy::disallowed_methods, reason = "the program is outside of the simulation")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "the program is outside of the simulation")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How many days there were until today: what shall be another one each day goes by it.
pub(super) fn day() -> u64 {
    since_epoch().as_secs() / SECONDS_A_DAY
}

/// The first seed of today: each day has fresh ones, and all runs of one day have the same.
pub(super) fn seed_of_the_day() -> u64 {
    day() * SEEDS_A_DAY
}

/// A first seed that nobody began with before.
pub(super) fn seed_of_the_second() -> u64 {
    since_epoch().as_secs() * SEEDS_A_SECOND
}
