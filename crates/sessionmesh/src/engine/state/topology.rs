//! The cluster as this node sees it at one moment: who owns what, and the peers behind them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use sessionmesh_core::id::{NodeHash, Slot};
use sessionmesh_core::placement::Placement;

use super::peer::Peer;

/// A [`Placement`] whose members are peers, and which is used as one. It never changes; a new one takes its place.
#[derive(Debug)]
pub(crate) struct Topology {
    placement: Placement,
    /// The peers by their index in the view; none for this node itself.
    members: Vec<Option<Arc<Peer>>>,
    by_node: BTreeMap<NodeHash, Arc<Peer>>,
    /// Members of earlier views since the last settled one, which may know what the present ones do not.
    pub(crate) former: Vec<Arc<Peer>>,
}

impl Deref for Topology {
    type Target = Placement;

    fn deref(&self) -> &Placement {
        &self.placement
    }
}

impl Topology {
    /// `peers` are those to which there are links.
    pub(crate) fn new(placement: Placement, peers: &BTreeMap<NodeHash, Arc<Peer>>, former: Vec<Arc<Peer>>) -> Self {
        let members = placement.view.members();
        let members: Vec<_> = members.iter().map(|member| peers.get(&member.node()).cloned()).collect();
        let by_node = members.iter().flatten().map(|peer| (peer.node, peer.clone())).collect();
        Self { placement, members, by_node, former }
    }

    /// The peers in the view, in the order of their names.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.members.iter().flatten()
    }

    /// The peer that is this incarnation of a node, if it is in the view.
    pub(crate) fn peer(&self, node: NodeHash) -> Option<&Arc<Peer>> {
        self.by_node.get(&node)
    }

    /// The same, also of a former member.
    pub(crate) fn peer_or_former(&self, node: NodeHash) -> Option<&Arc<Peer>> {
        self.peer(node).or_else(|| self.former.iter().find(|peer| peer.node == node))
    }

    /// The other owners of `slot`, the primary first.
    pub(crate) fn owners(&self, slot: Slot) -> impl Iterator<Item = &Arc<Peer>> {
        self.slots.owners(slot).iter().filter_map(|&at| self.members[usize::from(at)].as_ref())
    }
}
