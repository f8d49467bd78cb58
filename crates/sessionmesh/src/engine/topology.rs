//! The cluster as this node sees it at one moment: view, owners, and the peers behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sessionmesh_core::id::Slot;
use sessionmesh_core::liveness::timing::Timing;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::probe::{self, Bug};
use sessionmesh_core::slots::Slots;
use sessionmesh_core::view::{MemberState, NodeHash, View, ViewHash};

use super::peer::Peer;
use crate::lock::lock;

/// A view with everything that is computed from it. It never changes; a new one takes its place.
#[derive(Debug)]
pub(crate) struct Topology {
    /// Grows with each topology of this node.
    pub(crate) epoch: u64,
    pub(crate) view: View,
    pub(crate) slots: Arc<Slots>,
    /// This node's index in the view.
    pub(crate) me: u16,
    /// The slots in which this node mints ids.
    pub(crate) home: Vec<Slot>,
    /// The members, ascending, that own a slot together with this node.
    co_owners: Vec<u16>,
    /// The peers by their index in the view; none for this node itself.
    members: Arc<[Option<Arc<Peer>>]>,
    by_node: BTreeMap<NodeHash, Arc<Peer>>,
    /// Members of earlier views since the last settled one, which may know what the present ones do not.
    pub(crate) former: Vec<Arc<Peer>>,
    /// The owners under views that were replaced so recently that a lease granted under them may still run.
    earlier: Vec<Earlier>,
}

/// The owners under a view that was replaced.
#[derive(Clone, Debug)]
struct Earlier {
    replaced: Moment,
    slots: Arc<Slots>,
    members: Arc<[Option<Arc<Peer>>]>,
}

/// Earlier views that are remembered. More changes than that within one lease are not a cluster any more.
const EARLIER_MAX: usize = 16;

impl Topology {
    pub(crate) fn new(
        epoch: u64,
        view: View,
        slots: Arc<Slots>,
        name: &str,
        peers: &BTreeMap<NodeHash, Arc<Peer>>,
        former: Vec<Arc<Peer>>,
    ) -> Self {
        let me = view.index_of(name).expect("a node is in its own view");
        let members: Arc<[_]> = view.members().iter().map(|member| peers.get(&member.node()).cloned()).collect();
        let by_node = members.iter().flatten().map(|peer| (peer.node, peer.clone())).collect();
        let home = slots.home_slots(me);
        let co_owners = slots.co_owners(me);
        Self { epoch, view, slots, me, home, co_owners, members, by_node, former, earlier: Vec::new() }
    }

    /// The owners under `view`: those of this topology, if the view has the same members in the same roles.
    pub(crate) fn slots_of(&self, view: &View) -> Arc<Slots> {
        if view.hash() == self.hash() {
            return self.slots.clone();
        }
        let own = || self.view.members()[usize::from(self.me)].terms.mode;
        let mode = if probe::planted(Bug::OwnMode) { own() } else { view.in_force().mode };
        Arc::new(Slots::new(view, mode))
    }

    /// Remembers the owners under the topology that this one replaces at `now`, for as long as leases last.
    pub(crate) fn replacing(mut self, before: &Self, timing: &Timing, now: Moment) -> Self {
        let running = |earlier: &&Earlier| now.ms_since(earlier.replaced) < timing.lease_ms;
        self.earlier = before.earlier.iter().filter(running).cloned().collect();
        if before.hash() != self.hash() {
            let (slots, members) = (before.slots.clone(), before.members.clone());
            self.earlier.push(Earlier { replaced: now, slots, members });
        }
        let surplus = self.earlier.len().saturating_sub(EARLIER_MAX);
        self.earlier.drain(..surplus);
        self
    }

    /// Owners of `slot` under an earlier view that may still answer for their own copies, because they hold a lease of
    /// this node and have not reported this view: a commit is not acknowledged without them.
    pub(crate) fn displaced(&self, slot: Slot, timing: &Timing, now: Moment) -> Vec<&Arc<Peer>> {
        let view = self.hash();
        if probe::planted(Bug::DisplacedForgotten) {
            return Vec::new();
        }
        let mut displaced: Vec<&Arc<Peer>> = Vec::new();
        for earlier in self.earlier.iter().filter(|earlier| now.ms_since(earlier.replaced) < timing.lease_ms) {
            let owners = earlier.slots.owners(slot).iter().filter_map(|&at| earlier.members[usize::from(at)].as_ref());
            for owner in owners {
                let counted = displaced.iter().any(|peer| peer.node == owner.node);
                let owns = self.owners(slot).any(|peer| peer.node == owner.node);
                let known = self.peer(owner.node).is_some() || self.former.iter().any(|peer| peer.node == owner.node);
                if !counted && !owns && known && lock(&owner.liveness).may_serve_locally(view, timing, now) {
                    displaced.push(owner);
                }
            }
        }
        displaced
    }

    /// Members that may answer for their own copies without a lease of this node, because they do not know this newcomer
    /// yet, or removed this node while it was stalled: it has not heard that they share its view.
    ///
    /// One that is left out, since it does not answer or no link to it can be had, may never say so. Under another view it
    /// would need leases of those that were ready before. Once one of these has gone by this view for as long as a lease
    /// lasts, it has none. Where there is nobody else, it is waited for until it is cut off.
    pub(crate) fn unaware(&self, timing: &Timing, now: Moment) -> Vec<&Arc<Peer>> {
        let view = self.hash();
        let joining = self.is_joining(self.me);
        let goes_by_it =
            |peer: &Arc<Peer>| self.is_ready(peer) && lock(&peer.liveness).has_gone_by(view, &peer.timing, now);
        let unaware = |peer: &&Arc<Peer>| {
            let liveness = lock(&peer.liveness);
            (joining || (liveness.is_doubted() && !probe::planted(Bug::DoubtForgotten)))
                && liveness.view() != Some(view)
        };
        let mut unaware: Vec<_> = self.peers().filter(unaware).collect();
        let left_out = |peer: &Peer| lock(&peer.liveness).is_left_out(now);
        if unaware.iter().any(|peer| left_out(peer)) {
            let known = self.peers().any(goes_by_it);
            unaware.retain(|peer| !left_out(peer) || !(known || lock(&peer.liveness).is_cut_off(timing, now)));
        }
        unaware
    }

    /// Whether the member is ready in this view.
    pub(crate) fn is_ready(&self, peer: &Peer) -> bool {
        self.view.get(&peer.member.name).is_some_and(|member| member.state == MemberState::Ready)
    }

    /// Whether an earlier view was replaced so recently that commits may wait for its owners.
    pub(crate) fn is_replacing(&self) -> bool {
        !self.earlier.is_empty() || self.is_joining(self.me)
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

    /// Whether `peer` owns a slot together with this node.
    pub(crate) fn is_co_owner(&self, peer: &Peer) -> bool {
        self.view.index_of(&peer.member.name).is_some_and(|at| self.co_owners.binary_search(&at).is_ok())
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

    /// Whether an owner of `slot` may lack what it holds.
    pub(crate) fn has_joining_owner(&self, slot: Slot) -> bool {
        self.slots.owners(slot).iter().any(|&at| self.is_joining(at))
    }

    /// Whether the member may lack what its slots hold.
    pub(crate) fn is_joining(&self, at: u16) -> bool {
        self.view.members()[usize::from(at)].state == MemberState::Joining
    }
}
