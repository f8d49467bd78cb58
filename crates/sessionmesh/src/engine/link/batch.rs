//! What goes out in one message: items that are dirty, encoded as they are now.

use std::sync::atomic::Ordering;

use sessionmesh_core::entry::Entry;
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::replication::acks::Holds;
use sessionmesh_core::replication::delta::{Delta, SlotTombstones, WireEnd};
use sessionmesh_core::replication::outbox::{Item, Lane, Outbox, Sent, Version};
use sessionmesh_core::session::Record;
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::message::{Batch, Message};
use sessionmesh_core::wire::{self, codec};

use crate::engine::replication;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::lock::lock;

/// A batch is closed when it has about so many bytes.
const BATCH_BYTES: usize = 64 << 10;
/// A batch is closed when it has so many sessions.
const BATCH_SESSIONS_MAX: usize = 2048;
/// So many batches may wait for their answers.
const BATCHES_UNDER_WAY_MAX: usize = 4;

/// Takes what is dirty and encodes it from the store as it is now.
pub(super) fn next(node: &Node, peer: &Peer, link: wire::version::Version, now: Moment) -> Option<Vec<u8>> {
    let mut taken = Taken::default();
    let seq = {
        let mut outbox = lock(&peer.outbox);
        if outbox.batches_under_way() >= BATCHES_UNDER_WAY_MAX {
            return None;
        }
        taken.fill(node, &mut outbox, now);
        let sent = taken.sent();
        if sent.is_empty() { None } else { Some(outbox.departed(sent)) }
    };
    for id in &taken.gone {
        // Nothing is let go before all its owners keep all of it, so whoever waits for this peer has its answer.
        replication::acknowledge(node, *id, peer.node, u64::MAX, Holds::Kept(node.cluster.topology.load().hash()));
    }
    let seq = seq?;
    let deltas = taken.sessions.iter().map(|(id, record, sent)| Delta::since(*id, record, sent.from, now)).collect();
    let tombstones: Vec<_> = std::mem::take(&mut taken.slots).into_iter().map(|(of_slot, _)| of_slot).collect();
    let items = taken.sessions.len() + tombstones.len();
    node.telemetry.counters.deltas_sent.fetch_add(items as u64, Ordering::Relaxed);
    let message = Message::Batch(Batch { seq, counter: node.replication.lamport.now(), deltas, tombstones });
    match codec::encode(&message, link) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            // The limits of a configuration keep a session far below the largest message; but what several nodes wrote to
            // it at the same time adds up.
            tracing::error!(%error, items, "sessions are too large to send; they have no copies");
            lock(&peer.outbox).complete_batch(seq);
            None
        }
    }
}

/// What was taken from an outbox for one batch.
#[derive(Default)]
struct Taken {
    sessions: Vec<(SessionId, Record, Sent)>,
    slots: Vec<(SlotTombstones, Sent)>,
    /// Sessions that were dirty and are not held any more.
    gone: Vec<SessionId>,
    bytes: usize,
}

/// About how many bytes a tombstone takes on the wire.
const TOMBSTONE_BYTES: usize = 64;

impl Taken {
    /// Moves marks from the outbox until it is enough for a batch.
    fn fill(&mut self, node: &Node, outbox: &mut Outbox, now: Moment) {
        let epoch = node.cluster.topology.load().epoch;
        while self.bytes < BATCH_BYTES && self.sessions.len() + self.slots.len() < BATCH_SESSIONS_MAX {
            let Some((item, from, lane, owed)) = outbox.take() else { return };
            let sent = |version, counter| Sent { item, from, lane, counter, version, owed, epoch };
            let took = match item {
                Item::Session(id) => self.session(node, id, sent),
                Item::Tombstones(_) if failpoint::planted(Bug::TombstonesLeftBehind) && lane == Lane::Bulk => false,
                Item::Tombstones(slot) => self.slot(node, slot, sent, from == Stamp::DIGEST_ONLY, now),
            };
            if !took {
                outbox.write_off(owed);
            }
        }
    }

    fn session(&mut self, node: &Node, id: SessionId, sent: impl FnOnce(Version, u64) -> Sent) -> bool {
        let read = |held: Option<&Entry>| {
            held.map(|entry| (entry.record().clone(), entry.version(), node.replication.lamport.now()))
        };
        let Some((record, version, counter)) = node.store.read(id, read) else {
            self.gone.push(id);
            return false;
        };
        let sent = sent(version, counter);
        self.bytes += record.session.wire_bytes_since(sent.from);
        self.sessions.push((id, record, sent));
        true
    }

    fn slot(
        &mut self,
        node: &Node,
        slot: Slot,
        sent: impl FnOnce(Version, u64) -> Sent,
        asks_only: bool,
        now: Moment,
    ) -> bool {
        let (digest, ended) = node.store.tombstones.of_slot(slot);
        if ended.is_empty() {
            return false;
        }
        let ended = match asks_only {
            true => Vec::new(),
            false => ended.iter().map(|(id, end)| (*id, WireEnd::of(end, now))).collect(),
        };
        self.bytes += TOMBSTONE_BYTES * (1 + ended.len());
        let of_slot = SlotTombstones { slot: slot.number().into(), digest, ended };
        self.slots.push((of_slot, sent((digest, Moment::START), node.replication.lamport.now())));
        true
    }

    /// What is in the batch, in the order of the answers.
    fn sent(&self) -> Vec<Sent> {
        let sessions = self.sessions.iter().map(|(_, _, sent)| *sent);
        sessions.chain(self.slots.iter().map(|(_, sent)| *sent)).collect()
    }
}
