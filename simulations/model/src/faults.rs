//! What happens to nodes and links, and what visitors ask for.

use crate::cluster::{
    Cluster, Commit, END, Fact, Held, JOINING, LEAVING, Lease, Mark, NODES, Node, Peer, Phase, READY, Stage, WRITES,
    entry, life_of, state_of,
};
use crate::merges::WHOLE;
use crate::mesh::{AWAITED, Mesh, known_bit};
use crate::places::{self, LIVES, node_hash};
use crate::reads::{Said, reads};
use crate::steps::Step;

impl Mesh {
    /// All that may happen to the cluster.
    pub(crate) fn events(&self, cluster: &Cluster, steps: &mut Vec<Step>) {
        for at in 0..NODES {
            let node = &cluster.nodes[at];
            match node.phase {
                Phase::Up => self.events_of(cluster, at, steps),
                Phase::Frozen => steps.push(Step::Thaw { at }),
                Phase::Down if cluster.left.joins > 0 && node.life < LIVES => steps.push(Step::Start { at }),
                Phase::Down | Phase::Left => {}
            }
        }
        if cluster.cut != 0 {
            steps.push(Step::Heal);
        } else if cluster.left.cuts > 0 {
            // One link, or all links of one node.
            steps.extend([0b001, 0b010, 0b100, 0b011, 0b101, 0b110].map(|links| Step::Cut { links }));
        }
    }

    fn events_of(&self, cluster: &Cluster, at: usize, steps: &mut Vec<Step>) {
        let left = &cluster.left;
        if left.crashes > 0 {
            steps.push(Step::Crash { at });
        }
        if left.stalls > 0 {
            steps.push(Step::Freeze { at });
        }
        let state = state_of(cluster.nodes[at].view[at]);
        if left.leaves > 0 && state == READY && cluster.alive().count() > 1 {
            steps.push(Step::Leave { at });
        }
        for session in 0..self.bounds.sessions() {
            if let Some(commit) = cluster.nodes[at].commits[session] {
                if !commit.calm || left.unawaited > 0 {
                    steps.push(Step::GiveUp { at, session });
                }
                continue;
            }
            if self.bounds.writers >> at & 1 == 0 || state == JOINING {
                continue;
            }
            let facts = &cluster.facts[session];
            if self.may_write(cluster, at, session) {
                steps.push(Step::Write { at, session });
            }
            let held = cluster.nodes[at].store[session];
            if left.late_saves > 0
                && facts[0].stage > Stage::No
                && held != Held::ENDED
                && next(cluster, session).is_some()
            {
                steps.push(Step::LateSave { at, session });
            }
            if left.ends > 0 && facts[0].stage > Stage::No && facts[END].stage == Stage::No {
                steps.push(Step::End { at, session });
            }
        }
    }

    fn may_write(&self, cluster: &Cluster, at: usize, session: usize) -> bool {
        let made = made(cluster, session);
        if made >= usize::from(self.bounds.budget.writes) {
            return false;
        }
        match made {
            0 => places::plain(at, cluster.nodes[at].view).is_primary(self.slot(session)),
            _ => self.base(cluster, at, session).is_some(),
        }
    }

    /// What a request on this node reads, if it finds the session.
    fn base(&self, cluster: &Cluster, at: usize, session: usize) -> Option<Held> {
        let mut found = None;
        reads(self, cluster, at, session, |said| {
            if let Said::Live(held) = said {
                found.get_or_insert(held);
            }
        });
        found
    }

    /// Lets something happen.
    pub(crate) fn happen(&self, cluster: &mut Cluster, step: Step) {
        match step {
            Step::Write { at, session } => {
                let base = if made(cluster, session) == 0 { None } else { self.base(cluster, at, session) };
                self.write(cluster, at, session, base.unwrap_or(Held::NOTHING));
            }
            Step::LateSave { at, session } => {
                cluster.left.late_saves -= 1;
                self.write(cluster, at, session, Held(1));
            }
            Step::End { at, session } => {
                cluster.left.ends -= 1;
                self.commit(cluster, at, session, END, Held::ENDED, WHOLE);
            }
            Step::GiveUp { at, session } => {
                if cluster.nodes[at].commits[session].take().is_some_and(|commit| commit.calm) {
                    cluster.left.unawaited -= 1;
                }
            }
            Step::Crash { at } => {
                cluster.left.crashes -= 1;
                for fact in cluster.facts.iter_mut().flatten().filter(|fact| fact.stage > Stage::No) {
                    fact.crashed |= 1 << at;
                }
                for fact in cluster.facts.iter_mut().flatten() {
                    fact.repaired &= !(1 << at);
                }
                end_life(cluster, at, Phase::Down);
            }
            Step::Stop { at } => end_life(cluster, at, Phase::Left),
            Step::Start { at } => self.start(cluster, at),
            Step::Leave { at } => {
                cluster.left.leaves -= 1;
                let mut view = cluster.nodes[at].view;
                view[at] = entry(cluster.nodes[at].life, LEAVING);
                self.adopt(cluster, at, view);
            }
            Step::Freeze { at } => {
                cluster.left.stalls -= 1;
                cluster.nodes[at].phase = Phase::Frozen;
                // The second of two: each may go on without the changes of the other.
                cluster.split |= std::mem::replace(&mut cluster.was_frozen, true);
            }
            Step::Thaw { at } => self.thaw(cluster, at),
            Step::Cut { links } => {
                cluster.left.cuts -= 1;
                cluster.cut = links;
                cluster.split = true;
            }
            Step::Heal => cluster.cut = 0,
            _ => unreachable!("{step} does not just happen"),
        }
    }

