//! From what gossip and links say to a view, and from a view to links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::membership::incarnations::Incarnations;
use sessionmesh_core::membership::lost::LostMembers;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::Placement;
use sessionmesh_core::probe::{self, Path};
use sessionmesh_core::view::{Member, MemberState, NodeHash, View};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::differences::Differences;
use super::{handoff, monitor};
use crate::engine::link::outgoing;
use crate::engine::replication;
use crate::engine::state::evidence::Evidence;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::topology::Topology;
use crate::event::Event;
use crate::lock::lock;
use crate::membership::{Heard, HeardState, Membership};

/// Addresses of strangers that wait to be introduced to gossip. More are dropped: gossip finds them by itself.
pub(crate) const STRANGERS_MAX: usize = 64;

/// How often the view is computed even if nothing was reported.
const REVIEW: Duration = Duration::from_millis(100);
/// Links to former members are kept for so long at most.
const FORMER_MS_MAX: u64 = 10_000;

/// The task that computes views.
pub(crate) struct Views {
    node: Arc<Node>,
    membership: Arc<Membership>,
    /// All peers with a link, by incarnation.
    peers: BTreeMap<NodeHash, Arc<Peer>>,
    /// What is known of those that gossip tells of.
    incarnations: Incarnations,
    former_since: Option<Moment>,
    /// Since when this node is alone, though it knows of others.
    alone_since: Option<Moment>,
    own: MemberState,
    /// Earlier lives of this node's own name that a warning was given about.
    earlier_lives_told: BTreeSet<u64>,
    differences: Differences,
    walk: CancellationToken,
}

impl Views {
    pub(crate) fn new(node: Arc<Node>, membership: Arc<Membership>) -> Self {
        Self {
            node,
            membership,
            peers: BTreeMap::new(),
            incarnations: Incarnations::default(),
            former_since: None,
            alone_since: None,
            own: MemberState::Joining,
            earlier_lives_told: BTreeSet::new(),
            differences: Differences::default(),
            walk: CancellationToken::new(),
        }
    }

    /// Computes views until the node stops.
    pub(crate) async fn run(
        mut self,
        mut evidence: mpsc::Receiver<Evidence>,
        mut strangers: mpsc::Receiver<SocketAddr>,
    ) {
        let mut heard = self.membership.heard();
        let mut reviews = self.node.ticks(REVIEW);
        loop {
            tokio::select! {
                biased;
                () = self.node.lifecycle.stop.cancelled() => break,
                Some(first) = evidence.recv() => {
                    self.note(first);
                    // All that waits is looked at once.
                    while let Ok(next) = evidence.try_recv() {
                        self.note(next);
                    }
                }
                Some(addr) = strangers.recv() => self.membership.introduce(addr).await,
                changed = heard.changed() => if changed.is_err() {
                    // The node stops, or the task that hears has failed, which will be said of that one.
                    self.node.lifecycle.stop.cancelled().await;
                    break;
                },
                _ = reviews.tick() => {}
            }
            let heard = heard.borrow_and_update().clone();
            self.review(&heard);
        }
        for peer in self.peers.values() {
            peer.stop.cancel();
        }
        // A node that stopped by itself must not be heard any more.
        self.membership.stop();
    }

    fn note(&mut self, evidence: Evidence) {
        let now = self.node.now();
        match evidence {
            // Of whom there is no link there is nothing to refuse.
            Evidence::Refused(node) if !self.peers.contains_key(&node) => {}
            Evidence::Refused(node) => self.incarnations.refused(node, now),
            Evidence::Connected(node) => self.incarnations.connected(node),
            Evidence::Replaced(node) => self.incarnations.replaced(node),
            Evidence::Leaving(node) => self.incarnations.leaves(node),
            Evidence::Left(node) => self.incarnations.left(node),
            // A node that discarded what it held meanwhile, or that is leaving, is not ready.
            Evidence::Ready(join) => {
                if self.own == MemberState::Joining && join == self.node.lifecycle.joins.load(Ordering::Acquire) {
                    self.own = MemberState::Ready;
                }
            }
            Evidence::LeavingMyself => self.own = MemberState::Leaving,
        }
    }

