//! What is learned about members outside of gossip, on its way to the task that computes views.

use sessionmesh_core::membership::evidence::Evidence;
use tokio::sync::mpsc;

/// Reports that may wait to be looked at.
const WAITING_MAX: usize = 256;

/// Where reports go in.
#[derive(Clone, Debug)]
pub(crate) struct Reports(mpsc::Sender<Evidence>);

/// A queue of reports, which holds few: what others say must not take memory for as long as they say it.
pub(crate) fn reports() -> (Reports, mpsc::Receiver<Evidence>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Reports(sender), receiver)
}

impl Reports {
    /// Reports what this node found out. Waits for room.
    pub(crate) async fn found(&self, evidence: Evidence) {
        // Nobody listens once the node stops.
        let _ = self.0.send(evidence).await;
    }

    /// Reports what somebody said over a connection of his own. Lost if there is no room, as a datagram would be: gossip
    /// says the same.
    pub(crate) fn said(&self, evidence: Evidence) {
        let _ = self.0.try_send(evidence);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use sessionmesh_core::id::NodeHash;

    use super::*;

    #[tokio::test]
    async fn what_others_say_fills_no_memory_and_takes_no_turn_from_what_was_found() {
        let (reports, mut receiver) = reports();
        for stranger in 0..100_000 {
            reports.said(Evidence::Left(NodeHash(stranger)));
        }
        let mut found = pin!(reports.found(Evidence::LeavingMyself));
        assert!(poll_fn(|context| Poll::Ready(found.as_mut().poll(context).is_pending())).await, "there is no room");
        receiver.recv().await;
        // Whoever waits comes before those who try.
        reports.said(Evidence::Left(NodeHash(1)));
        found.await;
        let mut waiting = Vec::new();
        while let Ok(evidence) = receiver.try_recv() {
            waiting.push(evidence);
        }
        assert_eq!((waiting.len(), waiting.last()), (WAITING_MAX, Some(&Evidence::LeavingMyself)));
    }
}
