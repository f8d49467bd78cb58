//! After a change of the view: who must be sent what this node holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::outbox::Lane;
use sessionmesh_core::probe::{self, Bug};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::view::NodeHash;
use tracing::debug;

use super::node::Node;
use super::peer::Peer;
use super::store::Store;
use super::topology::Topology;
use crate::lock::lock;

/// Walks the store, stripe by stripe, and marks what other owners may lack.
pub(crate) async fn run(node: Arc<Node>, before: Arc<Topology>, after: Arc<Topology>, known: BTreeSet<NodeHash>) {
    let mut marked = 0_usize;
    for stripe in Store::stripes() {
        let plan_of = |slot| match probe::planted(Bug::NoWalk) {
            true => Plan::new(),
            false => plan(&before, &after, slot, &known),
        };
        let plans: BTreeMap<Slot, Plan> = Store::slots_of(stripe).map(|slot| (slot, plan_of(slot))).collect();
        let concerned = |id: SessionId| !plans[&id.slot()].is_empty();
        let found = node.store.scan(stripe, |id, _| concerned(id).then_some(()));
        marked += found.len();
        let now = node.now();
        for (id, ()) in found {
            for (peer, from) in &plans[&id.slot()] {
                peer.mark(id, *from, Lane::Bulk, true, now);
            }
        }
        for (slot, plan) in plans.iter().filter(|(slot, _)| node.store.ended.sum(**slot).0 > 0) {
            plan.iter().for_each(|(peer, from)| peer.mark(*slot, *from, Lane::Bulk, true, now));
        }
        tokio::task::yield_now().await;
    }
    debug!(epoch = after.epoch, marked, "walked the store");
    node.walked.raise(after.epoch);
    node.changed.notify_waiters();
}

/// Items that are looked at before others get their turn.
const LOOKED_AT_ONCE: usize = 256;

/// Owners are ready that were joining: what they keep need not be held here any more.
pub(crate) async fn let_go_of_what_is_kept(node: Arc<Node>) {
    let kept = lock(&node.keeping).items();
    for items in kept.chunks(LOOKED_AT_ONCE) {
        for item in items {
            node.let_go(*item);
        }
        tokio::task::yield_now().await;
    }
}

type Plan = Vec<(Arc<Peer>, Stamp)>;

/// To whom the sessions of `slot` go, and whether whole or as a question.
///
/// A node that is no owner (any more) sends to all owners, since it will let go. Among the owners one sends to those
/// that are new: nobody if a displaced owner does it, else the first that was an owner before. The others rely on the
/// audit that follows every change of the view.
fn plan(before: &Topology, after: &Topology, slot: Slot, known: &BTreeSet<NodeHash>) -> Plan {
    let old: BTreeSet<NodeHash> = before.owner_nodes(slot).into_iter().collect();
    let whole_or_probe = |node: NodeHash| {
        if known.contains(&node) { Stamp::PROBE } else { Stamp::ZERO }
    };
    let is_new = |peer: &Peer| !old.contains(&peer.node);
    let is_joining = |peer: &Peer| after.view.index_of(&peer.member.name).is_some_and(|at| after.is_joining(at));
    if !after.is_owner(slot) {
        let from = |peer: &Peer| {
            if is_new(peer) { whole_or_probe(peer.node) } else { Stamp::PROBE }
        };
        return after.owners(slot).map(|peer| (peer.clone(), from(peer))).collect();
    }
    let me = after.view.members()[usize::from(after.me)].node();
    if !old.contains(&me) {
        return after.owners(slot).map(|peer| (peer.clone(), Stamp::PROBE)).collect();
    }
    let new = after.owner_nodes(slot);
    let first = new.iter().find(|node| old.contains(node) && !after.peer(**node).is_some_and(|peer| is_joining(peer)));
    if first != Some(&me) {
        return Plan::new();
    }
    let new: BTreeSet<NodeHash> = new.into_iter().collect();
    let displaced = old.iter().any(|node| !new.contains(node) && after.peer(*node).is_some());
    after
        .owners(slot)
        // What a displaced owner sends need not come twice; should it fail, a newcomer's audits ask for it.
        .filter(|peer| if is_new(peer) { !displaced } else { is_joining(peer) })
        .map(|peer| (peer.clone(), if is_new(peer) { whole_or_probe(peer.node) } else { Stamp::PROBE }))
        .collect()
}