    /// Computes the view from what was heard, and adopts it if it is another one.
    pub(crate) fn review(&mut self, heard: &[Heard]) {
        let before = self.node.topology();
        let heard: Vec<(NodeHash, &Heard)> =
            heard.iter().map(|heard| (NodeHash::of(&heard.name, heard.incarnation), heard)).collect();
        let heard = heard.as_slice();
        self.listen(heard, &before);
        self.look_for_lives_of_this_name(heard);
        let mut view = self.compute(heard, &before);
        if self.missed_too_much(&view, &before) {
            probe::reached(Path::CopiesDiscarded);
            warn!("cut off for longer than tombstones are kept: the copies are discarded, and the node joins anew");
            self.node.store.clear();
            self.own = MemberState::Joining;
            self.node.lifecycle.joins.fetch_add(1, Ordering::AcqRel);
            self.node.lifecycle.rejoin.notify_one();
            view = self.compute(heard, &before);
        }
        if view == before.view {
            self.tidy(&before);
            return;
        }
        self.adopt(view, &before);
    }

    /// Notes whose heartbeats were counted up, and forgets what gossip has forgotten.
    fn listen(&mut self, heard: &[(NodeHash, &Heard)], before: &Topology) {
        let now = self.node.now();
        heard.iter().for_each(|(node, heard)| self.incarnations.heard(*node, heard.heartbeat, now));
        let heard = heard.iter().map(|(node, _)| *node).collect();
        self.incarnations.forget(&heard, |node| before.peer(node).is_some());
        // Who is heard though its port refuses is suspected, not removed.
        for node in self.incarnations.admit_heard(now) {
            probe::reached(Path::RefusedButHeard);
            if let Some(peer) = self.peers.get(&node) {
                monitor::suspect(&self.node, peer);
            }
        }
    }

    /// Another life of this node's name may have been started while this process was frozen or cut off, or both were
    /// started where they could not hear each other. The later one goes on.
    fn look_for_lives_of_this_name(&mut self, heard: &[(NodeHash, &Heard)]) {
        let takes_part = |state| matches!(state, HeardState::Joining | HeardState::Ready | HeardState::Leaving);
        for (node, heard) in heard.iter().filter(|(_, heard)| *heard.name == *self.node.config.name) {
            let lives = heard.alive && self.incarnations.has_moved(*node);
            if !lives || !takes_part(heard.state) {
                continue;
            }
            if heard.incarnation > self.node.identity.incarnation {
                self.node.replaced(heard.incarnation);
            } else if self.earlier_lives_told.insert(heard.incarnation) {
                warn!(name = %heard.name, addr = %heard.addr, incarnation = heard.incarnation,
                    "an earlier life of this node's name is running; it stops as soon as it hears of this one. \
                     Give each node its own name");
            }
        }
        self.earlier_lives_told.retain(|told| heard.iter().any(|(_, heard)| heard.incarnation == *told));
    }

    fn compute(&mut self, heard: &[(NodeHash, &Heard)], before: &Topology) -> View {
        let now = self.node.now();
        let me = Member {
            name: Arc::from(self.node.config.name.as_str()),
            incarnation: self.node.identity.incarnation,
            addr: self.node.identity.advertise,
            zone: Arc::from(self.node.config.zone.as_str()),
            state: self.own,
            terms: self.node.identity.terms,
        };
        let mut members = vec![me];
        let own_name = self.node.config.name.clone();
        for &(node, heard) in heard.iter().filter(|(_, heard)| *heard.name != *own_name) {
            let state = match heard.state {
                HeardState::Probing => continue,
                HeardState::Joining => MemberState::Joining,
                HeardState::Ready => MemberState::Ready,
                HeardState::Leaving => MemberState::Leaving,
                HeardState::Left => {
                    self.incarnations.left(node);
                    lock(&self.node.cluster.lost).left(&heard.name, heard.incarnation);
                    continue;
                }
            };
            let state = if self.incarnations.is_leaving(node) { MemberState::Leaving } else { state };
            if self.is_alive(node, heard, before.peer(node), now)
                && !self.incarnations.is_refused(node)
                && !self.incarnations.is_gone(node)
            {
                let (name, zone, terms) = (heard.name.clone(), heard.zone.clone(), heard.terms);
                members.push(Member { name, incarnation: heard.incarnation, addr: heard.addr, zone, state, terms });
            }
        }
        probe::reached_if(Path::TwoIncarnations, || {
            let names: BTreeSet<&str> = members.iter().map(|member| &*member.name).collect();
            names.len() < members.len()
        });
        View::new(members)
    }

