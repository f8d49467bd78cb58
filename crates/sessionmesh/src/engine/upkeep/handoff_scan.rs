//! After a change of the view: who must be sent what this node holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use sessionmesh_core::id::{NodeHash, SessionId};
use sessionmesh_core::placement::handoff::{Handoff, Plan};
use sessionmesh_core::replication::outbox::Lane;
use sessionmesh_core::stamp::Stamp;
use tracing::debug;

use crate::engine::replication;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::store::Store;
use crate::engine::state::topology::Topology;
use crate::lock::lock;

/// Scans the store, stripe by stripe, and marks what other owners may lack.
pub(crate) async fn scan(node: Arc<Node>, before: Arc<Topology>, after: Arc<Topology>, known: BTreeSet<NodeHash>) {
    let handoff = Handoff::new(&before, &after, &known);
    let mut marked = 0_usize;
    for stripe in Store::stripes() {
        let with_peers =
            |plan: Plan| plan.into_iter().filter_map(|(node, from)| Some((after.peer(node)?, from))).collect();
        let plan_of = |slot| with_peers(handoff.plan(slot));
        let plans: Vec<Vec<(&Arc<Peer>, Stamp)>> = Store::slots_of(stripe).map(plan_of).collect();
        let plan = |id: SessionId| &plans[Store::place_in_stripe(id.slot())];
        let found = node.store.scan(stripe, |id, _| (!plan(id).is_empty()).then_some(()));
        marked += found.len();
        let now = node.now();
        for (id, ()) in found {
            for (peer, from) in plan(id) {
                peer.mark(id, *from, Lane::Bulk, true, now);
            }
        }
        let slots = Store::slots_of(stripe).zip(&plans);
        for (slot, plan) in slots.filter(|(slot, _)| node.store.tombstones.sum(*slot).0 > 0) {
            plan.iter().for_each(|(peer, from)| peer.mark(slot, *from, Lane::Bulk, true, now));
        }
        tokio::task::yield_now().await;
    }
    debug!(epoch = after.epoch, marked, "scanned the store");
    node.replication.scanned.raise(after.epoch);
    node.lifecycle.changed.notify_waiters();
}

/// Items that are looked at before others get their turn.
const LOOKED_AT_ONCE: usize = 256;

/// Owners are ready that were joining: what they keep need not be held here any more.
pub(crate) async fn release_confirmed(node: Arc<Node>) {
    let kept = lock(&node.replication.confirmations).items();
    for items in kept.chunks(LOOKED_AT_ONCE) {
        for item in items {
            replication::drop_if_handed_off(&node, *item);
        }
        tokio::task::yield_now().await;
    }
}
