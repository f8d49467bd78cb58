//! One run.

use std::fmt;
use std::time::Duration;

use clap::Args;
use sessionmesh_simulations::planted::Planted;
use sessionmesh_simulations::run::Report;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::arguments::{Which, bug};
use super::console::say;
use super::recording::{Wanted, play_wanted};
use super::{Outcome, failure, real_time};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Print what the library logs: sessionmesh=debug,turmoil=info
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    log: Option<String>,
    /// Plant a bug in the library (see `bugs`)
    #[arg(long, value_name = "NAME", value_parser = bug)]
    bug: Option<&'static Planted>,
    #[command(flatten)]
    wanted: Wanted,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    let named = arguments.which.named()?.with(arguments.bug);
    if let Some(filter) = &arguments.log {
        tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_timer(Simulated).with_ansi(false).init();
    }
    let started = real_time::now();
    let report = play_wanted(&named.scenario, arguments.bug, &arguments.wanted)?;
    let took = started.elapsed();
    match &report.violation {
        Some(violation) => say(failure::text(&named, violation)),
        None => say(format_args!("{}no promise was broken\n", named.scenario)),
    }
    tell(&report, took);
    Ok(Outcome::from(report.violation.is_none()))
}

/// What a log filter must look like is decided by the library that reads it.
fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn tell(report: &Report, took: Duration) {
    let counts: Vec<String> = report.counts.iter().map(|(what, times)| format!("{what} {times}")).collect();
    let settled: Vec<String> = report.settling_ms.iter().map(u64::to_string).collect();
    let (hash, events) = report.trace;
    say(format_args!("what clients were told: {}", counts.join(", ")));
    if !settled.is_empty() {
        say(format_args!("the cluster settled after {} ms", settled.join(", then ")));
    }
    say(format_args!("{} ms simulated in {} ms, trace {hash:016x} of {events}", report.simulated_ms, took.as_millis()));
}

/// Simulated time in the log.
struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:8.3}", turmoil::sim_elapsed().unwrap_or_default().as_secs_f64())
    }
}