    /// Whether this node comes back from being alone for longer than tombstones are kept. What it holds may have been
    /// ended meanwhile, and nobody would know any more. Of two nodes that were alone, one keeps what it has.
    fn missed_too_much(&mut self, view: &View, before: &Topology) -> bool {
        let now = self.node.now();
        if view.len() == 1 {
            if before.view.len() > 1 {
                self.alone_since = Some(now);
            }
            return false;
        }
        let retention = view.shortest_retention_ms();
        let Some(since) = self.alone_since.take() else { return false };
        let first = view.members().first().is_some_and(|member| *member.name == *self.node.config.name);
        now.ms_since(since) > retention && (view.len() > 2 || !first)
    }

    fn is_alive(&self, node: NodeHash, heard: &Heard, peer: Option<&Arc<Peer>>, now: Moment) -> bool {
        let interval_ms = self.node.identity.terms.gossip_interval_ms.max(heard.terms.gossip_interval_ms);
        // A node that did not run cannot know who was silent.
        let is_gone =
            |peer: &Arc<Peer>| self.node.is_awake(now) && lock(&peer.liveness).is_gone(&self.node.timing, now);
        self.incarnations.is_alive(node, heard.alive, peer.map(is_gone), interval_ms, now)
    }

    fn adopt(&mut self, view: View, before: &Arc<Topology>) {
        let now = self.node.now();
        let moved = view.hash() != before.hash();
        let nodes: BTreeSet<NodeHash> = view.members().iter().map(Member::node).collect();
        let mut former = Vec::new();
        for peer in before.peers().chain(&before.former).filter(|peer| !nodes.contains(&peer.node)) {
            let refused = self.incarnations.is_refused(peer.node);
            if self.incarnations.is_gone(peer.node) || refused {
                probe::reached_if(Path::RefusedRemoved, || refused);
                peer.stop.cancel();
            } else {
                former.push(peer.clone());
            }
        }
        if !former.is_empty() {
            self.former_since.get_or_insert(now);
        }
        self.peers.retain(|node, peer| {
            let keep = nodes.contains(node) || former.iter().any(|former| former.node == *node);
            if !keep {
                peer.stop.cancel();
            }
            keep
        });
        for member in view.members().iter().filter(|member| *member.name != *self.node.config.name) {
            if !self.peers.contains_key(&member.node()) {
                let peer = Arc::new(Peer::new(member.clone(), now, self.node.lifecycle.stop.child_token()));
                let link = outgoing::run(self.node.clone(), peer.clone());
                // It ends with its peer.
                self.node.lifecycle.life.spawn("link", link);
                self.peers.insert(peer.node, peer);
            }
        }
        let epoch = before.epoch + u64::from(moved);
        let slots = before.slots_of(&view);
        let placement = Placement::new(epoch, view, slots, &self.node.config.name);
        let placement = placement.replacing(before, &self.node.timing, now);
        let topology = Arc::new(Topology::new(placement, &self.peers, former));
        {
            // Together, for readers that conclude from both.
            let mut lost = lock(&self.node.cluster.lost);
            self.announce(&topology.view, before, &mut lost, now);
            lost.placed(&topology, now);
            self.node.cluster.topology.store(topology.clone());
        }
        self.node.store.ended.bound(topology.view.in_force().max_tombstones);
        self.differences.look_at(&topology.view);
        if moved {
            self.owners_changed(before, &topology);
        }
        let became_ready = |member: &Member| {
            let was = before.view.get(&member.name).filter(|was| was.incarnation == member.incarnation);
            member.state != MemberState::Joining && was.is_some_and(|was| was.state == MemberState::Joining)
        };
        if topology.view.members().iter().any(became_ready) {
            let (node, stop) = (self.node.clone(), self.node.lifecycle.stop.child_token());
            let life = node.lifecycle.life.clone();
            life.spawn("walk", async move {
                stop.run_until_cancelled(handoff::let_go_of_what_is_kept(node)).await;
            });
        }
        self.incarnations.joined(nodes);
        self.node.lifecycle.changed.notify_waiters();
    }

