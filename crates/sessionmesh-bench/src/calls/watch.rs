//! Watching a process by perf.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// What is counted, by perf's names.
const CALLS: &str = "raw_syscalls:sys_enter";
const SWITCHES: &str = "context-switches";
/// How often perf tells what it has counted, in milliseconds: so it also tells that it has begun.
const EVERY_MS: &str = "100";

/// What a process did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) calls: u64,
    pub(super) switches: u64,
}

/// A process that is watched, with all its threads.
pub(super) struct Watch {
    perf: Child,
    output: BufReader<ChildStderr>,
}

/// Whether perf is there and may count system calls.
pub(super) fn is_allowed() -> bool {
    let output = perf().args(["--", "true"]).output();
    output.is_ok_and(|output| {
        let told = String::from_utf8_lossy(&output.stderr);
        output.status.success() && seen(&told).is_ok_and(|seen| seen.calls > 0)
    })
}

fn perf() -> Command {
    let mut perf = Command::new("perf");
    perf.args(["stat", "--field-separator=,", "--interval-print", EVERY_MS, "--event", CALLS, "--event", SWITCHES]);
    perf
}

impl Watch {
    /// Watches from now on: it returns when perf has told of a first, idle while.
    pub(super) fn start(pid: u32) -> anyhow::Result<Self> {
        let mut perf = perf().arg("--pid").arg(pid.to_string()).stderr(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(perf.stderr.take().context("perf has no standard error")?);
        let mut line = String::new();
        while !line.contains(SWITCHES) {
            line.clear();
            ensure!(output.read_line(&mut line)? > 0, "perf ended before it had counted anything");
        }
        Ok(Self { perf, output })
    }

    /// What the process did since.
    pub(super) fn end(mut self) -> anyhow::Result<Seen> {
        let pid = i32::try_from(self.perf.id()).ok().and_then(Pid::from_raw).context("perf has no process id")?;
        kill_process(pid, Signal::INT)?;
        let mut told = String::new();
        self.output.read_to_string(&mut told)?;
        self.perf.wait()?;
        seen(&told)
    }
}

/// Adds up what perf told: `seconds,count,unit,event,...` in each line.
fn seen(told: &str) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    for line in told.lines() {
        let fields: Vec<&str> = line.trim().split(',').collect();
        let [_, count, _, event, ..] = fields[..] else { continue };
        let sum = match event {
            CALLS => &mut seen.calls,
            SWITCHES => &mut seen.switches,
            _ => continue,
        };
        *sum += match count {
            // Nothing happened in all that time.
            "<not counted>" => 0,
            count => count.parse().with_context(|| format!("perf tells of {count:?} {event}"))?,
        };
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_whiles_are_added_up() {
        let told = "     0.10,12,,raw_syscalls:sys_enter,0,100.00,,\n     0.10,<not counted>,,context-switches,0,100.00,,\n\
                    \n     0.20,30,,raw_syscalls:sys_enter,9,100.00,,\n     0.20,4,,context-switches,9,100.00,,\n";
        assert_eq!(seen(told).unwrap(), Seen { calls: 42, switches: 4 });
        assert!(seen("     0.10,<not supported>,,context-switches,0,100.00,,\n").is_err());
        assert_eq!(seen("perf says something else").unwrap(), Seen::default());
    }

    #[test]
    fn a_process_that_works_is_seen() {
        if !is_allowed() {
            println!("skipped: perf is not installed, or may not watch system calls");
            return;
        }
        let watch = Watch::start(std::process::id()).unwrap();
        for _ in 0..1_000 {
            std::fs::metadata("/").unwrap();
        }
        let seen = watch.end().unwrap();
        assert!(seen.calls >= 1_000, "{seen:?}");
    }
}
