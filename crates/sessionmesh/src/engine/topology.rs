//! The cluster as this node sees it at one moment: view, owners, and the peers behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sessionmesh_core::id::Slot;
use sessionmesh_core::slots::{Mode, Slots};
use sessionmesh_core::view::{MemberState, NodeHash, View, ViewHash};

use super::peer::Peer;

/// A view with everything that is computed from it. It never changes; a new one takes its place.
#[derive(Debug)]
pub(crate) struct Topology {
    /// Grows with each topology of this node.
    pub(crate) epoch: u64,
    pub(crate) view: View,
    pub(crate) slots: Slots,
    /// This node's index in the view.
    pub(crate) me: u16,
    /// The slots in which this node mints ids.
    pub(crate) home: Vec<Slot>,
    /// The peers by their index in the view; none for this node itself.
    members: Vec<Option<Arc<Peer>>>,
    by_node: BTreeMap<NodeHash, Arc<Peer>>,
    /// Members of earlier views since the last settled one, which may know what the present ones do not.
    pub(crate) former: Vec<Arc<Peer>>,
}

impl Topology {
    pub(crate) fn new(
        epoch: u64,
        view: View,
        mode: Mode,
        name: &str,
        peers: &BTreeMap<NodeHash, Arc<Peer>>,
        former: Vec<Arc<Peer>>,
    ) -> Self {
        let slots = Slots::new(&view, mode);
        let me = view.index_of(name).expect("a node is in its own view");
        let members: Vec<_> = view.members().iter().map(|member| peers.get(&member.node()).cloned()).collect();
        let by_node = members.iter().flatten().map(|peer| (peer.node, peer.clone())).collect();
        let home = slots.home_slots(me);
        Self { epoch, view, slots, me, home, members, by_node, former }
    }

    pub(crate) fn hash(&self) -> ViewHash {
        self.view.hash()
    }

    /// The peers in the view, in the order of their names.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.members.iter().flatten()
    }

    /// The peer that is this incarnation of a node, if it is in the view.
    pub(crate) fn peer(&self, node: NodeHash) -> Option<&Arc<Peer>> {
        self.by_node.get(&node)
    }

    /// Whether this node must hold the sessions of `slot`.
    pub(crate) fn is_owner(&self, slot: Slot) -> bool {
        self.slots.owners(slot).contains(&self.me)
    }

    /// Whether this node acts first for `slot`.
    pub(crate) fn is_primary(&self, slot: Slot) -> bool {
        self.slots.primary(slot) == Some(self.me)
    }

    /// The other owners of `slot`, the primary first.
    pub(crate) fn owners(&self, slot: Slot) -> impl Iterator<Item = &Arc<Peer>> {
        self.slots.owners(slot).iter().filter_map(|&at| self.members[usize::from(at)].as_ref())
    }

    /// All owners of `slot`, this node too.
    pub(crate) fn owner_nodes(&self, slot: Slot) -> Vec<NodeHash> {
        self.slots.owners(slot).iter().map(|&at| self.view.members()[usize::from(at)].node()).collect()
    }

    /// The members that are no owners of `slot`, in the order in which they stand in for one.
    pub(crate) fn stand_ins(&self, slot: Slot) -> impl Iterator<Item = &Arc<Peer>> {
        let owners = self.slots.owners(slot).len();
        let ranking = self.slots.ranking(&self.view, slot);
        ranking.into_iter().skip(owners).filter_map(|at| self.members[usize::from(at)].as_ref())
    }

    /// Whether the member may lack what its slots hold.
    pub(crate) fn is_joining(&self, at: u16) -> bool {
        self.view.members()[usize::from(at)].state == MemberState::Joining
    }
}
