//! The time of a run.

use std::time::{Duration, Instant};

/// Milliseconds since the start of a run.
pub(crate) type Ms = u64;

/// Counts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Ms {
        ms(self.0.elapsed())
    }
}

pub(crate) fn ms(time: Duration) -> Ms {
    u64::try_from(time.as_millis()).unwrap_or(Ms::MAX)
}
