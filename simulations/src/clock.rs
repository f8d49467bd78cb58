//! A node's clocks in simulated time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sessionmesh::Clock;
use tokio::time::Instant;

/// Where the wall clocks start, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// The clocks of one life of a node: tokio's instants restart with the host, the wall clock goes on.
#[derive(Debug)]
pub struct SimClock {
    started: Instant,
    skew_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// Clocks of a node that starts now. Its wall clock is wrong by `skew_ms`, at any time.
    #[must_use]
    pub fn new(skew_ms: Arc<AtomicI64>) -> Self {
        Self { started: Instant::now(), skew_ms }
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        (EPOCH_MS + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
            .saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
