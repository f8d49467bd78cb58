//! Tasks that read, and how fast that was at each moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use sessionmesh::{Mesh, SessionId};
use tokio::task::{JoinSet, consume_budget, yield_now};
use tokio::time::{Instant, sleep_until};

use crate::monotonic;

/// Reads are counted in slices of time.
const SLICE: Duration = Duration::from_millis(5);

/// How fast to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pace {
    /// So often in a second, each task.
    Each(u32),
    /// As fast as it goes, within the budget that tokio gives a task that could always go on: 128 reads in a turn.
    Budget,
    /// As fast as it goes, one read in a turn.
    OneInATurn,
}

impl Pace {
    fn pause(self) -> Option<Duration> {
        match self {
            Self::Each(times) => Some(Duration::from_secs(1) / times.max(1)),
            Self::Budget | Self::OneInATurn => None,
        }
    }
}

/// Readers at work.
#[derive(Debug)]
pub(super) struct Readers {
    running: JoinSet<anyhow::Result<Vec<Histogram>>>,
    stop: Arc<AtomicBool>,
    began: Duration,
}

impl Readers {
    /// Lets them begin. The latency of a read counts from when it was due, at a fixed pace or else as soon as its task has
    /// done the one before, not from when the task got its turn: what a node does not get around to is late for the
    /// visitor, too.
    pub(super) fn start(mesh: &Mesh, ids: &[SessionId], tasks: usize, pace: Pace) -> anyhow::Result<Self> {
        ensure!(!ids.is_empty(), "there is no session to read");
        let ids: Arc<[SessionId]> = ids.into();
        let stop = Arc::new(AtomicBool::new(false));
        let (origin, began) = (Instant::now(), monotonic::now());
        let mut running = JoinSet::new();
        for task in 0..tasks.max(1) {
            let reader = Reader { mesh: mesh.clone(), ids: ids.clone(), origin, pace, stop: stop.clone() };
            running.spawn(reader.run(task as u64));
        }
        Ok(Self { running, stop, began })
    }

    /// Ends them, and says what was read when.
    pub(super) async fn stop(mut self) -> anyhow::Result<Reads> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all: Vec<Histogram> = Vec::new();
        while let Some(slices) = self.running.join_next().await {
            let slices = slices??;
            all.resize_with(all.len().max(slices.len()), Histogram::default);
            for (sum, slice) in all.iter_mut().zip(&slices) {
                sum.add(slice);
            }
        }
        let began_ns = u64::try_from(self.began.as_nanos())?;
        Ok(Reads { began_ns, slices: all })
    }
}

struct Reader {
    mesh: Mesh,
    ids: Arc<[SessionId]>,
    origin: Instant,
    pace: Pace,
    stop: Arc<AtomicBool>,
}

impl Reader {
    async fn run(self, seed: u64) -> anyhow::Result<Vec<Histogram>> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut slices = Vec::new();
        let mut due = self.origin + self.pace.pause().unwrap_or_default().mul_f64(random.random());
        while !self.stop.load(Ordering::Relaxed) {
            let began = due;
            if let Some(pause) = self.pace.pause() {
                sleep_until(due).await;
                due += pause;
            }
            let id = self.ids.choose(&mut random).context("there is no session to read")?;
            let session = self.mesh.load(*id).await?;
            ensure!(session.is_some(), "a session is gone");
            let now = Instant::now();
            let slice = usize::try_from((now - self.origin).as_nanos() / SLICE.as_nanos())?;
            if slices.len() <= slice {
                slices.resize_with(slice + 1, Histogram::default);
            }
            slices[slice].count(now - began);
            // A read of a local session waits for nothing. Handlers of requests do, for their sockets at least, and so let
            // the node's own tasks have a turn.
            match self.pace {
                Pace::Each(_) => continue,
                Pace::Budget => consume_budget().await,
                Pace::OneInATurn => yield_now().await,
            }
            due = now;
        }
        Ok(slices)
    }
}

/// What was read, slice by slice from the beginning.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reads {
    began_ns: u64,
    slices: Vec<Histogram>,
}

