//! Many visitors at a time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::walk::walk;
use super::{Tally, Visitor, WebNode};
use crate::waiting::{PATIENCE, eventually_async};

/// What the visitors and the test share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Visitors log in a second time.
    pub(super) renewing: bool,
    /// The load shall end.
    pub(super) over: AtomicBool,
    /// So many visitors have logged in, looked around and logged out.
    pub(super) lives: AtomicU64,
    crash: Mutex<Option<Crash>>,
}

/// When a node was killed: between these two moments, the second none as long as that is not over.
#[derive(Clone, Copy, Debug)]
struct Crash {
    from: Instant,
    to: Option<Instant>,
}

impl Shared {
    fn crash(&self) -> MutexGuard<'_, Option<Crash>> {
        self.crash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request was under way when a node was killed.
    pub(super) fn was_under_way(&self, sent: Instant, answered: Instant) -> bool {
        self.crash().is_some_and(|crash| answered >= crash.from && crash.to.is_none_or(|to| sent <= to))
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    visitors: JoinSet<Tally>,
}

impl Load {
    /// Starts so many visitors, each with one connection to `to`. Between two requests each of them waits for `pace`:
    /// the load shares this machine with all nodes. Those who are `renewing` log in a second time.
    #[must_use]
    pub fn start(to: SocketAddr, visitors: usize, pace: Duration, renewing: bool) -> Self {
        let shared = Arc::new(Shared { renewing, ..Shared::default() });
        let one = |number| walk(Visitor::new(to, &format!("visitor {number}")), shared.clone(), pace);
        Self { visitors: (0..visitors).map(one).collect(), shared }
    }

    /// Waits until each visitor has come and gone once more, on average.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn goes_on(&self) {
        let lives = || self.shared.lives.load(Ordering::Relaxed);
        let wanted = lives() + self.visitors.len() as u64;
        let come_and_gone = async || match lives() {
            lives if lives >= wanted => Ok(()),
            lives => Err(format!("only {lives} of {wanted} visitors have come and gone")),
        };
        eventually_async(PATIENCE, come_and_gone).await;
    }

    /// Kills a node under this load. Who has sent a request and gets no answer cannot know then whether it was done.
    pub async fn kill(&self, node: WebNode) {
        let from = Instant::now();
        *self.shared.crash() = Some(Crash { from, to: None });
        node.kill().await;
        *self.shared.crash() = Some(Crash { from, to: Some(Instant::now()) });
    }

    /// Ends the load, when each visitor has logged out.
    ///
    /// # Panics
    ///
    /// When a visitor panicked.
    pub async fn stop(self) -> Tally {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for tally in self.visitors.join_all().await {
            all.add(tally);
        }
        all
    }
}
