//! Who owns what, as one node sees it at one moment ([`view`], [`slots`]), and who did under the views before it; who is sent what after a change ([`handoff`]), and when a node that leaves may stop ([`drain`]).

pub mod drain;
pub mod handoff;
pub mod slots;
pub mod transition;
pub mod view;

use std::sync::Arc;

use crate::expiry::Role;
use crate::failpoint::{self, Bug};
use crate::id::{NodeHash, Slot};
use crate::liveness::peer::PeerStatus;
use crate::liveness::timing::Timing;
use crate::moment::Moment;
use crate::placement::slots::Slots;
use crate::placement::view::{Member, MemberState, View, ViewHash};

/// A view with the owners that follow from it. It never changes; a new one takes its place.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Grows with each placement of this node under which somebody else owns something.
    pub epoch: u64,
    /// The members.
    pub view: View,
    /// The owners of each slot, as indices in the view.
    pub slots: Arc<Slots>,
    /// This node's index in the view.
    pub me: u16,
    /// The slots in which this node mints ids.
    pub home: Vec<Slot>,
    /// The members, ascending, that own a slot together with this node.
    co_owners: Vec<u16>,
    /// The members by their index in the view.
    nodes: Arc<[NodeHash]>,
    /// The owners under views that were replaced so recently that a lease granted under them may still run.
    earlier: Vec<Earlier>,
}

/// The owners under a view that was replaced.
#[derive(Clone, Debug)]
struct Earlier {
    replaced: Moment,
    slots: Arc<Slots>,
    nodes: Arc<[NodeHash]>,
}

/// Earlier views that are remembered. More changes than that within one lease are not a cluster any more.
const EARLIER_MAX: usize = 16;

impl Placement {
    /// The placement of the node `name` under a view in which it is. `slots` are those of the view.
    ///
    /// # Panics
    ///
    /// When it is not in the view.
    #[must_use]
    pub fn new(epoch: u64, view: View, slots: Arc<Slots>, name: &str) -> Self {
        let me = view.index_of(name).expect("a node is in its own view");
        let nodes = view.members().iter().map(Member::node).collect();
        let (home, co_owners) = (slots.home_slots(me), slots.co_owners(me));
        Self { epoch, view, slots, me, home, co_owners, nodes, earlier: Vec::new() }
    }

    /// The owners under `view`: those of this placement, if the view has the same members in the same roles.
    #[must_use]
    pub fn slots_of(&self, view: &View) -> Arc<Slots> {
        if view.hash() == self.hash() {
            return self.slots.clone();
        }
        let own = || self.view.members()[usize::from(self.me)].terms.mode;
        let mode = if failpoint::planted(Bug::OwnMode) { own() } else { view.in_force().mode };
        Arc::new(Slots::new(view, mode))
    }

    /// Remembers the owners under the placement that this one replaces at `now`, for as long as leases last.
    #[must_use]
    pub fn replacing(mut self, before: &Self, timing: &Timing, now: Moment) -> Self {
        let running = |earlier: &&Earlier| now.ms_since(earlier.replaced) < timing.lease_ms;
        self.earlier = before.earlier.iter().filter(running).cloned().collect();
        if before.hash() != self.hash() {
            let (slots, nodes) = (before.slots.clone(), before.nodes.clone());
            self.earlier.push(Earlier { replaced: now, slots, nodes });
        }
        let surplus = self.earlier.len().saturating_sub(EARLIER_MAX);
        self.earlier.drain(..surplus);
        self
    }

    /// Whether a view was replaced so recently that somebody may be [displaced](Self::displaced).
    #[must_use]
    pub fn may_have_displaced(&self, timing: &Timing, now: Moment) -> bool {
        self.earlier.last().is_some_and(|latest| now.ms_since(latest.replaced) < timing.lease_ms)
    }

