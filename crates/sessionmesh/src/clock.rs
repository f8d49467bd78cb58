//! The two clocks a node needs: one that is shown to people, one that measures.

use std::fmt;
use std::time::Duration;

/// The time source of a node.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Wall-clock time in milliseconds since the Unix epoch. It is displayed, numbers incarnations, is compared with the dates
    /// of certificates, and says when a node ticks, so that those with right clocks do so together. No decision compares it with the clock of another node.
    fn wall_ms(&self) -> u64;

    /// Time since an arbitrary start. It never goes back. It includes the time for which the machine was suspended,
    /// where the platform can tell. Idle times are measured with it.
    fn elapsed(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn wall_ms(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        sessionmesh_core::moment::millis(since_epoch)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn elapsed(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn elapsed(&self) -> Duration {
        static START: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(tokio::time::Instant::now).elapsed()
    }
}
