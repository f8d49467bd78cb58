//! Merging what a peer sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::entry::Entry;
use sessionmesh_core::expiry::Role;
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::{NodeHash, SessionId, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::replication::delta::{Applied, Content, Delta, SlotTombstones, WireEnd};
use sessionmesh_core::replication::effects::{self, Merged, Snapshot};
use sessionmesh_core::replication::outbox::Lane;
use sessionmesh_core::session::{Invalidated, Record, Status};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Answer, Batch, CopyState, Message};
use sessionmesh_core::wire::version::Version;
use tokio::time::sleep;

use super::end;
use crate::engine::replication;
use crate::engine::state::node::Node;
use crate::engine::state::store::Buried;

/// Merges a batch from `from` and returns the answers.
pub(crate) fn batch(node: &Arc<Node>, from: NodeHash, batch: &Batch<'_>) -> Vec<u8> {
    node.replication.lamport.observe(batch.counter);
    let items = batch.deltas.len() + batch.tombstones.len();
    node.telemetry.counters.deltas_received.fetch_add(items as u64, Ordering::Relaxed);
    let mut answers = if failpoint::planted(Bug::KeptBeforeMerge) {
        merge_later(node, from, batch)
    } else {
        batch.deltas.iter().map(|delta| merge(node, Some(from), delta).code()).collect()
    };
    answers.extend(batch.tombstones.iter().map(|of_slot| merge_slot(node, from, of_slot).code()));
    answers
}

/// Merges the tombstones of a slot. What a node merges without owning it, or from outside the view, it passes on.
fn merge_slot(node: &Arc<Node>, from: NodeHash, told: &SlotTombstones) -> Answer {
    let needs_whole = Answer { verdict: CopyState::NeedsWhole, newer: false };
    let Some(slot) = u16::try_from(told.slot).ok().and_then(Slot::new) else { return needs_whole };
    let (mut changed, mut newer) = (false, false);
    if node.store.tombstones.sum(slot).1 != told.digest {
        if told.ended.is_empty() {
            return needs_whole;
        }
        let mut shared = 0;
        let now = node.now();
        for (id, end) in told.ended.iter().filter(|(id, _)| id.slot() == slot) {
            let end = end.to_end(now);
            changed |= bury(node, from, *id, end, now);
            let is_shared = |mine: Invalidated| mine.digest_of(*id) == end.digest_of(*id);
            shared += usize::from(node.store.tombstones.get(*id).is_some_and(is_shared));
        }
        // Not whether the digests differ: with another bound one of the two never holds all.
        newer = node.store.tombstones.sum(slot).0 > shared;
    }
    // Looked at after all was stored, so that either this or the hand-off scan sees it.
    let topology = node.cluster.topology.load();
    let from_outside = topology.peer(from).is_none();
    let effects = effects::after_tombstones(topology.is_owner(slot), changed, newer, from_outside);
    if effects.forward {
        replication::forward_to_owners(node, slot, Stamp::ZERO, Lane::Usual);
    }
    if effects.send_back
        && let Some(peer) = topology.peer(from)
    {
        coverage::reached(Path::NewerSentBack);
        peer.mark(slot, Stamp::ZERO, Lane::Usual, false, node.now());
    }
    Answer { verdict: effects.copy, newer }
}

/// Merges one of many tombstones. Says whether it is news.
fn bury(node: &Arc<Node>, from: NodeHash, id: SessionId, end: Invalidated, now: Moment) -> bool {
    match node.store.bury(id, end) {
        Buried::Before => false,
        Buried::Now => {
            node.replication.lamport.observe(end.stamp.counter);
            node.replication.expiry_holds.lift(id);
            true
        }
        Buried::Not => {
            merge(node, Some(from), &Delta::since(id, &Record::tombstone(end), Stamp::ZERO, now));
            true
        }
    }
}