    /// Owners of `slot` under an earlier view that may still answer for their own copies, because they hold a lease of
    /// this node and have not reported this view: a commit is not acknowledged without them. `status` knows the members of
    /// the view, and those of earlier ones to which there is still a link.
    #[must_use]
    pub fn displaced(
        &self,
        slot: Slot,
        status: impl Fn(NodeHash) -> Option<PeerStatus>,
        timing: &Timing,
        now: Moment,
    ) -> Vec<NodeHash> {
        if failpoint::planted(Bug::DisplacedForgotten) {
            return Vec::new();
        }
        let (me, view) = (self.node(), self.hash());
        let mut displaced: Vec<NodeHash> = Vec::new();
        for earlier in self.earlier.iter().filter(|earlier| now.ms_since(earlier.replaced) < timing.lease_ms) {
            for owner in earlier.slots.owners(slot).iter().map(|&at| earlier.nodes[usize::from(at)]) {
                let counted = owner == me || displaced.contains(&owner) || self.owners(slot).any(|own| own == owner);
                if !counted && status(owner).is_some_and(|peer| peer.may_serve_locally(view, now)) {
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
    /// lasts, it has none. Where there is nobody else, it is waited for until it has been silent for long.
    #[must_use]
    pub fn unaware(&self, status: impl Fn(NodeHash) -> Option<PeerStatus>) -> Vec<NodeHash> {
        let (view, joining) = (self.hash(), self.is_joining(self.me));
        let others = || self.others().filter_map(|(node, member)| Some((node, member, status(node)?)));
        let is_unaware = |peer: &PeerStatus| {
            (joining || (peer.doubted && !failpoint::planted(Bug::DoubtForgotten))) && peer.view != Some(view)
        };
        let mut unaware: Vec<_> = others().filter(|(.., peer)| is_unaware(peer)).collect();
        if unaware.iter().any(|(.., peer)| peer.left_out) {
            let goes_by_it = |member: &Member, peer: PeerStatus| {
                member.state == MemberState::Ready && peer.view == Some(view) && peer.view_outlasts_leases
            };
            let known = others().any(|(_, member, peer)| goes_by_it(member, peer));
            unaware.retain(|(.., peer)| !peer.left_out || !(known || peer.long_silent));
        }
        unaware.into_iter().map(|(node, ..)| node).collect()
    }

    /// Whether an earlier view was replaced so recently that commits may wait for its owners.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        !self.earlier.is_empty() || self.is_joining(self.me)
    }

    /// The hash of the view.
    #[must_use]
    pub fn hash(&self) -> ViewHash {
        self.view.hash()
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeHash {
        self.nodes[usize::from(self.me)]
    }

    /// The other members, in the order of their names.
    fn others(&self) -> impl Iterator<Item = (NodeHash, &Member)> {
        let me = self.node();
        self.nodes.iter().copied().zip(self.view.members()).filter(move |(node, _)| *node != me)
    }

    /// Whether `node` is another member of the view.
    #[must_use]
    pub fn is_other(&self, node: NodeHash) -> bool {
        self.others().any(|(other, _)| other == node)
    }

    /// Whether this node must hold the sessions of `slot`.
    #[must_use]
    pub fn is_owner(&self, slot: Slot) -> bool {
        self.slots.owners(slot).contains(&self.me)
    }

    /// Whether the member of this name owns a slot together with this node.
    #[must_use]
    pub fn is_co_owner(&self, name: &str) -> bool {
        self.view.index_of(name).is_some_and(|at| self.co_owners.binary_search(&at).is_ok())
    }

    /// Whether the member of this name is ready.
    #[must_use]
    pub fn is_ready(&self, name: &str) -> bool {
        self.view.get(name).is_some_and(|member| member.state == MemberState::Ready)
    }

    /// What this node is to the sessions of `slot`.
    #[must_use]
    pub fn role(&self, slot: Slot) -> Role {
        match (self.is_primary(slot), self.is_owner(slot)) {
            (true, _) => Role::Primary,
            (false, true) => Role::Backup,
            (false, false) => Role::Stranger,
        }
    }

    /// Whether this node acts first for `slot`.
    #[must_use]
    pub fn is_primary(&self, slot: Slot) -> bool {
        self.slots.primary(slot) == Some(self.me)
    }

    /// The other owners of `slot`, the primary first.
    pub fn owners(&self, slot: Slot) -> impl Iterator<Item = NodeHash> {
        let me = self.me;
        self.slots.owners(slot).iter().filter(move |at| **at != me).map(|&at| self.nodes[usize::from(at)])
    }

    /// All owners of `slot`, this node too.
    #[must_use]
    pub fn owner_nodes(&self, slot: Slot) -> Vec<NodeHash> {
        self.slots.owners(slot).iter().map(|&at| self.nodes[usize::from(at)]).collect()
    }

    /// The other members that are no owners of `slot`, in the order in which they stand in for one.
    pub fn stand_ins(&self, slot: Slot) -> impl Iterator<Item = NodeHash> {
        let owners = self.slots.owners(slot).len();
        let ranking = self.slots.ranking(&self.view, slot);
        let me = self.me;
        ranking.into_iter().skip(owners).filter(move |at| *at != me).map(|at| self.nodes[usize::from(at)])
    }

    /// Whether an owner of `slot` may lack what it holds.
    #[must_use]
    pub fn has_joining_owner(&self, slot: Slot) -> bool {
        self.slots.owners(slot).iter().any(|&at| self.is_joining(at))
    }

    /// Whether the member at this index may lack what its slots hold.
    #[must_use]
    pub fn is_joining(&self, at: u16) -> bool {
        self.view.members()[usize::from(at)].state == MemberState::Joining
    }

    /// Whether every member joins: nobody has what the cluster held before, if there was one.
    #[must_use]
    pub fn all_join(&self) -> bool {
        self.view.members().iter().all(|member| member.state == MemberState::Joining)
    }

    /// Whether the member that is this incarnation may lack what its slots hold.
    #[must_use]
    pub fn is_newcomer(&self, node: NodeHash) -> bool {
        self.others().any(|(other, member)| other == node && member.state == MemberState::Joining)
    }
}

#[cfg(test)]
mod tests;
