//! Processor time of processes.

use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// Ticks per second in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// How long the threads of a process have run, in user space and in the kernel, to a hundredth of a second.
pub(crate) fn time_of(pid: u32) -> anyhow::Result<Duration> {
    let file = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    // The name, in brackets, may contain anything.
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("{file} is not understood"))?;
    Ok(Duration::from_millis((ticks.0 + ticks.1) * 1_000 / TICKS_PER_SECOND))
}

/// [`time_of`] this process.
pub(crate) fn time() -> anyhow::Result<Duration> {
    time_of(std::process::id())
}

/// [`time`], to the nanosecond: for spans in which a hundredth of a second counts.
pub(crate) fn precise_time() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).context("the processor time of this process is negative")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn both_clocks_tell_of_the_work_of_other_threads() {
        let (before, began) = (precise_time().unwrap(), Instant::now());
        let work = Duration::from_millis(300);
        let burn = move || {
            while precise_time().unwrap() - before < work {
                assert!(began.elapsed() < Duration::from_secs(30), "a busy loop uses no processor time");
            }
        };
        std::thread::spawn(burn).join().unwrap();
        let (low, middle, high) = (precise_time().unwrap(), time().unwrap(), precise_time().unwrap());
        // `/proc` rounds two numbers down, and has not counted the tick in which a core is now.
        let cores = std::thread::available_parallelism().unwrap().get();
        let tick = Duration::from_millis(1_000 / TICKS_PER_SECOND);
        let behind = tick * (2 + u32::try_from(cores).unwrap());
        assert!(low <= middle + behind && middle <= high, "{low:?} {middle:?} {high:?}");
        assert!(high >= work, "{high:?}");
    }

    #[test]
    fn work_takes_processor_time() {
        let (before, began) = (time().unwrap(), Instant::now());
        while time().unwrap() == before {
            assert!(began.elapsed() < Duration::from_secs(10), "a busy loop uses no processor time");
        }
    }
}
