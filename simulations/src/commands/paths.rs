//! Rare paths: what must have happened at least once in many runs, or they prove less than they seem to.

use sessionmesh_simulations::run::Report;

use super::console::say;
use super::tally::Tally;

/// With fewer seeds than this it is no wonder that a rare path was not reached.
const SEEDS_MIN: u64 = 100;

/// What clients must have been told.
const REQUIRED: [&str; 9] =
    ["created", "read", "written", "logged out", "renewed", "refused", "unconfirmed", "cannot tell", "request lost"];

/// The paths that a run reached, and how often.
pub(super) fn reached(report: &Report) -> impl Iterator<Item = (&'static str, u64)> {
    report.counts.iter().chain(&report.reached).map(|(what, times)| (*what, *times))
}

/// The paths that many runs must reach.
pub(super) fn required() -> &'static [&'static str] {
    &REQUIRED
}

/// Prints how often each path was reached, and says whether all were that must be.
pub(super) fn tell(tally: &Tally) -> bool {
    let mut paths: Vec<&str> = tally.reached.keys().copied().chain(required().iter().copied()).collect();
    paths.sort_unstable();
    paths.dedup();
    let width = paths.iter().map(|path| path.len()).max().unwrap_or(0);
    say("how often what was reached:");
    for path in &paths {
        say(format_args!("  {path:width$}  {:>9}", tally.times(path)));
    }
    let missing: Vec<&str> = required().iter().copied().filter(|path| tally.times(path) == 0).collect();
    if missing.is_empty() {
        return true;
    }
    let enough = tally.seeds >= SEEDS_MIN;
    let verdict = if enough { "FAILED" } else { "too few seeds to count as a failure" };
    say(format_args!("never reached: {} ({verdict})\n", missing.join(", ")));
    !enough
}