/// What was read within some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    pub(crate) per_second: f64,
    pub(crate) p99_us: f64,
}

impl Reads {
    /// When the first slice began, by the clock that all processes share.
    pub(crate) const fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// What was read in the slices that lie wholly between these two moments; none if there is no such slice.
    pub(crate) fn between(&self, from_ns: u64, to_ns: u64) -> Option<Speed> {
        let slice = u64::try_from(SLICE.as_nanos()).ok()?;
        let first = usize::try_from(from_ns.saturating_sub(self.began_ns).div_ceil(slice)).ok()?;
        let end = usize::try_from(to_ns.saturating_sub(self.began_ns) / slice).ok()?;
        let slices = self.slices.get(first..end).filter(|slices| !slices.is_empty())?;
        let mut sum = Histogram::default();
        slices.iter().for_each(|slice| sum.add(slice));
        let seconds = SLICE.as_secs_f64() * slices.len() as f64;
        Some(Speed { per_second: sum.total() as f64 / seconds, p99_us: sum.percentile_ns(990)? as f64 / 1_000.0 })
    }
}

/// How many reads took how long: by buckets of which each is an eighth wider than the one before, at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Histogram(Vec<(u16, u32)>);

/// Each power of two has so many buckets.
const PARTS: u64 = 8;

fn bucket(nanoseconds: u64) -> u16 {
    let value = nanoseconds.max(PARTS);
    let shift = value.ilog2() - PARTS.ilog2();
    // At most 61 shifts of 8 parts each.
    (u64::from(shift) * PARTS + (value >> shift) - PARTS) as u16
}

/// The least value of a bucket.
fn least(bucket: u16) -> u64 {
    let (shift, part) = (u64::from(bucket) / PARTS, u64::from(bucket) % PARTS);
    (PARTS + part) << shift
}

impl Histogram {
    fn count(&mut self, latency: Duration) {
        self.put(bucket(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)), 1);
    }

    fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.put(*bucket, *count);
        }
    }

    fn put(&mut self, bucket: u16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// The least value of the bucket in which it lies; `thousandths` 990 is p99. None if nothing was counted.
    fn percentile_ns(&self, thousandths: u64) -> Option<u64> {
        let rank = self.total() * thousandths / 1_000;
        let mut below = 0;
        let found = self.0.iter().find(|(_, count)| {
            below += u64::from(*count);
            below > rank
        });
        found.or(self.0.last()).map(|(bucket, _)| least(*bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_an_eighth_wide_at_most() {
        for value in (8..20_000).chain([1 << 40, u64::MAX]) {
            let least = least(bucket(value));
            assert!(least <= value && value - least <= least / 8, "{value} is in the bucket of {least}");
        }
        assert_eq!(bucket(0), 0);
    }

    #[test]
    fn percentiles_are_found() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile_ns(990), None);
        (0..989).for_each(|_| histogram.count(Duration::from_nanos(128)));
        (0..11).for_each(|_| histogram.count(Duration::from_nanos(1 << 20)));
        assert_eq!(histogram.total(), 1_000);
        assert_eq!(histogram.percentile_ns(500), Some(128));
        assert_eq!(histogram.percentile_ns(990), Some(1 << 20));
        assert_eq!(histogram.percentile_ns(1_000), Some(1 << 20));
    }

    #[test]
    fn only_whole_slices_count() {
        let slice = u64::try_from(SLICE.as_nanos()).unwrap();
        let of = |reads: u32| {
            let mut histogram = Histogram::default();
            (0..reads).for_each(|_| histogram.count(Duration::from_micros(16)));
            histogram
        };
        let reads = Reads { began_ns: 1_000, slices: vec![of(1), of(5), of(15), of(100)] };
        let speed = reads.between(1_001, 1_000 + 3 * slice).unwrap();
        assert_eq!(speed.per_second, 20.0 / (2.0 * SLICE.as_secs_f64()));
        assert_eq!(speed.p99_us, least(bucket(16_000)) as f64 / 1_000.0);
        assert_eq!(reads.between(1_001, 1_000 + slice), None);
        assert_eq!(reads.between(1_000, 1_000 + 5 * slice), None);
    }
}
