//! The regular beat of a node: who makes no progress, and was it this node that did not run?

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::acks::Targets;
use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::{Moment, millis};
use sessionmesh_core::outbox::Lane;
use sessionmesh_core::probe::{self, Path};
use sessionmesh_core::stamp::Stamp;
use tracing::{info, warn};

use super::lateness::Turn;
use super::node::Node;
use super::peer::Peer;
use super::topology::Topology;
use crate::lock::lock;

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
            _ = beats.tick() => beat(&node, beats.period()),
        }
    }
}

fn is_idle(node: &Node) -> bool {
    node.topology.load().peers().all(|peer| lock(&peer.outbox).is_clear())
}

fn beat(node: &Arc<Node>, period: Duration) {
    let now = node.now();
    let gap_ms = node.asleep_ms(now);
    let late = !node.is_awake(now);
    let topology = node.topology.load();
    note_lateness(node, gap_ms.saturating_sub(millis(period)), now);
    note_stall(node, &topology, late, now);
    for peer in topology.peers() {
        if gap_ms >= node.patience.stall_ms() {
            lock(&peer.health).stalled(gap_ms, &node.patience, now);
        } else if late {
            lock(&peer.health).overslept(gap_ms, &node.patience, now);
        }
        let clear = lock(&peer.outbox).is_clear();
        if lock(&peer.health).is_overdue(clear, &node.patience, now)
            || (!late && is_unreachable(node, &topology, peer, now))
        {
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

/// Whether no link can be had to a member that counts on, since gossip hears it: it may have run out of file descriptors.
/// It is suspected before a commit has to wait for it. Newcomers are busy; they are suspected if a commit waits in vain.
fn is_unreachable(node: &Node, topology: &Topology, peer: &Peer, now: Moment) -> bool {
    let health = lock(&peer.health);
    let silent = !health.is_suspected() && health.is_silent(&node.patience, now);
    silent && !peer.is_connected() && topology.is_ready(peer)
}

/// Notes how late a beat came, and tells the operator when the host begins and ceases to be too busy.
fn note_lateness(node: &Node, late_ms: u64, now: Moment) {
    // Before the first beat there was nothing to be late for, and a long stall is one event, not a busy host.
    if node.beat.load(Ordering::Acquire) == Moment::START.as_ms() {
        return;
    }
    match node.lateness.note(late_ms.min(node.patience.stall_ms()), node.patience.withhold_ms, now) {
        Some(Turn::Busy { late_ms }) => warn!(
            late_ms,
            "this host is too busy: what this node has to do waits for a processor for so long. Requests are slow; where \
             that comes near commit_deadline they fail. Give it more processor time, or raise commit_deadline"
        ),
        Some(Turn::Calm { late_ms }) => info!(late_ms, "this host is not too busy any more"),
        None => {}
    }
}

/// Remembers when this node did not run, until nothing depends on it any more.
fn note_stall(node: &Node, topology: &Topology, late: bool, now: Moment) {
    if late {
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
