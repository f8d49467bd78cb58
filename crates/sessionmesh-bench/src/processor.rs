//! Processor time of processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// Ticks per second in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// How long the threads of a process have run, in user space and in the kernel, to a hundredth of a second.
pub(crate) fn time_of(pid: u32) -> anyhow::Result<Duration> {
    let file = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    // The name, in brackets, may contain anything.
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("{file} is not understood"))?;
    Ok(Duration::from_millis((ticks.0 + ticks.1) * 1_000 / TICKS_PER_SECOND))
}

/// How long the threads of this process have run, to the nanosecond.
pub(crate) fn time() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).context("the processor time of this process is negative")
}

/// How long each thread of a process has run, to the nanosecond: for what is too little for [`time_of`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads(BTreeMap<u32, Duration>);

impl Threads {
    /// All threads of a process.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        Self::named(pid, "")
    }

    /// Those of its threads whose names begin like this.
    pub(crate) fn named(pid: u32, prefix: &str) -> anyhow::Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
            let path = entry?.path();
            let Some(thread) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
            // A thread may end while its files are read.
            let read = |file: &str| match fs::read_to_string(path.join(file)) {
                Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => Ok(None),
                read => read.map(Some).with_context(|| format!("cannot read {}/{file}", path.display())),
            };
            let (Some(name), Some(schedule)) = (read("comm")?, read("schedstat")?) else { continue };
            if name.starts_with(prefix) {
                let time = on_processor(&schedule).with_context(|| format!("{schedule:?} is not understood"))?;
                threads.insert(thread, time);
            }
        }
        Ok(Self(threads))
    }

    /// How long they ran since `before`. What ended meanwhile is not counted.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let ran =
            |(thread, now): (&u32, &Duration)| now.saturating_sub(before.0.get(thread).copied().unwrap_or_default());
        self.0.iter().map(ran).sum()
    }
}

/// "No such process": what reading a file of a thread gives that has just ended.
const ESRCH: i32 = 3;

/// The first of the three numbers of a schedstat: nanoseconds on a processor.
fn on_processor(schedule: &str) -> Option<Duration> {
    schedule.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn coarse_time() -> anyhow::Result<Duration> {
        time_of(std::process::id())
    }

    #[test]
    fn both_clocks_tell_of_the_work_of_other_threads() {
        let (before, began) = (time().unwrap(), Instant::now());
        let work = Duration::from_millis(300);
        let burn = move || {
            while time().unwrap() - before < work {
                assert!(began.elapsed() < Duration::from_secs(30), "a busy loop uses no processor time");
            }
        };
        std::thread::spawn(burn).join().unwrap();
        let (low, middle, high) = (time().unwrap(), coarse_time().unwrap(), time().unwrap());
        // `/proc` rounds two numbers down, and has not counted the tick in which a core is now.
        let cores = std::thread::available_parallelism().unwrap().get();
        let tick = Duration::from_millis(1_000 / TICKS_PER_SECOND);
        let behind = tick * (2 + u32::try_from(cores).unwrap());
        assert!(low <= middle + behind && middle <= high, "{low:?} {middle:?} {high:?}");
        assert!(high >= work, "{high:?}");
    }

    #[test]
    fn work_takes_processor_coarse_time() {
        let (before, began) = (coarse_time().unwrap(), Instant::now());
        while coarse_time().unwrap() == before {
            assert!(began.elapsed() < Duration::from_secs(10), "a busy loop uses no processor time");
        }
    }

    #[test]
    fn threads_are_told_apart_by_their_names() {
        let busy = std::thread::Builder::new().name("busy-bee".to_owned()).spawn(|| {
            let began = Instant::now();
            let spent = || Threads::named(std::process::id(), "busy-bee").unwrap();
            let before = spent();
            while spent().since(&before) < Duration::from_millis(2) {
                assert!(began.elapsed() < Duration::from_secs(10), "a busy loop uses no processor time");
            }
            (spent().since(&before), Threads::named(std::process::id(), "busy-bee").unwrap().0.len())
        });
        let (spent, threads) = busy.unwrap().join().unwrap();
        assert!(spent >= Duration::from_millis(2));
        assert_eq!(threads, 1);
        assert!(Threads::named(std::process::id(), "no such thread").unwrap().0.is_empty());
    }

    #[test]
    fn a_schedstat_begins_with_the_time_on_a_processor() {
        assert_eq!(on_processor("1500000 20 3\n"), Some(Duration::from_micros(1_500)));
        assert_eq!(on_processor(""), None);
    }
}
