//! Where all tasks of a node start.
//!
//! In a build for the simulations a task can be frozen from outside, as a process is by SIGSTOP: all futures under one
//! [`Gate`] stand still while it is shut, whatever happens around them. In every other build [`spawn`] is tokio's.

#[cfg(not(sessionmesh_simulation))]
pub(crate) use tokio::spawn;

#[cfg(sessionmesh_simulation)]
pub(crate) use self::gate::spawn;
#[cfg(sessionmesh_simulation)]
pub use self::gate::{Gate, Gated};

#[cfg(sessionmesh_simulation)]
mod gate {
    use std::cell::RefCell;
    use std::fmt;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll, Waker};

    use tokio::task::JoinHandle;

    use crate::lock::lock;

    thread_local! {
        /// The gate of the future that is being polled.
        static CURRENT: RefCell<Option<Gate>> = const { RefCell::new(None) };
    }

    /// Starts a task, under the gate of the task that starts it.
    pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match Gate::current() {
            Some(gate) => tokio::spawn(gate.guard(future)),
            None => tokio::spawn(future),
        }
    }

    /// What holds the futures of one node. Clones are the same gate.
    #[derive(Clone, Default)]
    pub struct Gate(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        shut: bool,
        /// Who wanted to go on while it was shut, in the order in which they came.
        waiting: Vec<Waker>,
    }

    impl Gate {
        /// A gate that is open.
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }

        /// The gate of the future that is being polled, if it has one.
        #[must_use]
        pub fn current() -> Option<Self> {
            CURRENT.with_borrow(Clone::clone)
        }

        /// From now on nothing under this gate goes on.
        pub fn shut(&self) {
            lock(&self.0).shut = true;
        }

        /// Everything goes on, in the order in which it came to the gate.
        pub fn open(&self) {
            let waiting = {
                let mut state = lock(&self.0);
                state.shut = false;
                std::mem::take(&mut state.waiting)
            };
            waiting.into_iter().for_each(Waker::wake);
        }

        /// Whether it is shut.
        #[must_use]
        pub fn is_shut(&self) -> bool {
            lock(&self.0).shut
        }

        /// Waits until it is open.
        pub async fn pass(&self) {
            poll_fn(|cx| self.poll_pass(cx)).await;
        }

        /// Puts `future`, and all tasks that it starts, under this gate.
        pub fn guard<F: Future>(&self, future: F) -> Gated<F> {
            Gated { gate: self.clone(), inner: Box::pin(future) }
        }

        fn poll_pass(&self, cx: &Context<'_>) -> Poll<()> {
            let mut state = lock(&self.0);
            if !state.shut {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        }
    }

    impl fmt::Debug for Gate {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Gate").field("shut", &self.is_shut()).finish_non_exhaustive()
        }
    }

    /// A future under a [`Gate`].
    pub struct Gated<F> {
        gate: Gate,
        inner: Pin<Box<F>>,
    }

    impl<F: Future> Future for Gated<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            if self.gate.poll_pass(cx).is_pending() {
                return Poll::Pending;
            }
            let _within = Within::enter(&self.gate);
            self.inner.as_mut().poll(cx)
        }
    }

    impl<F> fmt::Debug for Gated<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Gated").field("gate", &self.gate).finish_non_exhaustive()
        }
    }

    /// While it lives, its gate is the current one. A panic puts the earlier one back, too.
    struct Within(Option<Gate>);

    impl Within {
        fn enter(gate: &Gate) -> Self {
            Self(CURRENT.replace(Some(gate.clone())))
        }
    }

    impl Drop for Within {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }

    #[cfg(test)]
    mod tests {
        use std::time::Duration;

        use tokio::task::yield_now;
        use tokio::time::{Instant, sleep, timeout};

        use super::*;

        const SOON: Duration = Duration::from_millis(10);

        #[tokio::test(start_paused = true)]
        async fn a_task_and_what_it_starts_stand_still_while_the_gate_is_shut() {
            let gate = Gate::new();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let (note, inner) = (seen.clone(), seen.clone());
            let task = spawn(gate.guard(async move {
                let child = spawn(async move {
                    sleep(SOON).await;
                    lock(&inner).push("child");
                });
                sleep(SOON).await;
                lock(&note).push("parent");
                child.await.expect("it does not panic");
            }));
            yield_now().await;
            gate.shut();
            sleep(SOON * 10).await;
            assert!(gate.is_shut() && lock(&seen).is_empty());
            gate.open();
            task.await.expect("it does not panic");
            assert_eq!(lock(&seen).len(), 2);
        }

        #[tokio::test(start_paused = true)]
        async fn whoever_came_first_goes_on_first_and_is_noted_once() {
            let gate = Gate::new();
            gate.shut();
            let order = Arc::new(Mutex::new(Vec::new()));
            let tasks: Vec<_> = (0..10)
                .map(|number| {
                    let order = order.clone();
                    spawn(gate.guard(async move { lock(&order).push(number) }))
                })
                .collect();
            yield_now().await;
            // Woken in vain, again and again: that must not add up.
            let mut waiting = Box::pin(gate.pass());
            for _ in 0..5 {
                assert!(timeout(SOON, &mut waiting).await.is_err());
            }
            assert_eq!(lock(&gate.0).waiting.len(), 11);
            gate.open();
            for task in tasks {
                task.await.expect("it does not panic");
            }
            waiting.await;
            assert_eq!(*lock(&order), (0..10).collect::<Vec<_>>());
        }

        #[tokio::test(start_paused = true)]
        async fn time_passes_at_a_shut_gate() {
            let gate = Gate::new();
            let start = Instant::now();
            let slept = spawn(gate.guard(async move {
                sleep(SOON).await;
                start.elapsed()
            }));
            yield_now().await;
            gate.shut();
            sleep(SOON * 50).await;
            gate.open();
            assert!(slept.await.expect("it does not panic") >= SOON * 50);
        }

        #[tokio::test]
        async fn the_current_gate_ends_with_the_poll() {
            let gate = Gate::new();
            assert!(Gate::current().is_none());
            assert!(gate.guard(async { Gate::current().is_some() }).await);
            assert!(Gate::current().is_none());
        }
    }
}
