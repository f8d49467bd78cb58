//! What nodes do by themselves, each step as the engine does it.

use std::collections::BTreeSet;

use sessionmesh_core::failpoint::{Bug, planted};
use sessionmesh_core::placement::drain::{self, Drain};
use sessionmesh_core::placement::handoff::Handoff;
use sessionmesh_core::placement::transition::{Donor, donor};

use crate::cluster::{
    Answer, Cluster, Confirmed, Held, JOINING, LEAVING, Lease, Mark, NODES, Peer, Phase, READY, Verdict, Way, entry,
    hashed, life_of, state_of,
};
use crate::liveness;
use crate::merges::{Merged, QUESTION, WHOLE};
use crate::mesh::{AWAITED, BULK, Mesh, USUAL, known_bit};
use crate::places::{self, LIVES, hash_of, node_hash};
use crate::steps::Step;

impl Mesh {
    /// Whether some node has something to do by itself.
    pub(crate) fn has_work(&self, cluster: &Cluster) -> bool {
        let mut steps = Vec::new();
        self.work(cluster, &mut steps);
        !steps.is_empty()
    }

    /// All that nodes can do by themselves.
    pub(crate) fn work(&self, cluster: &Cluster, steps: &mut Vec<Step>) {
        for at in 0..NODES {
            let node = &cluster.nodes[at];
            if node.phase == Phase::Up {
                self.work_alone(cluster, at, steps);
            }
            for to in (0..NODES).filter(|to| *to != at) {
                if node.phase == Phase::Up {
                    self.work_with(cluster, at, to, steps);
                }
                let peer = &node.peers[to];
                // A ping comes several times in each lease.
                let renewed = cluster.reaches(to, at) && liveness::pinged(cluster, to, at).0.lease != Lease::None;
                if peer.granted && !renewed {
                    steps.push(Step::LeaseOver { at, to });
                }
            }
        }
    }

    fn work_alone(&self, cluster: &Cluster, at: usize, steps: &mut Vec<Step>) {
        let node = &cluster.nodes[at];
        if !node.scanned {
            steps.push(Step::Scan { at });
        }
        if self.is_to_be_ready(cluster, at) {
            steps.push(Step::Ready { at });
        }
        if state_of(node.view[at]) == LEAVING {
            let held = node.store.iter().filter(|held| **held != Held::NOTHING).count();
            let held = if planted(Bug::LeaveWithoutWaiting) { 0 } else { held };
            let waiting_commits = node.commits.iter().flatten().count();
            let drain = Drain { scanned: node.scanned, waiting_commits, held };
            if drain::is_done(places::plain(at, node.view), drain) {
                steps.push(Step::Stop { at });
            }
        }
    }

