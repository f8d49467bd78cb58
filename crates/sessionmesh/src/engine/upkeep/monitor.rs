//! The regular tick of a node: who makes no progress, and was it this node that did not run?

use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::id::SessionId;
use sessionmesh_core::liveness::stall::Tick;
use sessionmesh_core::moment::{Moment, millis};
use sessionmesh_core::replication::outbox::Lane;
use sessionmesh_core::replication::targets::Targets;
use sessionmesh_core::stamp::Stamp;

use crate::engine::replication;
use crate::engine::state::lateness::Turn;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::topology::Topology;
use crate::event::Event;
use crate::lock::lock;

/// Ticks until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let period = Duration::from_millis(node.timing.tick_ms());
    let (mut ticks, mut slow_ticks) = (node.ticks(period), node.ticks(period * 2));
    loop {
        // While nobody owes an answer there is nobody to suspect.
        let ticks = if is_idle(&node) { &mut slow_ticks } else { &mut ticks };
        tokio::select! {
            biased;
            () = node.lifecycle.stop.cancelled() => return,
            _ = ticks.tick() => tick(&node, ticks.period()),
        }
    }
}

fn is_idle(node: &Node) -> bool {
    node.cluster.topology.load().peers().all(|peer| lock(&peer.outbox).is_clear())
}

fn tick(node: &Arc<Node>, period: Duration) {
    let now = node.now();
    let stall = **node.cluster.stall.load();
    let tick = stall.tick(&node.timing, now);
    let topology = node.cluster.topology.load();
    // Before the first tick there was nothing to be late for.
    if stall.has_ticked() {
        note_lateness(node, stall.asleep_ms(now).saturating_sub(millis(period)), now);
    }
    let all_confirmed = || topology.peers().all(|peer| !lock(&peer.liveness).is_doubted());
    let stall = stall.noticed(&node.timing, now, all_confirmed);
    node.cluster.stall.store(Arc::new(stall));
    for peer in topology.peers() {
        if owes_a_sign(node, &topology, peer, tick, now) {
            suspect(node, peer);
        }
        if peer.newly_left_out(now) {
            left_out(node, peer);
        }
        node.mark_caught_up(&topology, peer);
    }
    if topology.is_replacing() {
        // A lease may have run out, or a view been reported.
        replication::review_acks(node);
    }
    node.cluster.stall.store(Arc::new(stall.ticked(now)));
}

/// Tells the peer's liveness how this node itself ran, and says whether the peer is to be suspected.
fn owes_a_sign(node: &Node, topology: &Topology, peer: &Peer, tick: Tick, now: Moment) -> bool {
    let clear = lock(&peer.outbox).is_clear();
    let (connected, ready) = (peer.is_connected(), topology.is_ready(&peer.member.name));
    let mut liveness = lock(&peer.liveness);
    liveness.ticked(tick, &node.timing, now);
    let unreachable = tick == Tick::InTime && liveness.is_unreachable(connected, ready, &node.timing, now);
    unreachable || liveness.is_overdue(clear, &node.timing, now)
}

/// Notes how late a tick came, and tells the operator when the host begins and ceases to be too busy.
fn note_lateness(node: &Node, late_ms: u64, now: Moment) {
    // A long stall is one event, not a busy host.
    match node.cluster.lateness.note(late_ms.min(node.timing.stall_ms()), node.timing.withhold_ms, now) {
        Some(Turn::Busy { late_ms }) => node.emit(Event::HostBusy { late_ms }),
        Some(Turn::Calm { late_ms }) => node.emit(Event::HostCalm { late_ms }),
        None => {}
    }
}

/// Stops waiting for a peer that makes no progress.
pub(crate) fn suspect(node: &Node, peer: &Peer) {
    node.emit(Event::MemberSuspected { name: peer.member.name.clone() });
    peer.suspect(&node.timing, node.now());
}

/// The last lease of a suspected peer has run out: the next-ranked members stand in for it in all commits that wait.
fn left_out(node: &Node, peer: &Peer) {
    coverage::reached(Path::OwnerLeftOut);
    node.emit(Event::MemberLeftOut { name: peer.member.name.clone() });
    let waiting = lock(&node.replication.acks).sessions();
    for id in waiting {
        let targets = replication::targets(node, id.slot());
        mark_stand_ins(node, id, &targets);
    }
    replication::review_acks(node);
}

/// Sends a session that is waited for to the members that stand in for an owner.
fn mark_stand_ins(node: &Node, id: SessionId, targets: &Targets) {
    let topology = node.cluster.topology.load();
    let now = node.now();
    for stand_in in targets.stand_ins.iter().filter_map(|stand_in| topology.peer(*stand_in)) {
        stand_in.mark(id, Stamp::ZERO, Lane::Awaited, false, now);
    }
}
