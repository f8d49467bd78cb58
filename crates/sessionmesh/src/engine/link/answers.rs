//! What became of the items of a batch.

use std::sync::atomic::Ordering;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::Slot;
use sessionmesh_core::placement::view::ViewHash;
use sessionmesh_core::replication::acks::Holds;
use sessionmesh_core::replication::outbox::{Item, Lane, Sent};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::message::{Answer, Answers, CopyState};

use crate::engine::replication;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::topology::Topology;
use crate::lock::lock;

/// Every delta of a batch was answered.
pub(super) fn on_answers(node: &Node, peer: &Peer, answers: &Answers) {
    node.replication.lamport.observe(answers.counter);
    let view = ViewHash(answers.view);
    let topology = node.cluster.topology.load();
    let (batch, more) = {
        let mut outbox = lock(&peer.outbox);
        let Some(batch) = outbox.complete_batch(answers.seq) else {
            return;
        };
        for (sent, verdict) in with_verdicts(&batch, answers) {
            let waits = || matches!(sent.item, Item::Session(id) if lock(&node.replication.acks).waits_for(id));
            match verdict {
                // The peer keeps it, but under another view, and a commit waits: ask again when the views agree.
                CopyState::Kept if view != topology.hash() && waits() => {
                    coverage::reached(Path::KeptUnderOtherView);
                    outbox.park(sent.item);
                }
                CopyState::InTransit if is_owner(&topology, peer, sent.item.slot()) => outbox.park(sent.item),
                CopyState::Kept | CopyState::InTransit => {}
                CopyState::NeedsWhole => {
                    node.telemetry.counters.mismatches.fetch_add(1, Ordering::Relaxed);
                    outbox.mark(sent.item, Stamp::ZERO, sent.lane.min(Lane::Usual), sent.owed);
                }
            }
        }
        (batch, outbox.has_marks())
    };
    lock(&peer.liveness).progressed(node.now());
    if more {
        // Only then: a task that wakes itself is run by another thread, which has to be woken for it.
        peer.wake.notify_one();
    }
    for (sent, verdict) in with_verdicts(&batch, answers) {
        let holds = match verdict {
            CopyState::Kept => Holds::Kept(view),
            CopyState::InTransit => Holds::InTransit,
            CopyState::NeedsWhole => continue,
        };
        if let Item::Session(id) = sent.item {
            replication::acknowledge(node, id, peer.node, sent.counter, holds);
        }
        if holds == Holds::InTransit {
            node.telemetry.counters.transit_copies.fetch_add(1, Ordering::Relaxed);
        } else if !topology.is_owner(sent.item.slot()) {
            replication::confirm_handoff(node, sent, peer.node);
            replication::drop_if_handed_off(node, sent.item);
            // It was used meanwhile: what the owners keep is not all there is now.
            if node.store.version(sent.item).is_some_and(|version| version != sent.version) {
                coverage::reached(Path::UsedWhileHandedOff);
                replication::forward_to_owners(node, sent.item, Stamp::DIGEST_ONLY, Lane::Bulk);
            }
        }
    }
    if lock(&peer.outbox).is_clear() {
        node.lifecycle.changed.notify_waiters();
    }
}

/// What became of each item of a batch. An answer that is missing or makes no sense counts as a need.
fn with_verdicts<'a>(batch: &'a [Sent], answers: &'a Answers) -> impl Iterator<Item = (&'a Sent, CopyState)> {
    let verdict = |code: u8| match Answer::from_code(code).map_or(CopyState::NeedsWhole, |answer| answer.verdict) {
        CopyState::NeedsWhole if failpoint::planted(Bug::NeedsWholeForgotten) => CopyState::Kept,
        verdict => verdict,
    };
    let codes = answers.codes.iter().copied().chain(std::iter::repeat(u8::MAX));
    batch.iter().zip(codes.map(verdict))
}

fn is_owner(topology: &Topology, peer: &Peer, slot: Slot) -> bool {
    topology.owners(slot).any(|owner| owner.node == peer.node)
}
