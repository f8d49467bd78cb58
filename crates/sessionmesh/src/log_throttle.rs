//! What may happen many times a second, and is said now and then.

use std::time::Duration;

use tokio::time::Instant;

/// So long nothing more is said about the same.
const PAUSE: Duration = Duration::from_secs(10);

/// Says when it is time to say it again.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle {
    said: Option<Instant>,
    unsaid: u64,
}

impl LogThrottle {
    /// It happened: how often it did without being said before, if it is to be said now.
    pub(crate) fn admit(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.said.is_some_and(|said| now.duration_since(said) < PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_all_the_time_is_said_once_in_each_pause_and_counted() {
        let mut seldom = LogThrottle::default();
        assert_eq!(seldom.admit(), Some(0));
        for _ in 0..7 {
            advance(PAUSE / 10).await;
            assert_eq!(seldom.admit(), None);
        }
        advance(PAUSE).await;
        assert_eq!(seldom.admit(), Some(7));
        advance(PAUSE * 2).await;
        assert_eq!(seldom.admit(), Some(0));
    }
}
