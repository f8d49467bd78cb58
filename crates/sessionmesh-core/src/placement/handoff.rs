//! After a change of the view: who must be sent what this node holds.

use std::collections::BTreeSet;

use super::Placement;
use crate::failpoint::{self, Bug};
use crate::id::{NodeHash, Slot};
use crate::placement::view::MEMBERS_MAX;
use crate::stamp::Stamp;

/// To whom the sessions of a slot go, and from which stamp on: [`Stamp::ZERO`] for whole, [`Stamp::DIGEST_ONLY`] for a question
/// whether the receiver has them.
pub type Plan = Vec<(NodeHash, Stamp)>;

/// A change from one placement to the next, as one node sees it.
#[derive(Clone, Debug)]
pub struct Handoff<'a> {
    before: &'a Placement,
    after: &'a Placement,
    /// The index in the view now, by the index in the view before: none for members that are gone.
    now: Vec<Option<u16>>,
    /// By the index in the view now: whether the member was in the view once, and so may hold what it held then.
    known: Vec<bool>,
}

impl<'a> Handoff<'a> {
    /// `known` are those that were in the view once, and so may hold what they held then.
    #[must_use]
    pub fn new(before: &'a Placement, after: &'a Placement, known: &BTreeSet<NodeHash>) -> Self {
        let now = before.view.members().iter().zip(before.nodes.iter());
        // Another incarnation is another node.
        let now = now.map(|(member, node)| {
            after.view.index_of(&member.name).filter(|at| after.nodes[usize::from(*at)] == *node)
        });
        let (now, known) = (now.collect(), after.nodes.iter().map(|node| known.contains(node)).collect());
        Self { before, after, now, known }
    }

    /// To whom the sessions of `slot` go.
    ///
    /// A node that is no owner (any more) sends to all owners, since it will let go. Among the owners one sends to those
    /// that are new: nobody if a displaced owner does it, else the first that was an owner before. The others rely on the
    /// audit that follows every change of the view.
    #[must_use]
    pub fn plan(&self, slot: Slot) -> Plan {
        let (after, me) = (self.after, self.after.me);
        if failpoint::planted(Bug::NoScan) {
            return Plan::new();
        }
        let new = after.slots.owners(slot);
        let old = || self.before.slots.owners(slot).iter().filter_map(|&at| self.now[usize::from(at)]);
        // One bit for each member, since in a large cluster all may be owners: to search the list of them for each is slow.
        let mut owned = [0_u64; MEMBERS_MAX / 64];
        old().for_each(|at| owned[usize::from(at / 64)] |= 1 << (at % 64));
        let was_owner = |at: u16| owned[usize::from(at / 64)] >> (at % 64) & 1 == 1;
        let whole_or_digest = |at: u16| {
            if was_owner(at) || self.known[usize::from(at)] { Stamp::DIGEST_ONLY } else { Stamp::ZERO }
        };
        let to = |wanted: &dyn Fn(u16) -> bool, from: &dyn Fn(u16) -> Stamp| -> Plan {
            let others = new.iter().copied().filter(|&at| at != me && wanted(at));
            others.map(|at| (after.nodes[usize::from(at)], from(at))).collect()
        };
        if !after.is_owner(slot) {
            return to(&|_| true, &whole_or_digest);
        }
        if !was_owner(me) {
            return to(&|_| true, &|_| Stamp::DIGEST_ONLY);
        }
        let is_newcomer = |at: u16| at != me && after.is_joining(at);
        if new.iter().copied().find(|&at| was_owner(at) && !is_newcomer(at)) != Some(me) {
            return Plan::new();
        }
        // Somebody was an owner, is still there, and is none any more.
        let displaced = old().count() > new.iter().filter(|&&at| was_owner(at)).count();
        // What a displaced owner sends need not come twice; should it fail, a newcomer's audits ask for it.
        to(&|at| if was_owner(at) { is_newcomer(at) } else { !displaced }, &whole_or_digest)
    }
}
