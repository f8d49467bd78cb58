//! What the steps of the model share: who owns what, what is known of a peer, marks, and views that are adopted. It follows
//! `engine::replication` and `engine::upkeep::view_task`, and leaves what they decide to the rules of `sessionmesh-core`.

use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::{NodeHash, Slot};
use sessionmesh_core::liveness::peer::PeerStatus;
use sessionmesh_core::placement::view::ViewHash;
use sessionmesh_core::replication::acks::{Ack, Acks, Holds};
use sessionmesh_core::replication::outbox::{Item, Lane, Outbox, Sent};
use sessionmesh_core::replication::release::{HandoffConfirmations, is_droppable};
use sessionmesh_core::replication::targets::{self, Targets};
use sessionmesh_core::stamp::Stamp;

use crate::bounds::Bounds;
use crate::cluster::{
    Answer, Cluster, Confirmed, END, Held, JOINING, Lease, Mark, NODES, Outgoing, Peer, SESSIONS, Stage, View, hashed,
    life_of, state_of,
};
use crate::liveness;
use crate::merges::{Merges, QUESTION, id_in, stamp};
use crate::places::{self, BACKUPS, NOW, TIMING, hash_of, node_hash, who};
use crate::promises::Promise;

/// A model to check: what may happen, and which mistake is planted.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// What may happen.
    pub bounds: Bounds,
    /// The mistake, if one is planted.
    pub bug: Option<Bug>,
    slots: [Slot; SESSIONS],
    pub(crate) merges: Merges,
}

const LANES: [Lane; 3] = [Lane::Awaited, Lane::Usual, Lane::Bulk];

/// The lane of awaited marks.
pub(crate) const AWAITED: u8 = 0;
/// The lane of others.
pub(crate) const USUAL: u8 = 1;
/// The lane of hand-over and repair.
pub(crate) const BULK: u8 = 2;

impl Mesh {
    /// The model of these bounds.
    #[must_use]
    pub fn new(bounds: Bounds, bug: Option<Bug>) -> Self {
        failpoint::plant(bug);
        let merges = Merges::computed();
        let slots =
            std::array::from_fn(|session| places::slot_ranked(bounds.ranks[session.min(bounds.sessions() - 1)]));
        Self { slots, bounds, bug, merges }
    }

    /// The slot of a session.
    #[must_use]
    pub fn slot(&self, session: usize) -> Slot {
        self.slots[session]
    }

    /// Whether a node owns a session by its own view.
    pub(crate) fn is_owner(&self, cluster: &Cluster, at: usize, session: usize) -> bool {
        places::plain(at, cluster.nodes[at].view).is_owner(self.slot(session))
    }

    /// Whether there may still be a link to a life that is not in the view any more.
    #[allow(clippy::unused_self, reason = "it is one of several that are asked alike")]
    pub(crate) fn is_former(&self, cluster: &Cluster, at: usize, to: usize) -> bool {
        let node = &cluster.nodes[at];
        at != to && node.peers[to].life != 0 && life_of(node.view[to]) != node.peers[to].life
    }

    /// What the rules look at of a member, or of a former one.
    #[allow(clippy::unused_self, reason = "it is one of several that are asked alike")]
    pub(crate) fn status_of(&self, cluster: &Cluster, at: usize, to: usize) -> Option<PeerStatus> {
        let peer = &cluster.nodes[at].peers[to];
        (at != to && peer.life != 0).then(|| liveness::status(peer))
    }

    fn status_by_hash(&self, cluster: &Cluster, at: usize, node: NodeHash) -> Option<PeerStatus> {
        let (to, life) = who(node);
        self.status_of(cluster, at, to).filter(|_| cluster.nodes[at].peers[to].life == life)
    }

