//! What simulations look at on a node, beyond what applications may.

use std::sync::atomic::Ordering;

use sessionmesh_core::id::{SessionId, Slot, key_short_hashes};
use sessionmesh_core::session::{Status, ValueBytes};

use crate::lock::lock;
use crate::mesh::Mesh;
use crate::record_store::base::keyed;

/// What a node keeps, and has under way: what of [`Stats`](crate::Stats) is known without a look at every slot, for who looks often.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Sessions.
    pub sessions: usize,
    /// Sessions that have ended.
    pub ended: usize,
    /// Sessions that are fenced by a vote.
    pub expiry_holds: usize,
    /// Sessions to send.
    pub outbox: usize,
    /// Batches that are not answered.
    pub in_flight: usize,
    /// Commits that wait.
    pub waiting_commits: usize,
    /// Renewals that are followed.
    pub renewals_in_progress: usize,
}

/// Draws what a process draws once, so that no run draws it from the randomness of its thread, and then differs from the same run
/// later.
pub fn draw_keys_of_the_process() {
    key_short_hashes(1);
    let _ = keyed();
}

/// What a node holds of one attribute of a session, whoever may be asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeHeld {
    /// It holds nothing of the session.
    NoSession,
    /// The session has ended there, for good or by idleness.
    Ended,
    /// The attribute is this, or it is not there.
    Is(Option<ValueBytes>),
}

impl Mesh {
    /// What this node keeps, and has under way.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let (node, topology) = (&self.node, self.node.topology());
        let mut kept = Kept {
            sessions: node.store.live(),
            ended: node.store.ended(),
            expiry_holds: node.replication.expiry_holds.len(),
            outbox: 0,
            in_flight: 0,
            waiting_commits: lock(&node.replication.acks).len(),
            renewals_in_progress: node.replication.renewals_followed.load(Ordering::Relaxed),
        };
        for peer in topology.peers() {
            let outbox = lock(&peer.outbox);
            kept.outbox += outbox.len();
            kept.in_flight += outbox.batches_under_way();
        }
        kept
    }

    /// How many sessions this node holds, ended ones included, that it does not own.
    #[must_use]
    pub fn held_for_others(&self) -> usize {
        let topology = self.node.topology();
        let held = |slot| {
            let held = self.node.store.held_of(slot);
            held.live + held.ended
        };
        Slot::all().filter(|slot| !topology.is_owner(*slot)).map(held).sum()
    }

    /// What this node holds of an attribute now.
    #[must_use]
    pub fn attribute_held(&self, id: SessionId, key: &str) -> AttributeHeld {
        self.node.store.read(id, |held| match held.map(|entry| entry.record()) {
            None => AttributeHeld::NoSession,
            Some(record) if record.status() == Status::Live => AttributeHeld::Is(record.session.get(key).cloned()),
            Some(_) => AttributeHeld::Ended,
        })
    }
}