    fn work_with(&self, cluster: &Cluster, at: usize, to: usize, steps: &mut Vec<Step>) {
        let node = &cluster.nodes[at];
        let (peer, other) = (&node.peers[to], &cluster.nodes[to]);
        if other.phase == Phase::Up && cluster.hears(at, to) && node.view[to] != other.view[to] {
            steps.push(Step::Learn { at, to });
        }
        if peer.life == 0 {
            return;
        }
        let is_gone = matches!(other.phase, Phase::Down | Phase::Left) && !cluster.is_cut(at, to);
        if node.view[to] != 0 && (is_gone || (!cluster.hears(at, to) && peer.silence > 0)) {
            steps.push(Step::Remove { at, to });
        }
        if !cluster.reaches(at, to) {
            let hangs = other.phase == Phase::Frozen || cluster.is_cut(at, to);
            if peer.silence == 0 && hangs {
                steps.push(Step::Silence { at, to });
            }
            if peer.silence == 1 && node.view[to] != 0 && cluster.hears(at, to) {
                steps.push(Step::LongSilence { at, to });
            }
            return;
        }
        for (session, outgoing) in peer.outgoing.iter().enumerate() {
            if outgoing.mark.is_some() && outgoing.way.is_none() {
                steps.push(Step::Send { at, to, session });
            }
            if outgoing.way.is_some() {
                steps.push(Step::Answered { at, to, session });
            }
            if outgoing.late.is_some() {
                steps.push(Step::MergeLate { at, to, session });
            }
        }
        let changes = |at: usize, to: usize| {
            cluster.reaches(at, to)
                && liveness::pinged(cluster, at, to) != (cluster.nodes[at].peers[to], cluster.nodes[to].peers[at])
        };
        let together = self.bounds.prompt.pings && cluster.reaches(to, at);
        if (!together || at < to) && (changes(at, to) || (together && changes(to, at))) {
            steps.push(Step::Ping { at, to });
        }
        if liveness::is_overdue(peer) {
            steps.push(Step::Overdue { at, to });
        }
        if self.may_audit(cluster, at, to) {
            steps.push(Step::Audit { at, to });
        }
        let waits_for_unaware = Self::is_joining(cluster, at) || node.peers.iter().any(|peer| peer.doubted);
        let left_out = || node.peers.iter().any(|peer| peer.suspected && !peer.granted);
        if !peer.view_outlasts_leases && peer.view != [0; NODES] && waits_for_unaware && left_out() {
            steps.push(Step::Outlasts { at, to });
        }
    }

    fn is_to_be_ready(&self, cluster: &Cluster, at: usize) -> bool {
        let node = &cluster.nodes[at];
        if !Self::is_joining(cluster, at) || !node.scanned {
            return false;
        }
        let others = (0..NODES).filter(|to| *to != at && node.view[*to] != 0);
        let has_all = |to: usize| {
            let compared =
                !places::plain(at, node.view).is_co_owner(crate::cluster::NAMES[to]) || !node.peers[to].audit;
            let status = self.status_of(cluster, at, to);
            status.is_some_and(|status| donor(status, compared, hash_of(node.view)) != Donor::Owes)
        };
        let is_alone = others.clone().next().is_none();
        let others_run = cluster.alive().count() > 1;
        !(is_alone && others_run) && others.into_iter().all(has_all)
    }

    fn may_audit(&self, cluster: &Cluster, at: usize, to: usize) -> bool {
        let (node, other) = (&cluster.nodes[at], &cluster.nodes[to]);
        let peer = &node.peers[to];
        let starts_ever = Self::is_joining(cluster, at) || node_hash(at, node.life) < node_hash(to, other.life);
        let gave_all = || liveness::status(peer).gave_all(hash_of(node.view));
        peer.audit
            && life_of(node.view[to]) == peer.life
            && starts_ever
            && node.scanned
            && other.scanned
            && hashed(node.view) == hashed(other.view)
            && !peer.is_owed()
            && gave_all()
    }

    /// Takes a step that a node takes by itself.
    pub(crate) fn work_on(&self, cluster: &mut Cluster, step: Step) {
        match step {
            Step::Send { at, to, session } => self.send(cluster, at, to, session),
            Step::Answered { at, to, session } => self.answered(cluster, at, to, session),
            Step::MergeLate { at, to, session } => {
                if let Some((from, sent)) = cluster.nodes[at].peers[to].outgoing[session].late.take() {
                    self.merge(cluster, at, to, session, from, sent);
                }
            }
            Step::Ping { at, to } => {
                self.ping(cluster, at, to);
                if self.bounds.prompt.pings && cluster.reaches(to, at) {
                    self.ping(cluster, to, at);
                }
            }
            Step::LeaseOver { at, to } => self.lease_over(cluster, at, to),
            Step::Outlasts { at, to } => {
                cluster.nodes[at].peers[to].view_outlasts_leases = true;
                for holder in 0..NODES {
                    let view = cluster.nodes[at].peers[to].view;
                    let lease = &mut cluster.nodes[holder].peers[to].lease;
                    *lease = match *lease {
                        Lease::Runs(under) if under != view => Lease::Over(under),
                        lease => lease,
                    };
                }
            }
            Step::Overdue { at, to } => self.suspect(cluster, at, to),
            Step::Silence { at, to } => self.silence(cluster, at, to),
            Step::LongSilence { at, to } => {
                self.lease_over(cluster, at, to);
                self.lease_over(cluster, to, at);
                cluster.nodes[at].peers[to].silence = 2;
            }
            Step::Learn { at, to } => self.learn(cluster, at, to),
            Step::Remove { at, to } => self.remove(cluster, at, to),
            Step::Scan { at } => self.scan(cluster, at),
            Step::Audit { at, to } => self.audit(cluster, at, to),
            Step::Ready { at } => {
                let mut view = cluster.nodes[at].view;
                view[at] = entry(cluster.nodes[at].life, READY);
                self.adopt(cluster, at, view);
            }
            _ => unreachable!("{step} is no work of a node"),
        }
    }