    /// Whom a commit waits for.
    pub(crate) fn targets(&self, cluster: &Cluster, at: usize, session: usize) -> Targets {
        let node = &cluster.nodes[at];
        let placement = places::placed(at, node.view, node.earlier);
        let recovering = node.peers.iter().any(|peer| peer.life != 0 && peer.doubted);
        let status = |node| self.status_by_hash(cluster, at, node);
        targets::targets(&placement, self.slot(session), recovering, status, &TIMING, NOW)
    }

    /// Marks what a node holds as dirty for a peer.
    pub(crate) fn mark(&self, cluster: &mut Cluster, at: usize, to: usize, session: usize, mark: Mark) {
        let item = Item::Session(id_in(self.slot(session)));
        let peer = &mut cluster.nodes[at].peers[to];
        let owed = mark.owed || peer.suspected;
        let outgoing = &mut peer.outgoing[session];
        let mut outbox = real_outbox(outgoing, item);
        outbox.mark(item, stamp(mark.from), LANES[usize::from(mark.lane)], owed);
        outgoing.parked = outbox.parked() > 0;
        outgoing.mark = outbox.take().map(|(_, from, lane, owed)| Mark { from: number(from), lane: lane as u8, owed });
    }

    /// Marks it for all who must have it: each owner, who is displaced, and, with `stand_ins`, one for each owner that is
    /// left out.
    pub(crate) fn mark_for_all(&self, cluster: &mut Cluster, at: usize, session: usize, mark: Mark, stand_ins: bool) {
        let (slot, node) = (self.slot(session), &cluster.nodes[at]);
        let placement = places::placed(at, node.view, node.earlier);
        let status = |node| self.status_by_hash(cluster, at, node);
        let is_left_out = |node: &NodeHash| status(*node).is_some_and(|peer| peer.left_out);
        let owners: Vec<_> = placement.owners(slot).collect();
        let missing = owners.iter().filter(|owner| is_left_out(owner)).count();
        let displaced = placement.displaced(slot, status, &TIMING, NOW);
        let stand_ins = targets::stand_ins(&placement, slot, if stand_ins { missing } else { 0 }, status);
        let all: Vec<_> = owners.iter().copied().chain(displaced).chain(stand_ins).collect();
        for to in all {
            self.mark(cluster, at, who(to).0, session, mark);
        }
    }

    /// Looks again at the commits that wait on a node: enough may have answered.
    pub(crate) fn review(&self, cluster: &mut Cluster, at: usize) {
        for session in 0..self.bounds.sessions() {
            let Some(commit) = cluster.nodes[at].commits[session] else { continue };
            let targets = self.targets(cluster, at, session);
            if let Some(copies) = self.reached(cluster, at, session, &targets) {
                cluster.nodes[at].commits[session] = None;
                acknowledged(cluster, at, session, usize::from(commit.fact), copies, commit.calm);
            }
        }
    }

    /// The copies that a commit tells of, if it need not wait any longer.
    fn reached(&self, cluster: &Cluster, at: usize, session: usize, targets: &Targets) -> Option<usize> {
        let node = &cluster.nodes[at];
        let commit = node.commits[session]?;
        let id = id_in(self.slot(session));
        let mut acks = Acks::default();
        acks.wait(id, 1, Ack::Owners, ());
        // Nobody's answer is enough for these, so that all that were given are looked at together.
        let nobodys = Targets { owners: vec![NodeHash(0)], ..targets.clone() };
        for to in 0..NODES {
            let holds = match commit.answers[to] {
                None => continue,
                Some(Answer::Kept(view)) => Holds::Kept(hash_of(view)),
                Some(Answer::InTransit) => Holds::InTransit,
            };
            acks.on_ack(id, node_hash(to, node.peers[to].life.max(1)), 1, holds, &nobodys);
        }
        acks.review(id, targets).first().map(|done| done.copies)
    }