/// A mistake: answers as if all that fits were merged, and merges it a little later.
fn merge_later(node: &Arc<Node>, from: NodeHash, batch: &Batch<'_>) -> Vec<u8> {
    let batch = Batch { tombstones: Vec::new(), ..batch.clone() };
    let bytes =
        codec::encode(&Message::Batch(batch.clone()), Version::OLDEST).expect("it was decoded from as many bytes");
    let answer = |delta: &Delta<'_>| {
        let mut copy = node.store.get(delta.id).map(Entry::into_record);
        let verdict = match delta.apply(&mut copy, node.now()) {
            Applied::NeedsWhole => CopyState::NeedsWhole,
            Applied::Merged { .. } if node.cluster.topology.load().is_owner(delta.id.slot()) => CopyState::Kept,
            Applied::Merged { .. } => CopyState::InTransit,
        };
        Answer { verdict, newer: false }.code()
    };
    let answers = batch.deltas.iter().map(answer).collect();
    let (node, life) = (node.clone(), node.lifecycle.life.clone());
    life.spawn("merge", async move {
        sleep(Duration::from_millis(20)).await;
        if let Ok(Message::Batch(batch)) = codec::decode(&bytes, Version::OLDEST) {
            for delta in &batch.deltas {
                merge(&node, Some(from), delta);
            }
        }
    });
    answers
}

/// Merges one delta. What a node merges without owning it, or from outside the view, it passes on.
pub(crate) fn merge(node: &Arc<Node>, from: Option<NodeHash>, delta: &Delta<'_>) -> Answer {
    node.replication.lamport.observe(delta.counter());
    let now = node.now();
    let arrived = node.arrived_at(now);
    let mut overtaken = Vec::new();
    let done = node.store.update(delta.id, |held| {
        let before = Snapshot::of(held.as_ref());
        let was_due = is_due(held.as_ref(), now);
        if let (Content::Tombstone(WireEnd { successor: Some(_), .. }), Some(entry)) = (&delta.content, held.as_ref()) {
            overtaken = entry.record().session.attributes().to_vec();
        }
        // The delta owns the content while it changes it, so that nothing is copied.
        let told = held.as_ref().map_or(Moment::from_ms(0), Entry::told);
        let mut record = held.take().map(Entry::into_record);
        let keys = record.as_ref().map_or(0, |record| record.session.attributes().len());
        let applied = delta.apply_at(&mut record, now, arrived);
        if let Some(record) = record.as_mut().filter(|record| record.session.attributes().len() > keys) {
            node.store.keys.intern(Arc::make_mut(&mut record.session));
        }
        // Whoever sent this tells the other owners of the access that it knows of.
        let known = arrived.minus_ms(delta.age_ms);
        *held = record.map(|record| Entry::merged(record, told, known));
        let after = Snapshot::of(held.as_ref());
        let reprieved = was_due && held.as_ref().is_some_and(|entry| entry.record().is_usable(now));
        (applied, before, after, reprieved)
    });
    let (Applied::Merged { changed, newer }, before, after, reprieved) = done else {
        coverage::reached(Path::NeedsWhole);
        return Answer { verdict: CopyState::NeedsWhole, newer: false };
    };
    coverage::reached_if(Path::LateSaveAbsorbed, || {
        let ended = |snapshot: Snapshot| matches!(snapshot.status, Some(Status::Invalidated { .. }));
        ended(before) && ended(after) && matches!(delta.content, Content::Session { .. })
    });
    coverage::reached_if(Path::ExpiredRevived, || {
        before.status == Some(Status::Expired) && after.status == Some(Status::Live)
    });
    // Looked at after it was stored, so that either this or the audit that follows a change of the view sees it.
    let topology = node.cluster.topology.load();
    let role = topology.role(delta.id.slot());
    let from_outside = from.is_some_and(|from| topology.peer(from).is_none());
    let merged = Merged { delta, before, after, overtaken, changed, newer, reprieved, role, from_outside };
    end::run(node, delta.id, from, effects::after_merge(merged));
    let owner = role != Role::Stranger;
    coverage::reached_if(Path::Passing, || !owner);
    Answer { verdict: if owner { CopyState::Kept } else { CopyState::InTransit }, newer }
}

/// Whether the session lives, but its idle limit has passed.
fn is_due(held: Option<&Entry>, now: Moment) -> bool {
    held.is_some_and(|entry| entry.record().status() == Status::Live && entry.record().is_past_limit(now))
}
