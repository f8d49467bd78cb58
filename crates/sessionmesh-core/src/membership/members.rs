//! Who the members are: from what gossip says and what links found out to a view, and from a view to the next one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::evidence::Evidence;
use super::gossiped::{GossipState, MemberInfo};
use super::incarnations::Incarnations;
use crate::coverage::{self, Path};
use crate::id::NodeHash;
use crate::moment::Moment;
use crate::placement::view::{Member, MemberState, View};
use crate::wire::version::Versions;

/// What one node knows of the members of its cluster.
#[derive(Debug)]
pub struct Members {
    /// This node, as it is in its own view.
    me: Member,
    /// What this node speaks.
    versions: Versions,
    incarnations: Incarnations,
    /// Since when this node is alone, though it knows of others.
    alone_since: Option<Moment>,
    /// Earlier lives of this node's own name that were reported.
    earlier_lives: BTreeSet<u64>,
}

/// What a [`Members::review`] has found out.
#[derive(Debug, PartialEq, Eq)]
pub struct Review {
    /// The view from now on.
    pub view: View,
    /// This node was cut off for longer than tombstones are kept: it must discard its copies, and joins anew.
    pub discard: bool,
    /// Names and incarnations of those that have left as planned.
    pub left: Vec<(Arc<str>, u64)>,
}

/// One difference between two views that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A member came whose name was not in the view before.
    Up(&'a Member),
    /// A member's name goes on as another incarnation.
    Restarted {
        /// The incarnation before.
        was: &'a Member,
        /// It had said that it leaves.
        planned: bool,
    },
    /// A member's name is in the view no more.
    Down {
        /// That member.
        member: &'a Member,
        /// It had said that it leaves.
        planned: bool,
        /// It is dead, not cut off.
        dead: bool,
    },
}

/// Other lives of this node's name that take part.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OtherLives<'a> {
    /// The number of a later one: this node was replaced.
    pub later: Option<u64>,
    /// Earlier ones that were not reported yet.
    pub earlier: Vec<&'a MemberInfo>,
}

impl Members {
    /// Of a node that starts.
    #[must_use]
    pub fn new(me: Member, versions: Versions) -> Self {
        Self { me, versions, incarnations: Incarnations::default(), alone_since: None, earlier_lives: BTreeSet::new() }
    }

    /// A link, or this node itself, has found something out. `has_link`: to the node that it is about. `joins`: how often
    /// this node has discarded what it held.
    pub fn on_evidence(&mut self, evidence: Evidence, has_link: bool, joins: u64, now: Moment) {
        match evidence {
            // Of whom there is no link there is nothing to refuse.
            Evidence::Refused(node) if has_link => self.incarnations.refused(node, now),
            Evidence::Refused(_) => {}
            Evidence::Connected(node) => self.incarnations.connected(node),
            Evidence::Replaced(node) => self.incarnations.replaced(node),
            Evidence::Leaving(node) => self.incarnations.leaves(node),
            Evidence::Left(node) => self.incarnations.left(node),
            // A node that discarded what it held meanwhile, or that is leaving, is not ready.
            Evidence::Ready(join) => {
                if self.me.state == MemberState::Joining && join == joins {
                    self.me.state = MemberState::Ready;
                }
            }
            Evidence::LeavingMyself => self.me.state = MemberState::Leaving,
        }
    }

    /// Notes whose heartbeats were counted up, and forgets what gossip has forgotten, but for members that are `in_view`.
    /// Hands out those that count as members from now on because they are heard, though their ports refuse: they are to be
    /// suspected.
    pub fn on_gossip(
        &mut self,
        gossip: &[MemberInfo],
        in_view: impl Fn(NodeHash) -> bool,
        now: Moment,
    ) -> Vec<NodeHash> {
        let mut heard = BTreeSet::new();
        for info in gossip {
            let node = info.node();
            self.incarnations.heartbeat(node, info.heartbeat, now);
            heard.insert(node);
        }
        self.incarnations.forget(&heard, in_view);
        let admitted = self.incarnations.admit_heard(now);
        coverage::reached_if(Path::RefusedButHeard, || !admitted.is_empty());
        admitted
    }

