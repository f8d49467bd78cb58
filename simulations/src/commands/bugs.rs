//! Simulations are worth what they find: bugs are planted in the library, and each must be found soon.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use clap::Args;
use sessionmesh_simulations::planted::{self, Planted};

use super::Outcome;
use super::arguments::{Named, bug};
use super::batch::{Batch, on_all_cores};
use super::console::{Progress, say};
use super::watchdog::Watchdog;

/// Always the same seeds: whether a bug is found must not be a matter of luck.
const FROM: u64 = 0;

/// How long is looked for a bug that is asked for by name and says nothing of its own.
const SEEDS_MAX_RARE: u64 = 2_000;

/// The bugs that must be found each time.
fn looked_for() -> impl Iterator<Item = &'static Planted> {
    planted::all().iter().filter(|planted| planted.seeds_max.is_some())
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only these [default: all but those that are too rare]
    #[arg(value_name = "NAME", value_parser = bug)]
    names: Vec<&'static Planted>,
    /// Play so many seeds before a bug counts as not found [default: what each bug says]
    #[arg(long, value_name = "N")]
    seeds_max: Option<u64>,
}

/// What came of one bug: how many seeds were played, and the promise that broke.
type Hunted = (&'static Planted, u64, Option<&'static str>);

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    let bugs: Vec<&'static Planted> =
        if arguments.names.is_empty() { looked_for().collect() } else { arguments.names.clone() };
    if bugs.is_empty() {
        return Err("no bugs can be planted in this build".to_owned());
    }
    let hunted = hunt(&bugs, arguments.seeds_max);
    tell(&hunted);
    let missed = hunted.iter().filter(|(.., promise)| promise.is_none()).count();
    let seeds = hunted.iter().map(|(_, seeds, _)| *seeds).max().unwrap_or(0);
    let false_alarms = play_without(seeds);
    say(format_args!("{} of {} bugs found", bugs.len() - missed, bugs.len()));
    say(format_args!("without a bug {false_alarms} of the same {seeds} seeds failed"));
    Ok(Outcome::from(missed == 0 && false_alarms == 0))
}

fn hunt(bugs: &[&'static Planted], seeds_max: Option<u64>) -> Vec<Hunted> {
    let waiting = Mutex::new(bugs.iter().rev().copied().collect::<Vec<_>>());
    let hunted: Mutex<Vec<Hunted>> = Mutex::default();
    let seeds = Arc::new(AtomicU64::new(0));
    let (counted, number) = (seeds.clone(), bugs.len());
    let _progress = Progress::new(move || format!("{number} bugs, {} seeds played", counted.load(Ordering::Relaxed)));
    let watchdog = Watchdog::new(|| {});
    on_all_cores(|| {
        loop {
            let Some(bug) = waiting.lock().expect("no holder panics").pop() else { break };
            let most = seeds_max.or(bug.seeds_max).unwrap_or(SEEDS_MAX_RARE);
            let mut result = (bug, most, None);
            for number in 0..most {
                let named = Named::drawn(FROM + number).with(Some(bug));
                let report = watchdog.watch(&named, || planted::play_with(bug, &named.scenario));
                seeds.fetch_add(1, Ordering::Relaxed);
                if let Some(violation) = report.violation {
                    result = (bug, number + 1, Some(violation.promise));
                    break;
                }
            }
            hunted.lock().expect("no holder panics").push(result);
        }
    });
    let mut hunted = hunted.into_inner().expect("no holder panicked");
    hunted.sort_by_key(|(bug, ..)| bugs.iter().position(|other| other == bug));
    hunted
}

fn tell(hunted: &[Hunted]) {
    let head = ["bug", "found after", "promise that broke"].map(ToOwned::to_owned);
    let mut rows = vec![(head, "what it is")];
    for (bug, seeds, promise) in hunted {
        let found = promise.map_or_else(|| format!("NOT in {seeds} seeds"), |_| format!("{seeds} seeds"));
        rows.push(([bug.name.to_owned(), found, promise.unwrap_or("none").to_owned()], bug.what));
    }
    let width = |column: usize| rows.iter().map(|(cells, _)| cells[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for ([bug, found, promise], what) in &rows {
        let [one, two, three] = widths;
        say(format_args!("{bug:one$} | {found:two$} | {promise:three$} | {what}"));
    }
}

/// Plays the same seeds without any bug. Gives the number of those that failed all the same, and prints them.
fn play_without(seeds: u64) -> u64 {
    let batch = Batch::new();
    let played = AtomicU64::new(0);
    batch.play(u64::MAX, || {
        let number = played.fetch_add(1, Ordering::Relaxed);
        (number < seeds).then(|| Named::drawn(FROM + number))
    });
    batch.tally().failed
}
