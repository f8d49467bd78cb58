//! Sessions on hold between a vote on their end and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;
use tokio::time::{Instant, sleep};

use crate::lock::lock;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Sessions that this node agreed to have expire, and does not use until the verdict.
#[derive(Debug, Default)]
pub(crate) struct ExpiryHolds {
    until: Mutex<BTreeMap<SessionId, Moment>>,
    count: AtomicUsize,
}

impl ExpiryHolds {
    /// Whether `id` is held. Each read asks, and nearly always none is.
    #[inline]
    pub(crate) fn holds(&self, id: SessionId, now: Moment) -> bool {
        !self.is_empty() && self.is_among_the_held(id, now)
    }

    fn is_among_the_held(&self, id: SessionId, now: Moment) -> bool {
        lock(&self.until).get(&id).is_some_and(|until| now < *until)
    }

    /// The verdict came.
    pub(crate) fn lift(&self, id: SessionId) {
        if !self.is_empty() && !failpoint::planted(Bug::FencesNeverLifted) {
            let mut until = lock(&self.until);
            until.remove(&id);
            self.count.store(until.len(), Ordering::Release);
        }
    }

    /// Whether no session is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `id` is not held, at most until `deadline`.
    pub(crate) async fn passed(&self, id: SessionId, deadline: Instant) {
        while !self.is_empty() && lock(&self.until).contains_key(&id) && Instant::now() < deadline {
            coverage::reached(Path::ExpiryHoldWaited);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sessions that are held, or were and have not been swept yet.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Holds `id` until `at`, unless the verdict comes before.
    pub(crate) fn set(&self, id: SessionId, at: Moment) {
        let mut until = lock(&self.until);
        until.insert(id, at);
        self.count.store(until.len(), Ordering::Release);
    }

    /// Forgets those whose time is over.
    pub(crate) fn sweep(&self, now: Moment) {
        if !self.is_empty() && !failpoint::planted(Bug::FencesNeverLifted) {
            let mut until = lock(&self.until);
            until.retain(|_, at| now < *at);
            self.count.store(until.len(), Ordering::Release);
        }
    }
}
