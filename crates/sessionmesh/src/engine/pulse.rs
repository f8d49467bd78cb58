//! The regular beat of a node: who makes no progress, and was it this node that slept?

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::acks::Targets;
use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::outbox::Lane;
use sessionmesh_core::probe::{self, Path};
use sessionmesh_core::stamp::Stamp;
use tracing::{info, warn};

use super::node::Node;
use super::peer::{Peer, lock};
use super::topology::Topology;

/// Beats until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let period = Duration::from_millis(node.patience.beat_ms());
    let (mut beats, mut slow_beats) = (node.ticks(period), node.ticks(period * 2));
    loop {
        // While nobody owes an answer there is nobody to suspect.
        let beats = if is_idle(&node) { &mut slow_beats } else { &mut beats };
        tokio::select! {
            biased;
            () = node.stop.cancelled() => return,
            _ = beats.tick() => beat(&node),
        }
    }
}

fn is_idle(node: &Node) -> bool {
    node.topology.load().peers().all(|peer| lock(&peer.outbox).is_clear())
}

fn beat(node: &Arc<Node>) {
    let now = node.now();
    let stalled = !node.is_awake(now);
    let topology = node.topology.load();
    note_stall(node, &topology, stalled, now);
    for peer in topology.peers() {
        if stalled {
            lock(&peer.health).stalled(&node.patience, now);
            continue;
        }
        let clear = lock(&peer.outbox).is_clear();
        if lock(&peer.health).is_overdue(clear, &node.patience, now) {
            suspect(node, peer);
        }
        if peer.newly_left_out(now) {
            left_out(node, peer);
        }
        node.settle(&topology, peer);
    }
    if topology.is_replacing() {
        // A lease may have run out, or a view been reported.
        node.review_acks();
    }
    node.beat.store(now.as_ms(), Ordering::Release);
}

/// Remembers when this node did not run, until nothing depends on it any more.
fn note_stall(node: &Node, topology: &Topology, stalled: bool, now: Moment) {
    if stalled {
        let before = Moment::from_ms(node.beat.load(Ordering::Acquire));
        // The first beat always comes late.
        if before != Moment::START {
            probe::reached(Path::StallNoticed);
            *lock(&node.stall) = Some((before, now));
        }
        node.recovering.store(true, Ordering::Release);
    } else if node.recovering.load(Ordering::Acquire) {
        let drained = lock(&node.stall).is_none_or(|(_, woken)| now.ms_since(woken) >= node.patience.suspect_ms);
        let counted = topology.peers().all(|peer| !lock(&peer.health).is_doubted());
        node.recovering.store(!(drained && counted), Ordering::Release);
    }
}

/// Stops waiting for a peer that makes no progress.
pub(crate) fn suspect(node: &Node, peer: &Peer) {
    warn!(peer = %peer.member.name, "it does not answer in time; commits stop waiting for it");
    node.counters.suspicions.fetch_add(1, Ordering::Relaxed);
    peer.suspect(&node.patience, node.now());
}

/// The last lease of a suspected peer has run out: the next-ranked members stand in for it in all commits that wait.
fn left_out(node: &Node, peer: &Peer) {
    probe::reached(Path::OwnerLeftOut);
    info!(peer = %peer.member.name, "commits are acknowledged without it");
    let waiting = lock(&node.acks).sessions();
    for id in waiting {
        let targets = node.targets(id.slot());
        mark_stand_ins(node, id, &targets);
    }
    node.review_acks();
}

/// Sends a session that is waited for to the members that stand in for an owner.
pub(crate) fn mark_stand_ins(node: &Node, id: SessionId, targets: &Targets) {
    let topology = node.topology.load();
    let now = node.now();
    for stand_in in targets.stand_ins.iter().filter_map(|stand_in| topology.peer(*stand_in)) {
        stand_in.mark(id, Stamp::ZERO, Lane::Awaited, false, now);
    }
}
