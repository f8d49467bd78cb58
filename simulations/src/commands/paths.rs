//! Rare paths: what must have happened at least once in many runs, or they prove less than they seem to.

use sessionmesh_simulations::run::Report;

use super::console::say;
use super::tally::Tally;

/// With fewer seeds than this it is no wonder that a rare path was not reached.
const SEEDS_MIN: u64 = 100;

/// What clients must have been told, and the paths that the library must have taken. What one batch of seeds in a hundred
/// would lack is not here; the table shows it all the same.
const REQUIRED: &[&str] = &[
    "created",
    "read",
    "written",
    "removed",
    "counted",
    "logged out",
    "renewed",
    "kept and used",
    "a user's sessions listed",
    "a user's sessions ended",
    "touched",
    "written again, unchanged",
    "read as held",
    "moved",
    "read under the id before",
    "record loaded",
    "record saved",
    "expired",
    "refused",
    "unconfirmed",
    "cannot tell",
    "request lost",
    "repaired under load",
    "checked: ready",
    "checked: faded session",
    "audit-difference",
    "commit-followed-renewal",
    "commit-reaimed",
    "commit-timed-out",
    "displaced-awaited",
    "expiry-put-off",
    "expiry-refused",
    "kept-too-late",
    "kept-under-other-view",
    "late-save-absorbed",
    "late-write-poured",
    "lease-withheld",
    "lease-withheld-owed",
    "copy-dropped",
    "link-broke-under-way",
    "miss-told",
    "needs-whole",
    "newer-sent-back",
    "older-version-spoken",
    "owner-left-out",
    "partition-read",
    "passing",
    "read-from-nobody-current",
    "read-past-silent-owner",
    "ready-with-sessions",
    "refused-removed",
    "returned-after-cut",
    "settings-differ",
    "stall-noticed",
    "stand-in-confirmed",
    "strict-alone",
    "too-many-vanished",
    "reinstated",
    "scan-interrupted",
];

/// The paths that a run reached, and how often.
pub(super) fn reached(report: &Report) -> impl Iterator<Item = (&'static str, u64)> {
    report.counts.iter().chain(&report.reached).map(|(what, times)| (*what, *times))
}

/// The paths that many runs must reach.
pub(super) fn required() -> &'static [&'static str] {
    REQUIRED
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
    let missing = missing(tally);
    if missing.is_empty() {
        return true;
    }
    let enough = tally.seeds >= SEEDS_MIN;
    let verdict = if enough { "FAILED" } else { "too few seeds to count as a failure" };
    say(format_args!("never reached: {} ({verdict})\n", missing.join(", ")));
    !enough
}

/// The paths that must be reached, and were not.
pub(super) fn missing(tally: &Tally) -> Vec<&'static str> {
    required().iter().copied().filter(|path| tally.times(path) == 0).collect()
}
