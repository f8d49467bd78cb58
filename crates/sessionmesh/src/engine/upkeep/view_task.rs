//! From what gossip and links say to a view, and from a view to links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::id::NodeHash;
use sessionmesh_core::membership::evidence::Evidence;
use sessionmesh_core::membership::gossiped::MemberInfo;
use sessionmesh_core::membership::members::{Change, Members, Review};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::Placement;
use sessionmesh_core::placement::view::{Member, MemberState, View};
use sessionmesh_core::replication::outbox::Lane;
use sessionmesh_core::stamp::Stamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, warn};

use super::differences::Differences;
use super::other_versions::OtherVersions;
use super::{handoff_scan, monitor};
use crate::engine::link::outgoing;
use crate::engine::replication;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::topology::Topology;
use crate::event::Event;
use crate::lock::lock;
use crate::membership::Membership;
use crate::spans;

/// Addresses of strangers that wait to be introduced to gossip. More are dropped: gossip finds them by itself.
pub(crate) const STRANGERS_MAX: usize = 64;

/// How often the view is computed even if nothing was reported.
const REVIEW: Duration = Duration::from_millis(100);
/// Links to former members are kept for so long at most.
const FORMER_MS_MAX: u64 = 10_000;

/// The task that computes views.
pub(crate) struct ViewTask {
    node: Arc<Node>,
    membership: Arc<Membership>,
    /// All peers with a link, by incarnation.
    peers: BTreeMap<NodeHash, Arc<Peer>>,
    members: Members,
    former_since: Option<Moment>,
    differences: Differences,
    other_versions: OtherVersions,
    /// Ends the hand-off scan.
    scan: CancellationToken,
}

impl ViewTask {
    pub(crate) fn new(node: Arc<Node>, membership: Arc<Membership>) -> Self {
        let topology = node.topology();
        let members = Members::new(topology.view.members()[usize::from(topology.me)].clone(), node.identity.versions);
        Self {
            node,
            membership,
            peers: BTreeMap::new(),
            members,
            former_since: None,
            differences: Differences::default(),
            other_versions: OtherVersions::default(),
            scan: CancellationToken::new(),
        }
    }

