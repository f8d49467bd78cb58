//! Leaving: saying so, handing over all that is held, and stopping.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::membership::evidence::Evidence;
use sessionmesh_core::placement::drain::{self, Drain};
use sessionmesh_core::wire::message::Message;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::engine::state::node::Node;
use crate::error::LeaveError;
use crate::event::Event;
use crate::lock::lock;
use crate::membership::{GossipState, Membership};
use crate::spans;

/// What happened to the sessions of a node that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leave {
    /// Sessions that ended with the node because no other node could take them: it was the last one, or the others
    /// hang. A node that hangs may still have copies of them. Otherwise 0: the other nodes hold all sessions.
    pub ended: usize,
}

/// How long a last word to the peers may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// Hands over within `deadline`, and stops in any case.
pub(crate) async fn run(node: &Arc<Node>, membership: &Membership, deadline: Duration) -> Result<Leave, LeaveError> {
    spans::within(spans::leave(&node.config.name), leave(node, membership, deadline)).await
}

async fn leave(node: &Arc<Node>, membership: &Membership, deadline: Duration) -> Result<Leave, LeaveError> {
    let start = Instant::now();
    let until = start + deadline;
    node.cluster.reports.found(Evidence::LeavingMyself).await;
    membership.set_state(GossipState::Leaving).await;
    node.emit(Event::Leaving { sessions: node.store.live() });
    let handing_over = async {
        handed_over(node).await;
        // No commit comes after the last look; those that came before it are handed over, too.
        node.lifecycle.closed.store(true, Ordering::SeqCst);
        node.store.pass_through();
        handed_over(node).await;
    };
    let handing_over = async {
        tokio::select! {
            biased;
            () = handing_over => true,
            // It failed, so nobody hands anything over any more.
            () = node.lifecycle.stop.cancelled() => false,
        }
    };
    let handed_over = timeout_at(until, handing_over).await.unwrap_or(false);
    if handed_over {
        node.telemetry.latencies.handover.record(start.elapsed());
    }
    let ended = if handed_over { node.store.live() } else { 0 };
    if ended > 0 {
        node.emit(Event::SessionsLost { sessions: ended });
    }
    node.lifecycle.closed.store(true, Ordering::SeqCst);
    say_goodbye(node, membership).await;
    let remaining = if handed_over { 0 } else { node.store.live() + node.store.ended() };
    node.lifecycle.stop.cancel();
    membership.stop();
    coverage::reached_if(Path::LeaveTimedOut, || remaining > 0);
    if remaining > 0 { Err(LeaveError { remaining, waited: start.elapsed() }) } else { Ok(Leave { ended }) }
}

async fn say_goodbye(node: &Node, membership: &Membership) {
    let topology = node.topology();
    for peer in topology.peers() {
        peer.send(&Message::Bye);
    }
    membership.set_state(GossipState::Left).await;
    // The links take it at once, unless they are down.
    let sent = async {
        while topology.peers().any(|peer| peer.is_connected() && peer.has_control()) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = timeout(GOODBYE, sent).await;
}

/// Waits until this node may stop.
async fn handed_over(node: &Node) {
    loop {
        let topology = node.topology();
        let drain = Drain {
            scanned: node.replication.scanned.get() == topology.epoch,
            waiting_commits: lock(&node.replication.acks).len(),
            held: if failpoint::planted(Bug::LeaveWithoutWaiting) { 0 } else { node.store.live() + node.store.ended() },
        };
        if drain::is_done(&topology, drain) {
            coverage::reached_if(Path::AllLeave, || topology.peers().next().is_some());
            return;
        }
        let _ = timeout(Duration::from_millis(20), node.lifecycle.changed.notified()).await;
    }
}