    fn ping(&self, cluster: &mut Cluster, at: usize, to: usize) {
        let (mine, theirs) = liveness::pinged(cluster, at, to);
        let changed = mine.view != cluster.nodes[at].peers[to].view;
        cluster.nodes[at].peers[to] = mine;
        cluster.nodes[to].peers[at] = theirs;
        if changed {
            self.unpark(cluster, at, to);
        }
    }

    /// Encodes what is dirty, and lets the other node merge and answer it.
    fn send(&self, cluster: &mut Cluster, at: usize, to: usize, session: usize) {
        let sent = cluster.nodes[at].store[session];
        let outgoing = &mut cluster.nodes[at].peers[to].outgoing[session];
        let Some(mark) = outgoing.mark.take() else { return };
        let left_behind = sent == Held::ENDED && mark.lane == BULK && planted(Bug::TombstonesLeftBehind);
        if sent == Held::NOTHING || left_behind {
            return;
        }
        let verdict = if planted(Bug::KeptBeforeMerge) {
            outgoing.late = Some((mark.from, sent));
            self.merges.of(mark.from, sent, cluster.nodes[to].store[session]) != Merged::NeedsWhole
        } else {
            self.merge(cluster, at, to, session, mark.from, sent)
        };
        let verdict = match verdict {
            false => Verdict::NeedsWhole,
            true if self.is_owner(cluster, to, session) => Verdict::Kept,
            true => Verdict::InTransit,
        };
        let view = hashed(cluster.nodes[to].view);
        let way = Way { mark, sent, verdict, view, before_commit: false, this_epoch: true };
        cluster.nodes[at].peers[to].outgoing[session].way = Some(way);
    }

    /// Merges what came, and does what follows. Says whether it fitted.
    fn merge(&self, cluster: &mut Cluster, from: usize, at: usize, session: usize, since: u8, sent: Held) -> bool {
        let before = cluster.nodes[at].store[session];
        let Merged::Now { held, send_back, forward } = self.merges.of(since, sent, before) else { return false };
        cluster.hold(at, session, held);
        if !self.is_owner(cluster, at, session)
            && let Some(from) = forward
        {
            self.mark_for_all(cluster, at, session, Mark { from, lane: USUAL, owed: false }, false);
        }
        let node = &cluster.nodes[at];
        if send_back && node.view[from] != 0 && life_of(node.view[from]) == node.peers[from].life {
            self.mark(cluster, at, from, session, Mark { from: WHOLE, lane: USUAL, owed: false });
        }
        true
    }

