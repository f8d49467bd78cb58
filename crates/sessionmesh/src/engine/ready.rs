//! From joining to ready: when a node has all that its slots hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::id::Slot;
use sessionmesh_core::view::MemberState;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::node::Node;
use super::peer::{Peer, lock};
use super::topology::Topology;
use super::views::Evidence;
use crate::membership::{HeardState, Membership};

/// Waits until this node is ready, and says so to the cluster and to `ready`.
pub(crate) async fn run(node: Arc<Node>, membership: Arc<Membership>, ready: watch::Sender<bool>) {
    membership.set_state(HeardState::Joining).await;
    let skipped = loop {
        tokio::select! {
            biased;
            () = node.stop.cancelled() => return,
            // A lease runs out without a message, so the wait has an end of its own.
            _ = timeout(Duration::from_millis(20), node.changed.notified()) => {}
        }
        if let Some(skipped) = has_all(&node) {
            break skipped;
        }
    };
    if !skipped.is_empty() {
        warn!(nodes = ?skipped, "ready, but these nodes were silent and could not be asked for what they hold");
    }
    info!(sessions = node.store.live(), "ready");
    node.report(Evidence::Own(MemberState::Ready));
    membership.set_state(HeardState::Ready).await;
    let _ = ready.send(true);
    // The channel lives as long as the node, for those who ask later.
    node.stop.cancelled().await;
}

/// The members that were skipped because they are silent, once all others gave what they had.
fn has_all(node: &Node) -> Option<Vec<String>> {
    let topology = node.topology.load();
    let now = node.now();
    if !node.is_awake(now) || node.walked.load(Ordering::Acquire) != topology.epoch {
        return None;
    }
    let mut skipped = Vec::new();
    for peer in topology.peers() {
        let health = lock(&peer.health);
        if health.is_silent(&node.patience, now) {
            skipped.push(peer.member.name.to_string());
        } else if !health.leases(topology.hash(), now) || (is_co_owner(&topology, peer) && is_due(peer)) {
            return None;
        }
    }
    Some(skipped)
}

fn is_due(peer: &Peer) -> bool {
    peer.audit_due.load(Ordering::Acquire)
}

fn is_co_owner(topology: &Topology, peer: &Peer) -> bool {
    Slot::all().any(|slot| topology.is_owner(slot) && topology.owners(slot).any(|owner| owner.node == peer.node))
}
