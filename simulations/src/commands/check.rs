//! What every change must pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;

use super::arguments::{Named, minutes};
use super::batch::{Batch, on_all_cores};
use super::console::{Progress, say};
use super::tally::Tally;
use super::{Outcome, determinism, judged, paths, real_time};

/// Where scenarios are that once found a bug.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
/// After so many failures more of them would not help anyone.
const FAILURES_MAX: u64 = 5;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many fresh seeds
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first of them [default: each day another one]
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// No seed is begun after so many minutes, even if there were fewer than asked for
    #[arg(long, value_parser = minutes, default_value = "9", value_name = "MINUTES")]
    minutes_max: Duration,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    let started = real_time::now();
    let from = arguments.from.unwrap_or_else(real_time::seed_of_the_day);
    let different = {
        let _progress = Progress::new(|| "playing runs again".to_owned());
        determinism::check(from)?
    };
    if different > 0 {
        say("no seed is believed before runs repeat exactly");
        let mut tally = Tally::new();
        tally.failed = different;
        say(&tally);
        return Ok(Outcome::Broken);
    }
    say("each kind of run repeats exactly, in another process, too");
    let relapsed = regressions()?;
    say(format_args!("fresh seeds from {from} on"));
    let batch = Batch::new();
    let played = AtomicU64::new(0);
    let is_late = || started.elapsed() >= arguments.minutes_max;
    batch.play(FAILURES_MAX, || {
        let number = played.fetch_add(1, Ordering::Relaxed);
        (number < arguments.seeds && !is_late()).then(|| Named::drawn(from.wrapping_add(number)))
    });
    let mut tally = batch.tally();
    if tally.seeds < arguments.seeds {
        let why = if tally.failed < FAILURES_MAX { "the time is over" } else { "enough have failed" };
        say(format_args!("{} of {} seeds: {why}", tally.seeds, arguments.seeds));
    }
    let all_reached = paths::tell(&tally);
    let all_judged = judged::tell(&tally);
    say(format_args!("the slowest cluster settled after {} ms", tally.slowest_settling_ms()));
    tally.failed += relapsed;
    say(&tally);
    Ok(Outcome::from(tally.failed == 0 && all_reached && all_judged))
}

/// Plays what once found a bug. Gives the number of those that fail again.
pub(super) fn regressions() -> Result<u64, String> {
    let waiting: Vec<Named> = files()?.iter().map(|path| Named::read(path)).collect::<Result<_, _>>()?;
    let number = waiting.len();
    let waiting = Mutex::new(waiting);
    let batch = Batch::new();
    let failed = AtomicU64::new(0);
    on_all_cores(|| {
        loop {
            let Some(named) = waiting.lock().expect("no holder panics").pop() else { break };
            let relapsed = batch.play_one(&named).violation.is_some();
            failed.fetch_add(u64::from(relapsed), Ordering::Relaxed);
        }
    });
    let failed = failed.into_inner();
    say(format_args!("{number} scenarios that once found a bug: {failed} failed"));
    Ok(failed)
}

fn files() -> Result<Vec<PathBuf>, String> {
    // The program may have been taken elsewhere: then it is started where the folder is.
    let folders = [Path::new(REGRESSIONS), Path::new("regressions")];
    let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) else { return Ok(Vec::new()) };
    let failed = |error| format!("{} cannot be read: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "ron") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