    /// What became of an item.
    fn answered(&self, cluster: &mut Cluster, at: usize, to: usize, session: usize) {
        let Some(way) = cluster.nodes[at].peers[to].outgoing[session].way.take() else { return };
        let placement = places::plain(at, cluster.nodes[at].view);
        let is_their_own =
            placement.owners(self.slot(session)).any(|owner| owner == node_hash(to, cluster.nodes[to].life));
        let waits = cluster.nodes[at].commits[session].is_some();
        let verdict = match way.verdict {
            Verdict::NeedsWhole if planted(Bug::NeedsWholeForgotten) => Verdict::Kept,
            verdict => verdict,
        };
        let agrees = way.view == hashed(cluster.nodes[at].view);
        let outgoing = &mut cluster.nodes[at].peers[to].outgoing[session];
        match verdict {
            Verdict::Kept if !agrees && waits => outgoing.parked |= outgoing.mark.is_none(),
            Verdict::InTransit if is_their_own => outgoing.parked |= outgoing.mark.is_none(),
            Verdict::Kept | Verdict::InTransit => {}
            Verdict::NeedsWhole => {
                let mark = Mark { from: WHOLE, lane: way.mark.lane.min(USUAL), owed: way.mark.owed };
                self.mark(cluster, at, to, session, mark);
                return;
            }
        }
        let counts = self.counts(way.before_commit, session);
        if let Some(commit) = &mut cluster.nodes[at].commits[session]
            && counts
        {
            let kept = verdict == Verdict::Kept;
            commit.answers[to] = Some(if kept { Answer::Kept(way.view) } else { Answer::InTransit });
        }
        self.review(cluster, at);
        if verdict == Verdict::Kept && !self.is_owner(cluster, at, session) {
            self.kept_by_owner(cluster, at, to, session, &way);
        }
    }

    /// An owner keeps what this node holds without owning it.
    fn kept_by_owner(&self, cluster: &mut Cluster, at: usize, to: usize, session: usize, way: &Way) {
        if way.this_epoch {
            let confirmed = &mut cluster.nodes[at].confirmed[session];
            if confirmed.version != way.sent {
                *confirmed = Confirmed { version: way.sent, by: 0 };
            }
            confirmed.by |= 1 << to;
        }
        self.drop_if_handed_off(cluster, at, session);
        let held = cluster.nodes[at].store[session];
        if held != Held::NOTHING && held != way.sent {
            self.mark_for_all(cluster, at, session, Mark { from: QUESTION, lane: BULK, owed: false }, false);
        }
    }

    /// A lease has run out, at the latest moment at which who granted it counts on it; so for its holder, too.
    pub(crate) fn lease_over(&self, cluster: &mut Cluster, at: usize, to: usize) {
        let life = cluster.nodes[at].life;
        cluster.nodes[at].peers[to].granted = false;
        let held = &mut cluster.nodes[to].peers[at];
        if held.life == life
            && let Lease::Runs(view) = held.lease
        {
            held.lease = Lease::Over(view);
        }
        if cluster.nodes[at].phase == Phase::Up {
            self.maybe_left_out(cluster, at, to);
        }
    }

    /// If a peer is left out from now on, others stand in for it in all commits that wait.
    pub(crate) fn maybe_left_out(&self, cluster: &mut Cluster, at: usize, to: usize) {
        if !self.status_of(cluster, at, to).is_some_and(|peer| peer.left_out) {
            return;
        }
        for session in 0..self.bounds.sessions() {
            if cluster.nodes[at].commits[session].is_none() {
                continue;
            }
            for stand_in in self.targets(cluster, at, session).stand_ins {
                let (stand_in, _) = places::who(stand_in);
                self.mark(cluster, at, stand_in, session, Mark { from: WHOLE, lane: AWAITED, owed: false });
            }
        }
    }

    /// A peer is silent: it is suspected, and the link is given up.
    fn silence(&self, cluster: &mut Cluster, at: usize, to: usize) {
        let is_ready = state_of(cluster.nodes[at].view[to]) != JOINING;
        let peer = &mut cluster.nodes[at].peers[to];
        peer.silence = 1;
        peer.break_link();
        if !peer.suspected && (is_ready || !peer.is_clear()) {
            self.suspect(cluster, at, to);
        }
    }

