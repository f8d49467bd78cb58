//! Accesses, as they are noted and passed on.

use std::sync::Arc;

use sessionmesh_core::entry::{Entry, must_propagate};
use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;

use super::{Access, load};
use crate::engine::replication;
use crate::engine::state::node::Node;

/// Notes an access on this node's own copy, and passes it on if the others must know.
pub(super) fn note(node: &Node, id: SessionId) {
    note_at(node, id, node.now());
}

/// Notes an access of then.
pub(super) fn note_at(node: &Node, id: SessionId, access: Moment) {
    if node.store.visit(id, |entry| entry.access(access)) == Some(true) {
        replication::propagate_access(node, id, node.now());
    }
}

/// Notes an access by somebody who read the session before. Where that cannot be done on a copy that this node holds as
/// an owner, the owners are asked, in a task of its own, once they would miss too much: `propagated` is the last access of which
/// they know by this caller. What is past its limit here is revived only if an owner knows better.
pub(crate) fn note_again(node: &Arc<Node>, id: SessionId, idle_limit_ms: u64, propagated: &mut Moment) {
    let now = node.now();
    let held_here = node.cluster.topology.load().is_owner(id.slot()) && !node.replication.expiry_holds.holds(id, now);
    let look = |entry: &mut Entry| entry.record().is_usable(now).then(|| entry.access(now));
    let noted = if held_here { node.store.visit(id, look).flatten() } else { None };
    match noted {
        Some(true) => replication::propagate_access(node, id, now),
        Some(false) => {}
        None if must_propagate(idle_limit_ms, *propagated, now) => {
            *propagated = now;
            let node = node.clone();
            // What became of the session is for the next one who reads it.
            node.lifecycle.life.clone().spawn("access", async move { drop(load(&node, id, Access::Note).await) });
        }
        None => {}
    }
}
