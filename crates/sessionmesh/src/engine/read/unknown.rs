//! Ids that nobody knows: they are told apart without asking all owners, or a flood of them would cost more than visitors do.

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::view::ViewHash;
use sessionmesh_core::wire::message::{Held, Message, ReadQuery};
use tokio::time::Instant;

use crate::engine::request::{self, is_silent};
use crate::engine::state::node::Node;
use crate::engine::state::topology::Topology;
use crate::lock::lock;

/// In a flood of unknown ids: whether nobody knew `id` a moment ago, or this node owns its slot, has missed nothing, and does
/// not know it. Otherwise it is asked for: what was not known a moment ago may have come since, from beyond a partition.
pub(super) fn is_unknown_here(node: &Node, id: SessionId) -> bool {
    let (topology, now) = (node.cluster.topology.load(), node.now());
    let remembered = {
        let mut unknown = lock(&node.bounds.unknown);
        if !unknown.is_flooded(now) {
            return false;
        }
        unknown.remembers(id, topology.epoch, now)
    };
    if node.lifecycle.stop.is_cancelled() || node.store.read(id, |held| held.is_some()) {
        return false;
    }
    let is_owner = || topology.is_owner(id.slot()) && node.is_current(&topology, now);
    if !remembered && is_owner() && !may_be_elsewhere(node, id, &topology, now) {
        lock(&node.bounds.unknown).note(id, topology.epoch, now);
        return true;
    }
    remembered
}

/// Whether others than the owners of `id` may have to be asked, or members that vanished.
fn may_be_elsewhere(node: &Node, id: SessionId, topology: &Topology, now: Moment) -> bool {
    node.is_in_transition(topology, now) || lock(&node.cluster.lost).hides(id.slot(), topology.view.len(), now)
}

/// In a flood of unknown ids: whether one owner that has missed nothing does not know `id`. It is asked before all of them
/// are, and only such an answer counts.
pub(super) async fn is_weeded_out(node: &Node, id: SessionId, deadline: Instant) -> bool {
    let (topology, now) = (node.topology(), node.now());
    if !lock(&node.bounds.unknown).is_flooded(now) || node.store.read(id, |held| held.is_some()) {
        return false;
    }
    let Some(owner) = topology.owners(id.slot()).find(|owner| !is_silent(node, owner)).cloned() else { return false };
    if may_be_elsewhere(node, id, &topology, now) {
        return false;
    }
    let question = |request| Message::ReadQuery(ReadQuery { request, id, digest: 0, access: false });
    let Some(request) = request::ask(&owner, question) else { return false };
    let Some(reply) = request.reply(node, deadline).await else { return false };
    let Some(Message::ReadReply(reply)) = reply.message() else { return false };
    let is_unknown = reply.held == Held::Nothing && reply.current && ViewHash(reply.view) == topology.hash();
    if is_unknown {
        lock(&node.bounds.unknown).note(id, topology.epoch, node.now());
    }
    is_unknown
}
