//! How often each promise was compared with what happened: one that never is proves nothing.

use sessionmesh_simulations::oracle::PROMISES;

use super::console::say;
use super::tally::Tally;

/// Among so many seeds
const SEEDS: u64 = 1_000;
/// each promise must be compared so often.
const TIMES_MIN: u64 = 100;
/// With fewer seeds than this nothing follows from a small number.
const SEEDS_MIN: u64 = 100;

/// Prints how often each promise was judged, and says whether each was often enough.
pub(super) fn tell(tally: &Tally) -> bool {
    let times = |promise: &str| tally.judged.get(promise).copied().unwrap_or(0);
    list(&PROMISES, |promise| Some(times(promise)));
    let least = TIMES_MIN * tally.seeds / SEEDS;
    let seldom: Vec<&str> = PROMISES.into_iter().filter(|promise| times(promise) < least).collect();
    if seldom.is_empty() || tally.seeds < SEEDS_MIN {
        return true;
    }
    say(format_args!("judged less than {TIMES_MIN} times in {SEEDS} seeds: {} (FAILED)\n", seldom.join("; ")));
    false
}

/// Prints how often each of these promises was judged; those of which `times` says nothing are left out.
pub(super) fn list(promises: &[&str], times: impl Fn(&str) -> Option<u64>) {
    let width = promises.iter().map(|promise| promise.len()).max().unwrap_or(0);
    say("how often each promise was judged:");
    for promise in promises {
        if let Some(times) = times(promise) {
            say(format_args!("  {promise:width$}  {times:>9}"));
        }
    }
}