    /// Another life of this node's name may have been started while this process was frozen or cut off, or both were
    /// started where they could not hear each other. The later one goes on.
    pub fn other_lives<'a>(&mut self, gossip: &'a [MemberInfo]) -> OtherLives<'a> {
        let mut lives = OtherLives::default();
        for info in gossip.iter().filter(|info| info.name == self.me.name) {
            if !info.alive || !info.takes_part() || !self.incarnations.has_moved(info.node()) {
                continue;
            }
            if info.incarnation > self.me.incarnation {
                lives.later = lives.later.max(Some(info.incarnation));
            } else if self.earlier_lives.insert(info.incarnation) {
                lives.earlier.push(info);
            }
        }
        self.earlier_lives.retain(|life| gossip.iter().any(|info| info.incarnation == *life));
        lives
    }

    /// Computes the view that follows `before`. `link_gone` says of each incarnation with a link whether it was silent there
    /// for as long as a member may be; none where there is no link.
    pub fn review(
        &mut self,
        gossip: &[MemberInfo],
        before: &View,
        link_gone: impl Fn(NodeHash) -> Option<bool>,
        now: Moment,
    ) -> Review {
        let (view, left) = self.compute(gossip, &link_gone, now);
        let discard = self.missed_too_much(&view, before, now);
        if !discard {
            return Review { view, discard, left };
        }
        self.me.state = MemberState::Joining;
        let (view, left) = self.compute(gossip, &link_gone, now);
        Review { view, discard, left }
    }

    fn compute(
        &mut self,
        gossip: &[MemberInfo],
        link_gone: impl Fn(NodeHash) -> Option<bool>,
        now: Moment,
    ) -> (View, Vec<(Arc<str>, u64)>) {
        let (mut heard, mut left) = (Vec::new(), Vec::new());
        for info in gossip.iter().filter(|info| info.name != self.me.name) {
            let node = info.node();
            let state = match info.state {
                GossipState::Starting => continue,
                GossipState::Joining => MemberState::Joining,
                GossipState::Ready => MemberState::Ready,
                GossipState::Leaving => MemberState::Leaving,
                GossipState::Left => {
                    self.incarnations.left(node);
                    left.push((info.name.clone(), info.incarnation));
                    continue;
                }
            };
            let state = if self.incarnations.is_leaving(node) { MemberState::Leaving } else { state };
            let interval_ms = self.me.terms.gossip_interval_ms.max(info.terms.gossip_interval_ms);
            if self.incarnations.is_alive(node, info.alive, link_gone(node), interval_ms, now) && !self.is_over(node) {
                let (name, zone, terms) = (info.name.clone(), info.zone.clone(), info.terms);
                let member = Member { name, incarnation: info.incarnation, addr: info.addr, zone, state, terms };
                heard.push((member, info.versions));
            }
        }
        let members = self.admitted(heard);
        coverage::reached_if(Path::TwoIncarnations, || {
            let names: BTreeSet<&str> = members.iter().map(|member| &*member.name).collect();
            names.len() < members.len()
        });
        (View::new(members), left)
    }

    /// This node, and who of those that are `heard` can talk with it. Who joins must be able to talk with all of them that have
    /// done so before: else they would not agree on who is a member.
    fn admitted(&self, mut heard: Vec<(Member, Versions)>) -> Vec<Member> {
        let is_joining = |member: &Member| member.state == MemberState::Joining;
        heard.retain(|(_, versions)| self.versions.understand(*versions));
        let there = heard.iter().filter(|(member, _)| !is_joining(member));
        let there: Vec<Versions> = there.map(|(_, versions)| *versions).collect();
        let fits = |versions: Versions| there.iter().all(|there| there.understand(versions));
        let admitted = heard.into_iter().filter(|(member, versions)| !is_joining(member) || fits(*versions));
        std::iter::once(self.me.clone()).chain(admitted.map(|(member, _)| member)).collect()
    }

    /// Of those that gossip hears, who speaks no version that this node speaks.
    pub fn not_understood<'a>(&self, gossip: &'a [MemberInfo]) -> impl Iterator<Item = &'a MemberInfo> {
        let versions = self.versions;
        gossip.iter().filter(move |info| info.is_there() && !versions.understand(info.versions))
    }

    /// Whether this node comes back from being alone for longer than tombstones are kept. What it holds may have been
    /// ended meanwhile, and nobody would know any more. Of two nodes that were alone, one keeps what it has.
    fn missed_too_much(&mut self, view: &View, before: &View, now: Moment) -> bool {
        if view.len() == 1 {
            if before.len() > 1 {
                self.alone_since = Some(now);
            }
            return false;
        }
        let retention = view.shortest_retention_ms();
        let Some(since) = self.alone_since.take() else { return false };
        let first = view.members().first().is_some_and(|member| member.name == self.me.name);
        now.ms_since(since) > retention && (view.len() > 2 || !first)
    }

    /// Whether an incarnation is no member, and no link to it is of any use: it has left, another one answers at its
    /// address, or its port refuses.
    #[must_use]
    pub fn is_over(&self, node: NodeHash) -> bool {
        self.incarnations.is_refused(node) || self.incarnations.is_over(node)
    }

    /// What is different in the view `after` from `before`: who came or was restarted first, then who is gone.
    #[must_use]
    pub fn changes<'a>(&self, before: &'a View, after: &'a View) -> Vec<Change<'a>> {
        let came = after.members().iter().filter_map(|member| match before.get(&member.name) {
            None => {
                coverage::reached_if(Path::ReturnedAfterCut, || self.incarnations.was_member(member.node()));
                Some(Change::Up(member))
            }
            Some(was) if was.incarnation != member.incarnation => {
                coverage::reached(Path::QuickRestart);
                Some(Change::Restarted { was, planned: self.incarnations.is_leaving(was.node()) })
            }
            Some(_) => None,
        });
        let gone = before.members().iter().filter(|member| after.get(&member.name).is_none()).map(|member| {
            // It said so itself, or a newcomer has heard it from others before it found nobody at its address.
            let planned = self.incarnations.is_leaving(member.node()) || member.state == MemberState::Leaving;
            coverage::reached_if(Path::RefusedRemoved, || self.incarnations.is_refused(member.node()));
            Change::Down { member, planned, dead: self.incarnations.is_dead(member.node()) }
        });
        came.chain(gone).collect()
    }

    /// This view is in force: its members may hold from now on what they hold then.
    pub fn adopted(&mut self, view: &View) {
        self.incarnations.joined(view.members().iter().map(Member::node));
    }

    /// All that were in the view once, and that gossip still remembers.
    #[must_use]
    pub fn known(&self) -> BTreeSet<NodeHash> {
        self.incarnations.members()
    }
}

#[cfg(test)]
mod tests;
