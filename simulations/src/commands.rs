//! The command line, and what its exit codes mean.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod arguments;
mod batch;
mod bugs;
mod check;
mod console;
mod determinism;
mod failure;
mod hunt;
mod judged;
mod mutants;
mod paths;
mod real_time;
mod recording;
mod replay;
mod show;
mod shrink;
mod stress;
mod tally;
mod watchdog;

const EXIT_CODES: &str = "\
Exit codes:
  0  no promise was broken
  1  a promise was broken, or a planted bug or a mutant was not found
  2  wrong usage: an unknown option, no such file, a file that is no scenario";

const EXAMPLES: &str = "\
Start with:
  cargo run --release -- check            what every change must pass
  cargo run --release -- hunt --minutes 10
  cargo run --release -- replay 17        a seed that failed, once more
  cargo run --release -- shrink 17        the smallest scenario that still fails

Exit codes:
  0  no promise was broken
  1  a promise was broken, or a planted bug or a mutant was not found
  2  wrong usage: an unknown option, no such file, a file that is no scenario";

/// Whole clusters of Sessionmesh in simulated time: one number, the seed, decides all that happens, and an oracle watches
/// that what clients were told stays true.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo run --release --", after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What every change must pass: runs repeat exactly, old failures stay away, fresh seeds hold
    #[command(after_help = EXIT_CODES)]
    Check(check::Arguments),
    /// Play seed after seed, until a promise breaks or the time is over
    #[command(after_help = EXIT_CODES)]
    Hunt(hunt::Arguments),
    /// Play one seed, or one scenario from a file, and tell what came of it
    #[command(after_help = EXIT_CODES)]
    Replay(replay::Arguments),
    /// Print the scenario of a seed, as text that `replay` takes
    Show(show::Arguments),
    /// Find the smallest scenario that breaks the same promise
    #[command(after_help = shrink::EXIT_CODES)]
    Shrink(shrink::Arguments),
    /// Plant bugs in the library, and see that each is found
    #[command(after_help = EXIT_CODES)]
    Bugs(bugs::Arguments),
    /// Run clusters on many threads, in real time, until a promise breaks or the time is over
    #[command(after_help = EXIT_CODES)]
    Stress(stress::Arguments),
    /// Make small changes in a copy of the library, and see that each is found
    #[command(after_help = EXIT_CODES)]
    Mutants(mutants::Arguments),
    /// Play seeds until a promise breaks, for `mutants`
    #[command(hide = true)]
    UntilBroken(mutants::until_broken::Arguments),
    /// Print the trace of the scenario on stdin, for `check`
    #[command(hide = true)]
    Trace,
}

/// What a command came to. What it could not do at all, and why, is an error text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    Broken,
}

impl From<bool> for Outcome {
    fn from(fine: bool) -> Self {
        if fine { Self::Fine } else { Self::Broken }
    }
}

pub(super) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Hunt(arguments) => hunt::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Bugs(arguments) => bugs::run(&arguments),
        Command::Stress(arguments) => stress::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::UntilBroken(arguments) => mutants::until_broken::run(&arguments),
        Command::Trace => determinism::print_trace(),
    };
    match outcome {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Broken) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}
