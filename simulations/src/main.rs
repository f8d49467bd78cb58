//! Runs simulations by hand: one seed, or as many as there is time for.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sessionmesh_simulations::run::{Report, failure, play};
use sessionmesh_simulations::scenario::{Kind, Mode, Scenario};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Real time, for the limit of a hunt. Nothing within a run sees it.
#[allow(clippy::disallowed_methods, reason = "the program is outside of the simulation")]
fn real_time() -> Instant {
    Instant::now()
}

const USAGE: &str = "\
run SEED [KIND MODE] [--log FILTER]      one run; without kind and mode they are drawn from the seed
show SEED [KIND MODE]                    its scenario only
twice SEED [KIND MODE]                   two runs, and whether they are the same
hunt [--minutes N] [--from SEED] [--kind KIND] [--keep-going]
                                         seed after seed, on two threads
KIND is calm, crash, power-loss, leave, partition, one-way, hold, isolate-then-crash or mixed.
MODE is all-to-all, or primary-backup-N.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match act(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("{wrong}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn act(arguments: &[String]) -> Result<bool, String> {
    let command = arguments.first().ok_or("what shall be done?")?;
    match command.as_str() {
        "hunt" => {
            let minutes = option(arguments, "--minutes")?.unwrap_or(1);
            let from = option(arguments, "--from")?.unwrap_or(0);
            let kind = text(arguments, "--kind").map(|name| kind(&name)).transpose()?;
            Ok(hunt(Duration::from_secs(60 * minutes), from, kind, arguments.iter().any(|a| a == "--keep-going")))
        }
        "show" => {
            print!("{}", scenario(arguments)?);
            Ok(true)
        }
        "twice" => {
            let scenario = scenario(arguments)?;
            let (one, other) = (play(&scenario), play(&scenario));
            println!("{:x?} {:x?}", one.trace, other.trace);
            Ok(one.trace == other.trace)
        }
        "run" => {
            if let Some(filter) = text(arguments, "--log") {
                let format = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_timer(Simulated);
                format.with_ansi(false).init();
            }
            let scenario = scenario(arguments)?;
            let started = real_time();
            let report = play(&scenario);
            print!("{scenario}");
            tell(&report, started.elapsed());
            if let Some(violation) = &report.violation {
                println!("{}", failure(&scenario, violation));
            }
            Ok(report.violation.is_none())
        }
        other => Err(format!("unknown command {other}")),
    }
}

fn tell(report: &Report, took: Duration) {
    println!("{} ms simulated in {} ms, {:?}", report.simulated_ms, took.as_millis(), report.counts);
    println!("settled after {:?} ms; trace {:x?}", report.settling_ms, report.trace);
}

fn hunt(time: Duration, from: u64, kind: Option<Kind>, keep_going: bool) -> bool {
    let started = real_time();
    let next = AtomicU64::new(from);
    let (simulated, broken) = (AtomicU64::new(0), AtomicU64::new(0));
    let counts: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let work = || {
        while started.elapsed() < time && (keep_going || broken.load(Ordering::Relaxed) == 0) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let scenario = match kind {
                None => Scenario::draw(seed),
                Some(kind) => Scenario::aimed(seed, kind, Scenario::draw(seed).mode),
            };
            let report = play(&scenario);
            simulated.fetch_add(report.simulated_ms, Ordering::Relaxed);
            let mut counts = counts.lock().expect("no holder panics");
            for (what, count) in &report.counts {
                *counts.entry(what).or_default() += count;
            }
            let slowest = counts.entry("slowest settling, ms").or_default();
            *slowest = report.settling_ms.iter().copied().fold(*slowest, u64::max);
            if let Some(violation) = &report.violation {
                broken.fetch_add(1, Ordering::Relaxed);
                println!("{}\n", failure(&scenario, violation));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    println!("{:?}", counts.into_inner().expect("no holder panicked"));
    let (seeds, broken) = (next.into_inner() - from, broken.into_inner());
    println!("{seeds} seeds, {broken} broken, {} simulated seconds", simulated.into_inner() / 1000);
    broken == 0
}

fn scenario(arguments: &[String]) -> Result<Scenario, String> {
    let seed = arguments.get(1).ok_or("which seed?")?.parse().map_err(|_| "the seed is no number")?;
    match (arguments.get(2).map(String::as_str), arguments.get(3)) {
        (None | Some("--log"), _) => Ok(Scenario::draw(seed)),
        (Some(name), Some(mode)) => {
            let mode = match mode.strip_prefix("primary-backup-") {
                Some(backups) => Mode::PrimaryBackup(backups.parse().map_err(|_| "backups is no number")?),
                None if mode == "all-to-all" => Mode::AllToAll,
                None => return Err(format!("unknown mode {mode}")),
            };
            Ok(Scenario::aimed(seed, kind(name)?, mode))
        }
        _ => Err("kind and mode come together".to_owned()),
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|(_, known)| *known == name);
    found.map(|(kind, _)| kind).ok_or_else(|| format!("unknown kind {name}"))
}

fn text(arguments: &[String], name: &str) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).cloned()
}

fn option(arguments: &[String], name: &str) -> Result<Option<u64>, String> {
    text(arguments, name).map(|value| value.parse().map_err(|_| format!("{name} {value} is no number"))).transpose()
}

/// Simulated time in the log.
struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:8.3}", turmoil::sim_elapsed().unwrap_or_default().as_secs_f64())
    }
}
