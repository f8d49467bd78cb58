//! What many tasks did together, and what it took.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::protocol::Rates;
use crate::latencies::Latencies;
use crate::processor;

/// A measurement that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) began: Instant,
    cpu: Duration,
}

impl Measured {
    pub(super) fn begin() -> anyhow::Result<Self> {
        Ok(Self { began: Instant::now(), cpu: processor::time()? })
    }

    /// Waits for the tasks. Each tells how many nanoseconds everything took that it did, and how often it failed.
    pub(super) async fn rates(self, mut tasks: JoinSet<anyhow::Result<(Vec<u32>, u64)>>) -> anyhow::Result<Rates> {
        let (mut all, mut all_failed) = (Vec::new(), 0);
        while let Some(done) = tasks.join_next().await {
            let (latencies, failed) = done??;
            all.extend(latencies);
            all_failed += failed;
        }
        let (elapsed, cpu) = (self.began.elapsed(), processor::time()?.saturating_sub(self.cpu));
        let latencies = Latencies::of(all);
        let count = latencies.count() as f64;
        let cpu_us = cpu.as_nanos() as f64 / 1_000.0 / count.max(1.0);
        Ok(Rates { failed: all_failed, cpu_us, ..Rates::new(count / elapsed.as_secs_f64(), &latencies) })
    }
}