    /// Everything that depends on who owns what: forget, ask again, walk.
    fn owners_changed(&mut self, before: &Arc<Topology>, topology: &Arc<Topology>) {
        let node = &self.node;
        lock(&node.replication.confirmations)
            .owners_changed(|slot| before.owner_nodes(slot) != topology.owner_nodes(slot));
        for peer in topology.peers() {
            lock(&peer.outbox).unpark();
            peer.audits.want();
            peer.wake.notify_one();
        }
        let waiting = lock(&node.replication.acks).sessions();
        for id in waiting {
            probe::reached(Path::CommitReaimed);
            replication::mark_owners(
                node,
                id,
                sessionmesh_core::stamp::Stamp::PROBE,
                sessionmesh_core::outbox::Lane::Awaited,
            );
        }
        replication::review_acks(node);
        probe::reached_if(Path::WalkInterrupted, || node.replication.scanned.get() != before.epoch);
        self.walk.cancel();
        self.walk = node.lifecycle.stop.child_token();
        let walk = handoff::run(node.clone(), before.clone(), topology.clone(), self.incarnations.members());
        let stop = self.walk.clone();
        node.lifecycle.life.spawn("walk", async move {
            stop.run_until_cancelled(walk).await;
        });
    }

    fn announce(&self, view: &View, before: &Topology, lost: &mut LostMembers, now: Moment) {
        let node = &self.node;
        let idle_ms = before.view.in_force().largest(*view.in_force()).max_inactive_ms;
        for member in view.members() {
            let was = before.view.get(&member.name);
            if let Some(was) = was.filter(|was| was.incarnation != member.incarnation) {
                probe::reached(Path::QuickRestart);
                if !self.incarnations.is_leaving(was.node()) {
                    lost.add(was, true, now, idle_ms);
                }
            }
            lost.returned(&member.name, member.incarnation);
            if was.is_none() {
                probe::reached_if(Path::ReturnedAfterCut, || self.incarnations.was_member(member.node()));
                info!(name = %member.name, addr = %member.addr, "member up");
                node.emit(Event::MemberUp { name: member.name.clone() });
            }
        }
        for member in before.view.members().iter().filter(|member| view.get(&member.name).is_none()) {
            // It said so itself, or a newcomer has heard it from others before it found nobody at its address.
            let planned = self.incarnations.is_leaving(member.node()) || member.state == MemberState::Leaving;
            if planned {
                info!(name = %member.name, "member left");
            } else {
                warn!(name = %member.name, "member down");
                let dead = self.incarnations.is_dead(member.node());
                lost.add(member, dead, now, idle_ms);
            }
            node.emit(Event::MemberDown { name: member.name.clone(), planned });
        }
    }

    /// Once the view has settled, former members are of no more use.
    fn tidy(&mut self, topology: &Topology) {
        let now = self.node.now();
        let settled = self.node.is_current(topology, now);
        if settled {
            lock(&self.node.cluster.lost).settled(topology, now);
        }
        let old = self.former_since.is_some_and(|since| now.ms_since(since) > FORMER_MS_MAX);
        if topology.former.is_empty() || !(settled || old) {
            return;
        }
        self.former_since = None;
        for peer in &topology.former {
            peer.stop.cancel();
            self.peers.remove(&peer.node);
        }
        let view = topology.view.clone();
        let (slots, name) = (topology.slots.clone(), &self.node.config.name);
        let without = Placement::new(topology.epoch, view, slots, name).replacing(topology, &self.node.timing, now);
        self.node.cluster.topology.store(Arc::new(Topology::new(without, &self.peers, Vec::new())));
    }
}