    /// Computes views until the node stops.
    pub(crate) async fn run(
        mut self,
        mut evidence: mpsc::Receiver<Evidence>,
        mut strangers: mpsc::Receiver<SocketAddr>,
    ) {
        let mut gossip = self.membership.heard();
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
                changed = gossip.changed() => if changed.is_err() {
                    // The node stops, or the task that hears has failed, which will be said of that one.
                    self.node.lifecycle.stop.cancelled().await;
                    break;
                },
                _ = reviews.tick() => {}
            }
            let said = gossip.borrow_and_update().clone();
            self.review(&said);
        }
        for peer in self.peers.values() {
            peer.stop.cancel();
        }
        // A node that stopped by itself must not be heard any more.
        self.membership.stop();
    }

    fn note(&mut self, evidence: Evidence) {
        let has_link = matches!(evidence, Evidence::Refused(node) if self.peers.contains_key(&node));
        let joins = self.node.lifecycle.joins.load(Ordering::Acquire);
        self.members.on_evidence(evidence, has_link, joins, self.node.now());
    }

    /// Computes the view from what gossip says, and adopts it if it is another one.
    pub(crate) fn review(&mut self, gossip: &[MemberInfo]) {
        let (node, now) = (self.node.clone(), self.node.now());
        let before = node.topology();
        for suspect in self.members.on_gossip(gossip, |node| before.peer(node).is_some(), now) {
            if let Some(peer) = self.peers.get(&suspect) {
                monitor::suspect(&node, peer);
            }
        }
        self.look_for_lives_of_this_name(gossip);
        self.other_versions.look_at(&node, &self.members, gossip);
        // A node that did not run cannot know who was silent.
        let is_gone = |peer: &Arc<Peer>| node.is_awake(now) && lock(&peer.liveness).is_removable(&node.timing, now);
        let Review { view, discard, left } =
            self.members.review(gossip, &before.view, |node| before.peer(node).map(is_gone), now);
        for (name, incarnation) in left {
            lock(&node.cluster.lost).left(&name, incarnation);
        }
        if discard {
            coverage::reached(Path::CopiesDiscarded);
            node.emit(Event::CopiesDiscarded);
            node.store.clear();
            node.lifecycle.joins.fetch_add(1, Ordering::AcqRel);
            node.lifecycle.rejoin.notify_one();
        }
        if view == before.view {
            self.tidy(&before);
        } else {
            self.adopt(view, &before);
        }
    }

    fn look_for_lives_of_this_name(&mut self, gossip: &[MemberInfo]) {
        let lives = self.members.other_lives(gossip);
        for earlier in lives.earlier {
            warn!(name = %earlier.name, addr = %earlier.addr, incarnation = earlier.incarnation,
                "an earlier incarnation of this node's name is running; it stops as soon as it hears of this one. \
                 Give each node its own name");
        }
        if let Some(later) = lives.later {
            self.node.replaced(later);
        }
    }

    fn adopt(&mut self, view: View, before: &Arc<Topology>) {
        let now = self.node.now();
        let moved = view.hash() != before.hash();
        let nodes: BTreeSet<NodeHash> = view.members().iter().map(Member::node).collect();
        let mut former = Vec::new();
        for peer in before.peers().chain(&before.former).filter(|peer| !nodes.contains(&peer.node)) {
            if self.members.is_over(peer.node) {
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
        let changes = self.members.changes(&before.view, &topology.view);
        if moved {
            // Before anybody can see the new view: nothing under it may count what was said before.
            self.peers.values().for_each(|peer| lock(&peer.liveness).own_view_changed(now));
        }
        {
            // Together, for readers that conclude from both.
            let mut lost = lock(&self.node.cluster.lost);
            let idle_ms = before.view.in_force().largest(*topology.view.in_force()).max_inactive_ms;
            lost.view_changed(&changes, &topology.view, now, idle_ms);
            lost.placed(&topology, now);
            self.node.cluster.topology.store(topology.clone());
        }
        announce(&self.node, &changes);
        self.node.emit(Event::ViewChanged { members: topology.view.len() });
        self.node.store.tombstones.bound(topology.view.in_force().max_tombstones);
        self.differences.look_at(&topology.view, |event| self.node.emit(event));
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
            life.spawn("release", async move {
                stop.run_until_cancelled(handoff_scan::release_confirmed(node)).await;
            });
        }
        self.members.adopted(&topology.view);
        self.node.lifecycle.changed.notify_waiters();
    }

    /// Everything that depends on who owns what: forget, ask again, scan.
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
            coverage::reached(Path::CommitReaimed);
            replication::mark_owners(node, id, Stamp::DIGEST_ONLY, Lane::Awaited, node.now());
        }
        replication::review_acks(node);
        coverage::reached_if(Path::ScanInterrupted, || node.replication.scanned.get() != before.epoch);
        self.scan.cancel();
        self.scan = node.lifecycle.stop.child_token();
        let scan = handoff_scan::scan(node.clone(), before.clone(), topology.clone(), self.members.known());
        let (stop, span) = (self.scan.clone(), spans::handover(&node.config.name, topology.view.len()));
        node.lifecycle.life.spawn("handoff", async move {
            stop.run_until_cancelled(scan.instrument(span)).await;
        });
    }

    /// Once the view has settled, former members are of no more use.
    fn tidy(&mut self, topology: &Topology) {
        let now = self.node.now();
        let settled = self.node.is_current(topology, now);
        if settled {
            lock(&self.node.cluster.lost).cluster_is_whole(topology, now);
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

/// Tells who came and who is gone.
fn announce(node: &Node, changes: &[Change<'_>]) {
    for change in changes {
        match *change {
            Change::Up(member) => {
                node.emit(Event::MemberUp { name: member.name.clone() });
            }
            Change::Restarted { .. } => {}
            Change::Down { member, planned, .. } => {
                node.emit(Event::MemberDown { name: member.name.clone(), planned });
            }
        }
    }
}