    fn suspect(&self, cluster: &mut Cluster, at: usize, to: usize) {
        let peer = &mut cluster.nodes[at].peers[to];
        peer.suspected = true;
        peer.caught_up = [0; NODES];
        for outgoing in &mut peer.outgoing {
            let marks = outgoing.mark.iter_mut().chain(outgoing.way.iter_mut().map(|way| &mut way.mark));
            marks.for_each(|mark| mark.owed = true);
        }
        self.maybe_left_out(cluster, at, to);
    }

    fn learn(&self, cluster: &mut Cluster, at: usize, to: usize) {
        let (life, seen) = (cluster.nodes[to].life, cluster.nodes[to].view[to]);
        let node = &mut cluster.nodes[at];
        let was = node.view[to];
        if was != 0 && life_of(was) != life && state_of(was) != LEAVING {
            node.gone[to] = was;
            node.dead |= 1 << to;
        }
        if life_of(node.gone[to]) == life {
            node.gone[to] = 0;
        }
        if node.peers[to].life != life {
            node.peers[to] = Peer::new(life);
            node.commits.iter_mut().flatten().for_each(|commit| commit.answers[to] = None);
        }
        let mut view = node.view;
        view[to] = seen;
        self.adopt(cluster, at, view);
    }

    fn remove(&self, cluster: &mut Cluster, at: usize, to: usize) {
        let is_dead = cluster.nodes[to].phase == Phase::Down && !cluster.is_cut(at, to);
        let has_left = cluster.nodes[to].phase == Phase::Left && !cluster.is_cut(at, to);
        let was = cluster.nodes[at].view[to];
        if !(is_dead || has_left) {
            self.lease_over(cluster, at, to);
            self.lease_over(cluster, to, at);
        }
        let node = &mut cluster.nodes[at];
        if is_dead || has_left {
            node.peers[to] = Peer::default();
        }
        if !has_left && state_of(was) != LEAVING {
            node.gone[to] = was;
            node.dead = node.dead & !(1 << to) | u8::from(is_dead) << to;
        }
        let mut view = node.view;
        view[to] = 0;
        self.adopt(cluster, at, view);
    }

    fn scan(&self, cluster: &mut Cluster, at: usize) {
        let node = &mut cluster.nodes[at];
        node.scanned = true;
        let all = (0..NODES).flat_map(|node| (1..=LIVES).map(move |life| (node, life)));
        let known: BTreeSet<_> = all
            .filter(|(at, life)| node.known_at_scan & known_bit(*at, *life) != 0)
            .map(|(at, life)| node_hash(at, life))
            .collect();
        let handoff = Handoff::new(places::plain(at, node.before), places::plain(at, node.view), &known);
        for session in 0..self.bounds.sessions() {
            if cluster.nodes[at].store[session] == Held::NOTHING {
                continue;
            }
            for (to, from) in handoff.plan(self.slot(session)) {
                let from = if from == sessionmesh_core::stamp::Stamp::ZERO { WHOLE } else { QUESTION };
                self.mark(cluster, at, places::who(to).0, session, Mark { from, lane: BULK, owed: true });
            }
        }
    }

    fn audit(&self, cluster: &mut Cluster, at: usize, to: usize) {
        cluster.nodes[at].peers[to].audit = false;
        let repair = |owed| Mark { from: WHOLE, lane: BULK, owed };
        for session in 0..self.bounds.sessions() {
            let common = self.is_owner(cluster, at, session) && self.is_owner(cluster, to, session);
            let (mine, theirs) = (cluster.nodes[at].store[session], cluster.nodes[to].store[session]);
            if !common || mine == theirs {
                continue;
            }
            if mine == Held::NOTHING {
                self.mark(cluster, to, at, session, repair(true));
            } else {
                self.mark(cluster, at, to, session, repair(false));
            }
        }
    }
}