    fn write(&self, cluster: &mut Cluster, at: usize, session: usize, base: Held) {
        let Some(number) = next(cluster, session) else { return };
        let held = Held(cluster.nodes[at].store[session].0 | base.0 | 1 << number);
        let from = if number == 0 { WHOLE } else { u8::try_from(number).expect("there are few") + 1 };
        self.commit(cluster, at, session, number, held, from);
    }

    fn commit(&self, cluster: &mut Cluster, at: usize, session: usize, number: usize, held: Held, from: u8) {
        let calm = cluster.is_calm();
        cluster.facts[session][number] = Fact { stage: Stage::Made, whole: !cluster.split, ..Fact::default() };
        cluster.hold(at, session, held);
        for peer in &mut cluster.nodes[at].peers {
            if let Some(way) = &mut peer.outgoing[session].way {
                way.before_commit = true;
            }
        }
        let fact = u8::try_from(number).expect("there are few");
        cluster.nodes[at].commits[session] = Some(Commit { fact, calm, answers: [None; NODES] });
        self.mark_for_all(cluster, at, session, Mark { from, lane: AWAITED, owed: false }, true);
    }

    fn start(&self, cluster: &mut Cluster, at: usize) {
        cluster.left.joins -= 1;
        // A node that is started while another one cannot be heard counts as split.
        cluster.split |= cluster.cut != 0 || cluster.nodes.iter().any(|node| node.phase == Phase::Frozen);
        let life = cluster.nodes[at].life + 1;
        let mut alone = [0; NODES];
        alone[at] = entry(life, JOINING);
        let known = known_bit(at, life);
        cluster.nodes[at] =
            Node { life, phase: Phase::Up, view: alone, before: alone, scanned: true, known, ..Node::default() };
        let mut view = alone;
        let heard: [bool; NODES] = std::array::from_fn(|to| to != at && cluster.hears(at, to));
        for to in (0..NODES).filter(|to| heard[*to]) {
            view[to] = cluster.nodes[to].view[to];
            cluster.nodes[at].peers[to] = Peer::new(life_of(view[to]));
        }
        self.adopt(cluster, at, view);
    }

    /// A node runs again after at least as long as a lease lasts: none runs any more that it granted or was granted.
    fn thaw(&self, cluster: &mut Cluster, at: usize) {
        cluster.nodes[at].phase = Phase::Up;
        for to in (0..NODES).filter(|to| *to != at) {
            self.lease_over(cluster, at, to);
            self.lease_over(cluster, to, at);
            let peer = &mut cluster.nodes[at].peers[to];
            if peer.life == 0 {
                continue;
            }
            if let Lease::Runs(view) = peer.lease {
                peer.lease = Lease::Over(view);
            }
            peer.doubted = true;
            peer.view = [0; NODES];
            peer.view_outlasts_leases = false;
            peer.silence = 0;
        }
        for to in 0..NODES {
            self.maybe_left_out(cluster, at, to);
        }
    }

    /// What every step is followed by: commits that need not wait any longer return, and what is of no more use goes.
    pub(crate) fn follow_up(&self, cluster: &mut Cluster) {
        for at in 0..NODES {
            if cluster.nodes[at].phase != Phase::Up {
                continue;
            }
            self.review(cluster, at);
            self.tidy(cluster, at);
            let joining = Self::is_joining(cluster, at);
            let node = &mut cluster.nodes[at];
            let own = node_hash(at, node.life);
            for (to, peer) in node.peers.iter_mut().enumerate().filter(|(_, peer)| peer.life != 0) {
                // An audit that the other one begins is none of this node's.
                peer.audit &= joining || own < node_hash(to, peer.life);
            }
        }
    }
}

/// Writes that were made.
fn made(cluster: &Cluster, session: usize) -> usize {
    cluster.facts[session][..WRITES].iter().filter(|fact| fact.stage > Stage::No).count()
}

/// The number of the next write.
fn next(cluster: &Cluster, session: usize) -> Option<usize> {
    Some(made(cluster, session)).filter(|made| *made < WRITES)
}

/// A life ends: what the node held is gone, and its connections with it.
fn end_life(cluster: &mut Cluster, at: usize, phase: Phase) {
    cluster.nodes[at] = Node { life: cluster.nodes[at].life, phase, ..Node::default() };
    for node in &mut cluster.nodes {
        if node.peers[at].life != 0 {
            node.peers[at].break_link();
        }
    }
}