    /// Whether an answer to something sent then counts for the commit that waits.
    pub(crate) fn counts(&self, before_commit: bool, session: usize) -> bool {
        let id = id_in(self.slot(session));
        let (mut acks, node) = (Acks::default(), NodeHash(1));
        acks.wait(id, 1, Ack::Copies(1), ());
        let targets =
            Targets { owners: vec![node], stand_ins: Vec::new(), also_awaited: Vec::new(), view: ViewHash(1) };
        !acks.on_ack(id, node, u64::from(!before_commit), Holds::InTransit, &targets).is_empty()
    }

    /// Drops a copy that this node does not own, if all owners keep it.
    pub(crate) fn drop_if_handed_off(&self, cluster: &mut Cluster, at: usize, session: usize) {
        let (slot, node) = (self.slot(session), &cluster.nodes[at]);
        let placement = places::plain(at, node.view);
        let held = node.store[session];
        if held == Held::NOTHING || !is_droppable(placement, slot, || node.commits[session].is_some()) {
            return;
        }
        let owners = placement.owner_nodes(slot);
        let (id, version) = (id_in(slot), |held: Held| (u64::from(held.0), NOW));
        let mut confirmations = HandoffConfirmations::default();
        let Confirmed { version: confirmed, by } = node.confirmed[session];
        for to in (0..NODES).filter(|to| by >> to & 1 == 1) {
            confirmations.kept(id, version(confirmed), node_hash(to, life_of(node.view[to]).max(1)));
        }
        let all_keep = confirmations.may_drop(id, version(held), &owners);
        if all_keep || failpoint::planted(Bug::LetGoWithoutKept) {
            cluster.nodes[at].store[session] = Held::NOTHING;
            cluster.nodes[at].confirmed[session] = Confirmed::default();
            judge_let_go(cluster, at, session, held);
        }
    }

    /// Another view is in force on a node.
    pub(crate) fn adopt(&self, cluster: &mut Cluster, at: usize, view: View) {
        let node = &mut cluster.nodes[at];
        let old = std::mem::replace(&mut node.view, view);
        if hashed(old) == hashed(view) {
            let became_ready = |to: usize| state_of(view[to]) != JOINING && state_of(old[to]) == JOINING;
            if (0..NODES).any(|to| view[to] != 0 && became_ready(to)) {
                self.release_confirmed(cluster, at);
            }
        } else {
            node.earlier = match node.earlier {
                [earlier, last] if last != [0; NODES] && earlier == [0; NODES] => [last, old],
                [_, last] => [last, old],
            };
            node.before = old;
            node.known_at_scan = node.known;
            node.scanned = false;
            for peer in &mut node.peers {
                peer.caught_up = [0; NODES];
                if !failpoint::planted(Bug::OldReportCounts) {
                    peer.view = [0; NODES];
                    peer.view_outlasts_leases = false;
                    peer.lease = Lease::None;
                }
            }
            self.owners_changed(cluster, at, old, view);
        }
        let node = &mut cluster.nodes[at];
        for to in (0..NODES).filter(|to| view[*to] != 0) {
            node.known |= known_bit(to, life_of(view[to]));
        }
        self.tidy(cluster, at);
    }

    /// Everything that depends on who owns what: forget, ask again, look again.
    fn owners_changed(&self, cluster: &mut Cluster, at: usize, old: View, view: View) {
        let (before, after) = (places::plain(at, old), places::plain(at, view));
        for session in 0..self.bounds.sessions() {
            let slot = self.slot(session);
            if before.owner_nodes(slot) != after.owner_nodes(slot) {
                cluster.nodes[at].confirmed[session] = Confirmed::default();
            }
            for to in 0..NODES {
                if let Some(way) = &mut cluster.nodes[at].peers[to].outgoing[session].way {
                    way.this_epoch = false;
                }
            }
        }
        for to in (0..NODES).filter(|to| *to != at && view[*to] != 0) {
            self.unpark(cluster, at, to);
            cluster.nodes[at].peers[to].audit = true;
        }
        for session in 0..self.bounds.sessions() {
            if cluster.nodes[at].commits[session].is_some() {
                let mark = Mark { from: QUESTION, lane: AWAITED, owed: false };
                self.mark_for_all(cluster, at, session, mark, true);
            }
        }
        self.review(cluster, at);
    }

