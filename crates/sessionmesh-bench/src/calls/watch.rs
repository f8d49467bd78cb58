//! Watching a process by perf.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// What is counted, by perf's names.
const CALLS: &str = "raw_syscalls:sys_enter";
const SWITCHES: &str = "context-switches";
/// How often perf tells what it has counted since it told last.
const EVERY: Duration = Duration::from_millis(100);

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
    /// When perf had told of a first while, by its clock and by ours.
    began: (Duration, Instant),
}

/// Whether perf is there and may count system calls. It fails where it may not.
pub(super) fn is_allowed() -> bool {
    perf().args(["--", "true"]).output().is_ok_and(|output| output.status.success())
}

fn perf() -> Command {
    let mut perf = Command::new("perf");
    perf.args(["stat", "--field-separator=,", "--event", CALLS, "--event", SWITCHES]);
    perf.arg("--interval-print").arg(EVERY.as_millis().to_string());
    perf
}

impl Watch {
    /// Watches from now on: it returns when perf has told of a first, idle while.
    pub(super) fn start(pid: u32) -> anyhow::Result<Self> {
        let mut perf = perf().arg("--pid").arg(pid.to_string()).stderr(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(perf.stderr.take().context("perf has no standard error")?);
        let (told, _) = next(&mut output)?;
        Ok(Self { perf, output, began: (told, Instant::now()) })
    }

    /// What the process did since. Perf is ended only when it has told of a while that began later than now: of the last
    /// one before a signal it tells or not, as the signal finds it.
    pub(super) fn end(mut self) -> anyhow::Result<Seen> {
        let until = self.began.0 + self.began.1.elapsed() + EVERY;
        let mut all = Seen::default();
        loop {
            let (told, seen) = next(&mut self.output)?;
            all.calls += seen.calls;
            all.switches += seen.switches;
            if told >= until {
                break;
            }
        }
        self.perf.kill()?;
        self.perf.wait()?;
        Ok(all)
    }
}

/// What perf tells of the next while, and when that ended: `seconds,count,unit,event,...` in a line for each event.
fn next(output: &mut impl BufRead) -> anyhow::Result<(Duration, Seen)> {
    let mut seen = Seen::default();
    loop {
        let mut line = String::new();
        ensure!(output.read_line(&mut line)? > 0, "perf ended before it had told what it counted");
        let fields: Vec<&str> = line.trim().split(',').collect();
        let [seconds, count, _, event, ..] = fields[..] else { continue };
        let count = || match count {
            // Nothing happened in all that time.
            "<not counted>" => Ok(0),
            count => count.parse().with_context(|| format!("perf tells of {count:?} {event}")),
        };
        match event {
            CALLS => seen.calls = count()?,
            // The last one of a while.
            SWITCHES => {
                seen.switches = count()?;
                return Ok((Duration::try_from_secs_f64(seconds.parse()?)?, seen));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_while_is_told_with_its_end_and_what_is_missing_is_no_zero() {
        let whiles = "     0.10,12,,raw_syscalls:sys_enter,0,100.00,,\n     0.10,<not counted>,,context-switches,0,100.00,,\n\
                      \n     0.25,30,,raw_syscalls:sys_enter,9,100.00,,\n     0.25,4,,context-switches,9,100.00,,\n";
        let mut told = whiles.as_bytes();
        let at = Duration::from_millis;
        assert_eq!(next(&mut told).unwrap(), (at(100), Seen { calls: 12, switches: 0 }));
        assert_eq!(next(&mut told).unwrap(), (at(250), Seen { calls: 30, switches: 4 }));
        assert!(next(&mut told).is_err(), "perf has ended");
        assert!(next(&mut whiles.replace("12", "<not supported>").as_bytes()).is_err());
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
