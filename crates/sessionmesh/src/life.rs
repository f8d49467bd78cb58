//! Whether a node lives: from its start until it is told to stop, or until a part of it fails.
//!
//! A node without one of its tasks would be half alive: it would be believed, and could not be relied on. So all tasks of a
//! node start here, and one that panics, or ends though it should not, ends the node: it takes no more part, refuses
//! commits, and is gone for the others as after a crash.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::error::Failure;
use crate::task;

/// The life of one node. Clones are the same life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stop: CancellationToken,
    failure: OnceLock<Failure>,
}

impl Life {
    /// Cancelled when the node stops, for whatever reason.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Why the node stopped by itself, if it did.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.0.failure.get()
    }

    /// Starts a task that the node cannot be without: it must go on until the node stops.
    pub(crate) fn spawn_core<F>(&self, task: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_watched(task, future, true)
    }

    /// Starts a task that may end, but must not panic.
    pub(crate) fn spawn<F>(&self, task: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_watched(task, future, false)
    }

    fn spawn_watched<F>(&self, task: &'static str, future: F, core: bool) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let life = self.clone();
        task::spawn(async move {
            // After a panic nothing of the future is used again, and what it shared with others is not used by this node.
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            match ended {
                Err(panic) => life.fail(Failure::Task { task, how: format!("panicked: {}", said(&*panic)) }),
                Ok(()) if core => life.fail(Failure::Task { task, how: "ended".to_owned() }),
                Ok(()) => {}
            }
        })
    }

    /// Stops the node because of a failure. Only the first one counts, and none of a node that has stopped.
    pub(crate) fn fail(&self, failure: Failure) {
        if self.0.stop.is_cancelled() || self.0.failure.set(failure).is_err() {
            return;
        }
        self.0.stop.cancel();
        // What the application logs with may be what has panicked.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if let Some(failure) = self.failure() {
                error!(%failure, "the node has stopped");
            }
        }));
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_core_task_that_ends_or_panics_ends_the_node_and_the_first_failure_is_told() {
        let life = Life::default();
        life.spawn_core("pulse", async {}).await.expect("the panic is caught");
        assert!(life.stop().is_cancelled());
        let life = Life::default();
        life.spawn_core("views", async { panic!("no {}", "room") }).await.expect("the panic is caught");
        life.spawn_core("pulse", async { panic!("too late") }).await.expect("the panic is caught");
        assert!(life.stop().is_cancelled());
        let told = life.failure().expect("it failed").to_string();
        assert!(told.starts_with("the task `views` of this node panicked: no room; "), "{told}");
    }

    #[tokio::test]
    async fn what_ends_with_the_node_or_is_aborted_is_no_failure() {
        let life = Life::default();
        life.spawn("walk", async {}).await.expect("it ends");
        assert!(!life.stop().is_cancelled());
        let aborted = life.spawn_core("names", pending());
        aborted.abort();
        assert!(aborted.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(life.failure(), None);
        let stop = life.stop().clone();
        let ending = life.spawn_core("audit", async move { stop.cancelled().await });
        life.stop().cancel();
        ending.await.expect("it ends");
        assert_eq!(life.failure(), None);
    }

    #[tokio::test]
    async fn a_task_that_may_end_must_not_panic() {
        let life = Life::default();
        life.spawn("walk", async { std::panic::panic_any(7) }).await.expect("the panic is caught");
        assert_eq!(life.failure(), Some(&Failure::Task { task: "walk", how: "panicked: no words".to_owned() }));
    }
}
