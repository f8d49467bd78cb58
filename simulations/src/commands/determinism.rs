//! First of all: no seed is believed before a run can be repeated, in this process and in another one.

use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use sessionmesh_simulations::run::play;
use sessionmesh_simulations::scenario::{Kind, Mode, Scenario};

use super::Outcome;
use super::arguments::Named;
use super::batch::on_all_cores;
use super::console::say;
use super::watchdog::Watchdog;

const MODES: [Mode; 3] = [Mode::AllToAll, Mode::PrimaryBackup(1), Mode::PrimaryBackup(2)];

/// Plays one scenario of each kind three times. Gives the number of those that were not the same each time, and prints
/// them.
pub(super) fn check(seed: u64) -> Result<u64, String> {
    let aimed = |(number, (kind, _)): (usize, (Kind, _))| Named::aimed(seed, kind, MODES[number % MODES.len()]);
    let waiting: Mutex<Vec<Named>> = Mutex::new(Kind::ALL.into_iter().enumerate().map(aimed).collect());
    let different: Mutex<Result<u64, String>> = Mutex::new(Ok(0));
    let watchdog = Watchdog::new(|| {});
    on_all_cores(|| {
        loop {
            let Some(named) = waiting.lock().expect("no holder panics").pop() else { break };
            let same = watchdog.watch(&named, || is_same_again(&named));
            let mut different = different.lock().expect("no holder panics");
            match (&mut *different, same) {
                (Ok(different), Ok(same)) => *different += u64::from(!same),
                (Ok(_), Err(why)) => *different = Err(why),
                (Err(_), _) => {}
            }
        }
    });
    different.into_inner().expect("no holder panicked")
}

fn is_same_again(named: &Named) -> Result<bool, String> {
    let text = || trace(&named.scenario);
    let (one, other, elsewhere) = (text(), text(), trace_elsewhere(&named.scenario)?);
    let same = one == other && one == elsewhere;
    if !same {
        say(format_args!(
            "NOT DETERMINISTIC: {}\n  trace {one}, again {other}, in another process {elsewhere}\n{}",
            named.name, named.scenario
        ));
    }
    Ok(same)
}

fn trace(scenario: &Scenario) -> String {
    let (hash, events) = play(scenario).trace;
    format!("{hash:016x} of {events}")
}

/// In another process memory lies elsewhere, and hashes of the standard library have other keys.
fn trace_elsewhere(scenario: &Scenario) -> Result<String, String> {
    let failed = |error: io::Error| format!("this program cannot be started again: {error}");
    let program = std::env::current_exe().map_err(failed)?;
    let mut other =
        Command::new(program).arg("trace").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = other.stdin.take() {
        stdin.write_all(scenario.to_string().as_bytes()).map_err(failed)?;
    }
    let output = other.wait_with_output().map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the other process does.
pub(super) fn print_trace() -> Result<Outcome, String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
    let scenario: Scenario = text.parse().map_err(|error| format!("stdin is no scenario: {error}"))?;
    say(trace(&scenario));
    Ok(Outcome::Fine)
}
