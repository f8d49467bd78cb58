//! What the program with mutants in it does: plays seeds until a promise breaks, and says so in one line.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Args;

use crate::commands::arguments::Named;
use crate::commands::batch::on_all_cores;
use crate::commands::check;
use crate::commands::console::say;
use crate::commands::tally::Tally;
use crate::commands::watchdog::Watchdog;
use crate::commands::{Outcome, judged, paths};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many seeds
    #[arg(long)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Leave out what once found a bug
    #[arg(long)]
    only_seeds: bool,
}

/// What begins the line that says which promise broke, and after how many seeds.
pub(super) const BROKEN: &str = "broken after";
/// What begins the line that says what is not as it must be over many seeds.
pub(super) const SELDOM: &str = "never or seldom";
/// The whole line when nothing broke.
pub(super) const KEPT: &str = "all was kept";

pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    let broken: Mutex<Option<(u64, &'static str)>> = Mutex::default();
    let tally = Mutex::new(Tally::new());
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let watchdog = Watchdog::new(|| {});
    on_all_cores(|| {
        while !is_over.load(Ordering::Acquire) {
            let number = next.fetch_add(1, Ordering::AcqRel);
            if number >= arguments.seeds {
                break;
            }
            let named = Named::drawn(arguments.from + number);
            let report = watchdog.watch(&named, || sessionmesh_simulations::run::play(&named.scenario));
            tally.lock().expect("no holder panics").add(&report);
            if let Some(violation) = report.violation {
                // Earlier seeds that are being played come to their end: so it is the first one, however many play.
                let mut broken = broken.lock().expect("no holder panics");
                if broken.is_none_or(|(earliest, _)| number < earliest) {
                    *broken = Some((number, violation.promise));
                }
                is_over.store(true, Ordering::Release);
            }
        }
    });
    if let Some((number, promise)) = broken.into_inner().expect("no holder panicked") {
        say(format_args!("{BROKEN} {} seeds: {promise}", number + 1));
        return Ok(Outcome::Broken);
    }
    if arguments.only_seeds {
        say(KEPT);
        return Ok(Outcome::Fine);
    }
    let tally = tally.into_inner().expect("no holder panicked");
    if !paths::tell(&tally) {
        say(format_args!("{SELDOM} reached: {}", paths::missing(&tally).join(", ")));
        return Ok(Outcome::Broken);
    }
    if !judged::tell(&tally) {
        say(format_args!("{SELDOM} judged: a promise"));
        return Ok(Outcome::Broken);
    }
    if check::regressions()? > 0 {
        say(format_args!("{BROKEN} all seeds: a scenario that once found a bug"));
        return Ok(Outcome::Broken);
    }
    say(KEPT);
    Ok(Outcome::Fine)
}