    fn release_confirmed(&self, cluster: &mut Cluster, at: usize) {
        for session in 0..self.bounds.sessions() {
            if cluster.nodes[at].confirmed[session].by != 0 {
                self.drop_if_handed_off(cluster, at, session);
            }
        }
    }

    /// The views changed: ask again for all that was parked.
    pub(crate) fn unpark(&self, cluster: &mut Cluster, at: usize, to: usize) {
        for session in 0..self.bounds.sessions() {
            let outgoing = &mut cluster.nodes[at].peers[to].outgoing[session];
            if std::mem::take(&mut outgoing.parked) {
                self.mark(cluster, at, to, session, Mark { from: QUESTION, lane: USUAL, owed: false });
            }
        }
    }

    /// Former members are of no more use once a node may trust its copies, nor earlier views once no lease of them can run.
    pub(crate) fn tidy(&self, cluster: &mut Cluster, at: usize) {
        let current = crate::reads::is_current(self, cluster, at);
        let former: [bool; NODES] = std::array::from_fn(|to| self.is_former(cluster, at, to));
        let node = &mut cluster.nodes[at];
        for to in (0..NODES).filter(|to| former[*to] && current) {
            node.peers[to] = Peer::default();
        }
        let view = hashed(node.view);
        let may_serve = |peer: &Peer| peer.granted && peer.view != view;
        if !node.peers.iter().any(may_serve) {
            node.earlier = [[0; NODES]; 2];
        }
    }
}

/// The bit of a life of a node.
pub(crate) const fn known_bit(node: usize, life: u8) -> u8 {
    1 << (2 * node as u8 + life - 1)
}

/// The outbox that holds just this.
fn real_outbox(outgoing: &Outgoing, item: Item) -> Outbox {
    let mut outbox = Outbox::default();
    if let Some(way) = outgoing.way {
        outbox.mark(item, stamp(way.mark.from), LANES[usize::from(way.mark.lane)], way.mark.owed);
        let (item, from, lane, owed) = outbox.take().expect("it was marked");
        let version = (u64::from(way.sent.0), NOW);
        outbox.departed(vec![Sent { item, from, lane, counter: 0, version, owed, epoch: 0 }]);
    }
    if outgoing.parked {
        outbox.park(item);
    }
    if let Some(mark) = outgoing.mark {
        outbox.mark(item, stamp(mark.from), LANES[usize::from(mark.lane)], mark.owed);
    }
    outbox
}

fn number(from: Stamp) -> u8 {
    if from == Stamp::DIGEST_ONLY { QUESTION } else { u8::try_from(from.counter).expect("there are few") }
}

/// A commit returns: what it says is judged.
pub(crate) fn acknowledged(cluster: &mut Cluster, at: usize, session: usize, number: usize, copies: usize, calm: bool) {
    let others = cluster.alive().count() - 1;
    let fact = &mut cluster.facts[session][number];
    fact.stage = Stage::Acknowledged;
    fact.copies = u8::try_from(copies).expect("there are few").min(BACKUPS);
    let holders = (fact.holders & !(1 << at)).count_ones();
    if usize::try_from(holders).expect("there are few") < copies {
        cluster.break_promise(Promise::CopiesTold);
    }
    if calm && copies < others.min(usize::from(BACKUPS)) {
        cluster.break_promise(Promise::AllCopies);
    }
}

/// What was let go of is on another node, or was on one that crashed.
fn judge_let_go(cluster: &mut Cluster, at: usize, session: usize, held: Held) {
    for number in (0..=END).filter(|number| held.has(*number)) {
        let fact = cluster.facts[session][number];
        let lives = cluster.alive().any(|(other, node)| other != at && node.store[session].has(number));
        if fact.stage > Stage::No && !lives && fact.crashed == 0 {
            cluster.break_promise(Promise::LetGoKept);
        }
    }
}
