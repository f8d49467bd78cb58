//! A cluster of real processes, that can be killed, stopped and restarted.
//!
//! One cluster runs at a time on the whole machine, so that tests that measure do not
//! disturb each other. When a test fails, the end of what each of its nodes logged is printed.

mod cluster;
pub mod control;
pub mod lan;
mod line;
mod process;
pub mod testnode;

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

pub use self::cluster::{Cluster, secret_file};
pub use self::control::Attributes;
pub use self::line::Line;
pub use self::process::Process;
pub use crate::cluster::{MODES, unique_name};
pub use crate::waiting::{PATIENCE, SetWhenDropped, Turn, check, eventually_async, eventually_blocking, median};

/// So much of its log is shown of each node when a test fails.
const LOG_LINES_SHOWN: usize = 60;

/// A program of the package whose test this is. Tests are programs in `target/*/deps`, beside which cargo puts the programs of the package.
///
/// # Panics
///
/// When this program is none of cargo's.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let programs = test.parent().and_then(std::path::Path::parent).expect("cargo puts tests into a folder of its own");
    programs.join(name)
}

/// Pairs of keys and values as attributes.
#[must_use]
pub fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> Attributes {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The end of what `who` logged, for a test that fails.
pub(crate) fn tail(who: &str, log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
    format!("--- {who} logged:\n{}\n", shown.join("\n"))
}

/// Sends a signal to a child that was not waited for yet.
pub(crate) fn signal(child: u32, name: Signal) {
    kill_process(pid(child), name).expect("an own child can be signalled");
}

fn pid(child: u32) -> Pid {
    i32::try_from(child).ok().and_then(Pid::from_raw).expect("a process id")
}
