//! The smallest scenario that breaks the same promise.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use sessionmesh_simulations::oracle::Violation;
use sessionmesh_simulations::planted::{self, Planted};
use sessionmesh_simulations::run::{Report, play};
use sessionmesh_simulations::scenario::Scenario;
use sessionmesh_simulations::shrink::{Shrunk, Step, shrink};

use super::arguments::{Named, Which, bug, minutes};
use super::batch::cores;
use super::console::{Progress, say};
use super::watchdog::Watchdog;
use super::{Outcome, failure, real_time};

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  here is a smaller one
  2  wrong usage, or the scenario breaks no promise";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Where to write it [default: a file among the temporary ones]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// For how long at most
    #[arg(long, value_parser = minutes, default_value = "5")]
    minutes: Duration,
    /// Plant a bug in the library (see `bugs`)
    #[arg(long, value_name = "NAME", value_parser = bug)]
    bug: Option<&'static Planted>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    let named = arguments.which.named()?.with(arguments.bug);
    let seed = named.scenario.seed;
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| std::env::temp_dir().join(format!("sessionmesh-seed-{seed}.ron")));
    let play =
        |scenario: &Scenario| arguments.bug.map_or_else(|| play(scenario), |bug| planted::play_with(bug, scenario));
    let Some(violation) = play(&named.scenario).violation else {
        return Err(format!("{} breaks no promise, so there is nothing to shrink", named.name));
    };
    say(format_args!("{} breaks, at {} ms: {}", named.name, violation.at_ms, violation.promise));
    say(format_args!("  from {}", size(&named.scenario)));
    let shrunk = make_smaller(&named.scenario, violation.promise, &play, arguments.minutes);
    let named = Named { scenario: shrunk.smallest.clone(), name: out.display().to_string() }.with(arguments.bug);
    let violation = play(&named.scenario).violation.unwrap_or(violation);
    let text = format!("{}{}", comment(seed, &violation, arguments.bug), named.scenario);
    fs::write(&out, text).map_err(|error| format!("{} cannot be written: {error}", out.display()))?;
    let end = if shrunk.finished { "nothing more can go" } else { "the time is over" };
    say(format_args!("  to {}: {end}, {} tried, {} kept\n", size(&shrunk.smallest), shrunk.tried, shrunk.kept));
    say(failure::text(&named, &violation));
    Ok(Outcome::Fine)
}

fn make_smaller(
    scenario: &Scenario,
    promise: &str,
    play: &(impl Fn(&Scenario) -> Report + Sync),
    minutes: Duration,
) -> Shrunk {
    let started = real_time::now();
    let line = Arc::new(Mutex::new(String::new()));
    let shown = line.clone();
    let _progress = Progress::new(move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let watchdog = Watchdog::new(|| {});
    let broken = |candidate: &Scenario| {
        let named = Named { scenario: candidate.clone(), name: "FILE, with the scenario above in it".to_owned() };
        watchdog.watch(&named, || play(candidate).violation.map(|violation| violation.promise))
    };
    let stop = || started.elapsed() >= minutes;
    let tell = |Step { smallest, tried, kept, cut }: Step<'_>| {
        let size = size(smallest);
        *line.lock().unwrap_or_else(PoisonError::into_inner) = format!("{size}; {tried} tried, {kept} kept; now {cut}");
    };
    shrink(scenario, promise, broken, cores(), stop, tell)
}

fn size(scenario: &Scenario) -> String {
    let faults: usize = scenario.episodes.iter().map(|episode| episode.events.len()).sum();
    let length: u64 = scenario.episodes.iter().map(|episode| episode.length_ms).sum();
    let (nodes, visitors, tabs) = (scenario.nodes, scenario.load.visitors, scenario.load.tabs);
    let episodes = scenario.episodes.len();
    format!("{nodes} nodes, {visitors} visitors with {tabs} tabs, {episodes} episodes of {length} ms, {faults} faults")
}

/// What stands at the top of the file. A scenario that is kept says there which bug it found.
fn comment(seed: u64, violation: &Violation, bug: Option<&Planted>) -> String {
    let bug = bug.map(|bug| format!("// With the planted bug {}: {}.\n", bug.name, bug.what)).unwrap_or_default();
    format!("// Broke, at {} ms: {}.\n// Shrunk from seed {seed}.\n{bug}", violation.at_ms, violation.promise)
}
