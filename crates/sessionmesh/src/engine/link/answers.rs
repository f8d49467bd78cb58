//! What became of the items of a batch.

use std::sync::atomic::Ordering;

use sessionmesh_core::acks::Holds;
use sessionmesh_core::id::Slot;
use sessionmesh_core::message::{Answer, Answers, Verdict};
use sessionmesh_core::outbox::{Item, Lane, Sent};
use sessionmesh_core::probe::{self, Bug, Path};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::view::ViewHash;

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
    let batch = {
        let mut outbox = lock(&peer.outbox);
        let Some(batch) = outbox.answered(answers.seq) else {
            return;
        };
        for (sent, verdict) in with_verdicts(&batch, answers) {
            let waits = || matches!(sent.item, Item::Session(id) if lock(&node.replication.acks).waits_for(id));
            match verdict {
                // The peer keeps it, but under another view, and a commit waits: ask again when the views agree.
                Verdict::Kept if view != topology.hash() && waits() => {
                    probe::reached(Path::KeptUnderOtherView);
                    outbox.park(sent.item);
                }
                Verdict::Passing if is_owner(&topology, peer, sent.item.slot()) => outbox.park(sent.item),
                Verdict::Kept | Verdict::Passing => {}
                Verdict::NeedsWhole => {
                    node.telemetry.counters.mismatches.fetch_add(1, Ordering::Relaxed);
                    outbox.mark(sent.item, Stamp::ZERO, sent.lane.min(Lane::Usual), sent.owed);
                }
            }
        }
        batch
    };
    lock(&peer.liveness).progressed(node.now());
    peer.wake.notify_one();
    for (sent, verdict) in with_verdicts(&batch, answers) {
        let holds = match verdict {
            Verdict::Kept => Holds::Kept(view),
            Verdict::Passing => Holds::Passing,
            Verdict::NeedsWhole => continue,
        };
        if let Item::Session(id) = sent.item {
            replication::acknowledge(node, id, peer.node, sent.counter, holds);
        }
        if holds == Holds::Passing {
            node.telemetry.counters.passing.fetch_add(1, Ordering::Relaxed);
        } else if !topology.is_owner(sent.item.slot()) {
            replication::confirm_handoff(node, sent, peer.node);
            replication::drop_if_handed_off(node, sent.item);
            // It was used meanwhile: what the owners keep is not all there is now.
            if node.store.version(sent.item).is_some_and(|version| version != sent.version) {
                probe::reached(Path::UsedWhileLettingGo);
                replication::forward_to_owners(node, sent.item, Stamp::PROBE, Lane::Bulk);
            }
        }
    }
    if lock(&peer.outbox).is_clear() {
        node.lifecycle.changed.notify_waiters();
    }
}

/// What became of each item of a batch. An answer that is missing or makes no sense counts as a need.
fn with_verdicts<'a>(batch: &'a [Sent], answers: &'a Answers) -> impl Iterator<Item = (&'a Sent, Verdict)> {
    let verdict = |code: u8| match Answer::from_code(code).map_or(Verdict::NeedsWhole, |answer| answer.verdict) {
        Verdict::NeedsWhole if probe::planted(Bug::NeedsWholeForgotten) => Verdict::Kept,
        verdict => verdict,
    };
    let codes = answers.codes.iter().copied().chain(std::iter::repeat(u8::MAX));
    batch.iter().zip(codes.map(verdict))
}

fn is_owner(topology: &Topology, peer: &Peer, slot: Slot) -> bool {
    topology.owners(slot).any(|owner| owner.node == peer.node)
}
