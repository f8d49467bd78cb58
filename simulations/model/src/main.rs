//! Checks the model, and tells how a mistake breaks a promise.

use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use sessionmesh_model::bounds;
use sessionmesh_model::check::{Outcome, check};
use sessionmesh_model::mesh::Mesh;
use sessionmesh_model::mistakes::Mistake;

/// The rules of Sessionmesh as a small model, of which all states are looked at.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo run --release -p sessionmesh-model --", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Threads that look at states
    #[arg(long, default_value_t = 2, global = true)]
    threads: usize,
    /// The longest that one configuration may take
    #[arg(long, default_value_t = 600, global = true)]
    seconds_max: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at all states of all configurations, or of one, and look for each mistake
    Check {
        /// Only this configuration, without a limit of its depth
        #[arg(long)]
        only: Option<String>,
    },
    /// Tell the steps by which a mistake breaks a promise
    Show {
        /// The name of the mistake; with --within, of any that can be planted
        mistake: String,
        /// Look for it in this configuration
        #[arg(long)]
        within: Option<String>,
        /// And to this depth; 0 for no limit
        #[arg(long, default_value_t = 0)]
        depth_max: usize,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let most = Duration::from_secs(cli.seconds_max);
    let fine = match &cli.command {
        Command::Check { only: Some(name) } => check_one(name, cli.threads, most),
        Command::Check { only: None } => check_all(cli.threads, most),
        Command::Show { mistake, within: Some(bounds), depth_max } => {
            show_elsewhere(mistake, bounds, *depth_max, cli.threads, most)
        }
        Command::Show { mistake, within: None, .. } => show(mistake, cli.threads, most),
    };
    match fine {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => ExitCode::from(2),
    }
}

fn check_one(name: &str, threads: usize, most: Duration) -> Option<bool> {
    let Some(bounds) = bounds::named(name) else {
        let names: Vec<_> = bounds::ALL.iter().map(|bounds| bounds.name).collect();
        eprintln!("error: no configuration has this name; there are: {}", names.join(", "));
        return None;
    };
    let outcome = check(Mesh::new(bounds::Bounds { depth_max: 0, ..bounds }, None), threads, most);
    print_row(name, 0, &outcome);
    print_steps(&outcome);
    Some(outcome.broken.is_none() && !outcome.unfinished)
}

/// All configurations, and all mistakes. Says whether all came to what they must.
fn check_all(threads: usize, most: Duration) -> Option<bool> {
    let (mut fine, mut states) = (true, 0);
    println!("{:<26} {:>10} {:>6} {:>8}  result", "configuration", "states", "depth", "seconds");
    let outcomes = side_by_side(bounds::ALL, threads, |bounds| check(Mesh::new(*bounds, None), 1, most));
    for (bounds, outcome) in bounds::ALL.iter().zip(outcomes) {
        print_row(bounds.name, bounds.depth_max, &outcome);
        print_steps(&outcome);
        fine &= outcome.broken.is_none() && !outcome.unfinished;
        states += outcome.states;
    }
    println!("\n{:<26} {:>10} {:>6} {:>8}  breaks", "mistake", "states", "steps", "seconds");
    let mistakes: Vec<_> = Mistake::all().collect();
    let outcomes = side_by_side(&mistakes, threads, |mistake| mistake.look_for(1, most));
    for (mistake, outcome) in mistakes.iter().zip(outcomes) {
        let (steps, words) = match &outcome.broken {
            Some((promise, steps)) => (steps.len(), promise.words()),
            None => (0, "NOT FOUND"),
        };
        println!("{:<26} {:>10} {steps:>6} {:>8.1}  {words}", mistake.name, outcome.states, outcome.took.as_secs_f64());
        fine &= outcome.broken.is_some();
    }
    println!("\nstates {states} {}", if fine { "all as it must be" } else { "FAILED" });
    Some(fine)
}

/// Does the work for each item, some at a time. One thread looks at the states of one configuration level by level, so that
/// a limit of the depth is exact, and the steps to a broken promise are the fewest.
fn side_by_side<T: Sync>(items: &[T], threads: usize, work: impl Fn(&T) -> Outcome + Sync) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let done: Vec<OnceLock<Outcome>> = items.iter().map(|_| OnceLock::new()).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < items.len()) {
                    let _ = done[at].set(work(&items[at]));
                }
            });
        }
    });
    done.into_iter().map(|outcome| outcome.into_inner().expect("each item is worked on")).collect()
}

fn print_row(name: &str, depth_max: usize, outcome: &Outcome) {
    let result = match (&outcome.broken, outcome.unfinished, depth_max) {
        (Some((promise, _)), ..) => format!("BROKEN: {}", promise.words()),
        (None, true, _) => "not finished in time".to_owned(),
        (None, false, 0) => "kept in all states".to_owned(),
        (None, false, _) => "kept in all states to this depth".to_owned(),
    };
    println!("{name:<26} {:>10} {:>6} {:>8.1}  {result}", outcome.states, outcome.depth, outcome.took.as_secs_f64());
}

fn print_steps(outcome: &Outcome) {
    let Some((promise, steps)) = &outcome.broken else { return };
    println!("broken: {}", promise.words());
    for (number, (step, _)) in steps.iter().enumerate() {
        println!("{:>4}. {step}", number + 1);
    }
}

fn show(name: &str, threads: usize, most: Duration) -> Option<bool> {
    let Some(mistake) = Mistake::named(name) else {
        let names: Vec<_> = Mistake::all().map(|mistake| mistake.name).collect();
        eprintln!("error: no mistake has this name; there are: {}", names.join(", "));
        return None;
    };
    println!("{}, in \"{}\": {}", mistake.name, mistake.bounds, mistake.what);
    let outcome = mistake.look_for(threads, most);
    print_steps(&outcome);
    Some(outcome.broken.is_some())
}

fn show_elsewhere(name: &str, bounds: &str, depth_max: usize, threads: usize, most: Duration) -> Option<bool> {
    let bounds = bounds::named(bounds).map(|bounds| bounds::Bounds { depth_max, ..bounds });
    let found = bounds.and_then(|bounds| Mistake::look_elsewhere(name, bounds, threads, most));
    let Some(outcome) = found else {
        eprintln!("error: there is no such mistake, or no such configuration");
        return None;
    };
    print_row(name, depth_max, &outcome);
    print_steps(&outcome);
    Some(outcome.broken.is_some())
}
