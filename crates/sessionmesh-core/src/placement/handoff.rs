//! After a change of the view: who must be sent what this node holds.

use std::collections::BTreeSet;

use super::Placement;
use crate::failpoint::{self, Bug};
use crate::id::{NodeHash, Slot};
use crate::stamp::Stamp;

/// To whom the sessions of a slot go, and from which stamp on: [`Stamp::ZERO`] for whole, [`Stamp::DIGEST_ONLY`] for a question
/// whether the receiver has them.
pub type Plan = Vec<(NodeHash, Stamp)>;

/// To whom the sessions of `slot` go. `known` are those that were in the view once, and so may hold what they held then.
///
/// A node that is no owner (any more) sends to all owners, since it will let go. Among the owners one sends to those
/// that are new: nobody if a displaced owner does it, else the first that was an owner before. The others rely on the
/// audit that follows every change of the view.
#[must_use]
pub fn plan(before: &Placement, after: &Placement, slot: Slot, known: &BTreeSet<NodeHash>) -> Plan {
    if failpoint::planted(Bug::NoScan) {
        return Plan::new();
    }
    let old = before.owner_nodes(slot);
    let whole_or_digest = |node: NodeHash| {
        if known.contains(&node) { Stamp::DIGEST_ONLY } else { Stamp::ZERO }
    };
    let is_new = |node: NodeHash| !old.contains(&node);
    if !after.is_owner(slot) {
        let from = |node| if is_new(node) { whole_or_digest(node) } else { Stamp::DIGEST_ONLY };
        return after.owners(slot).map(|node| (node, from(node))).collect();
    }
    let me = after.node();
    if is_new(me) {
        return after.owners(slot).map(|node| (node, Stamp::DIGEST_ONLY)).collect();
    }
    let new = after.owner_nodes(slot);
    if new.iter().find(|node| old.contains(node) && !after.is_newcomer(**node)) != Some(&me) {
        return Plan::new();
    }
    let displaced = old.iter().any(|node| !new.contains(node) && after.is_other(*node));
    after
        .owners(slot)
        // What a displaced owner sends need not come twice; should it fail, a newcomer's audits ask for it.
        .filter(|node| if is_new(*node) { !displaced } else { after.is_newcomer(*node) })
        .map(|node| (node, if is_new(node) { whole_or_digest(node) } else { Stamp::DIGEST_ONLY }))
        .collect()
}
