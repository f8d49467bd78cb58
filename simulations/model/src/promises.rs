//! What is promised, in the words of docs/guarantees.md, and when it is broken.

use sessionmesh_core::placement::transition::is_in_transition;

use crate::cluster::{Cluster, END, Fact, Held, JOINING, NODES, Phase, Stage, WRITES, hashed, state_of};
use crate::mesh::Mesh;
use crate::places::{self, BACKUPS, hash_of};
use crate::reads::{Said, reads};

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// Within the crash budget; of the write that created it.
    SessionKept,
    /// Within the crash budget.
    WriteKept,
    /// Always.
    CopiesTold,
    /// Calm and nobody suspected since it was asked for.
    AllCopies,
    /// Within the crash budget; calm and nobody suspected, or whole since the write began.
    WriteRead,
    /// The same.
    NoneNotSaid,
    /// Within the crash budget; repaired before the read; the reading node was there then, in this life.
    NoneOfRepaired,
    /// As of a write, since the end was asked for.
    EndServedNowhere,
    /// Within the crash budget.
    EndStays,
    /// Always: what a node lets go of is held by another one, unless that has crashed since.
    LetGoKept,
    /// When nothing is left to do.
    Repaired,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::SessionKept,
        Self::WriteKept,
        Self::CopiesTold,
        Self::AllCopies,
        Self::WriteRead,
        Self::NoneNotSaid,
        Self::NoneOfRepaired,
        Self::EndServedNowhere,
        Self::EndStays,
        Self::LetGoKept,
        Self::Repaired,
    ];

    /// Its words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::SessionKept => "an acknowledged session is never lost",
            Self::WriteKept => "an acknowledged write is never lost",
            Self::CopiesTold => "no commit tells of a copy that nobody has",
            Self::AllCopies => "in calm a commit has all the copies that it can have",
            Self::WriteRead => {
                "an acknowledged write is never lost, for any read on any node that begins after the acknowledgement"
            }
            Self::NoneNotSaid => "while whole, \"none\" is never said of an acknowledged session",
            Self::NoneOfRepaired => "\"none\" is never said of a session that all owners held",
            Self::EndServedNowhere => "while whole, an ended session is served nowhere",
            Self::EndStays => "an ended session stays ended",
            Self::LetGoKept => "whoever holds a copy lets go only when the owners say that they keep it",
            Self::Repaired => {
                "repaired: each node holds nothing but what it owns; and all owners of every session hold the same"
            }
        }
    }
}

impl Fact {
    /// Whether it was acknowledged, and no more nodes crashed since than it has copies.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.stage == Stage::Acknowledged && self.crashed.count_ones() <= u32::from(self.copies)
    }
}

/// Looks at a state: notes what is whole, what is repaired, and the first promise that is broken.
pub(crate) fn judge(mesh: &Mesh, cluster: &mut Cluster) {
    let calm = cluster.is_calm();
    note_calm(cluster, calm);
    if cluster.broken.is_some() {
        return;
    }
    let settled = calm && !mesh.has_work(cluster);
    for session in 0..mesh.bounds.sessions() {
        judge_copies(cluster, session);
        judge_reads(mesh, cluster, session, calm);
        if settled {
            judge_settled(mesh, cluster, session);
        }
    }
    if settled && cluster.broken.is_none() {
        note_repaired(cluster);
    }
}

fn note_calm(cluster: &mut Cluster, calm: bool) {
    if calm {
        cluster.split = false;
        cluster.was_frozen = false;
        return;
    }
    for commit in cluster.nodes.iter_mut().flat_map(|node| node.commits.iter_mut().flatten()) {
        commit.calm = false;
    }
    if cluster.split {
        cluster.facts.iter_mut().flatten().for_each(|fact| fact.whole = false);
    }
}

/// What was acknowledged is on a node that lives.
fn judge_copies(cluster: &mut Cluster, session: usize) {
    for fact in 0..=WRITES {
        let held = cluster.alive().any(|(_, node)| node.store[session].has(fact));
        if cluster.facts[session][fact].is_safe() && !held {
            cluster.break_promise(match fact {
                0 => Promise::SessionKept,
                END => Promise::EndStays,
                _ => Promise::WriteKept,
            });
        }
    }
}

/// What each node would answer at this moment.
fn judge_reads(mesh: &Mesh, cluster: &mut Cluster, session: usize, calm: bool) {
    let facts = cluster.facts[session];
    let counts = |fact: &Fact| fact.is_safe() && (calm || (fact.whole && !cluster.split));
    let all_held = |at: usize| facts[0].is_safe() && facts[0].repaired >> at & 1 == 1;
    if !facts.iter().any(counts) && facts[0].repaired == 0 {
        return;
    }
    let mut broken = None;
    for at in 0..NODES {
        if cluster.nodes[at].phase != Phase::Up {
            continue;
        }
        reads(mesh, cluster, at, session, |said| {
            let breaks = match said {
                Said::Live(_) if counts(&facts[END]) => Some(Promise::EndServedNowhere),
                Said::Live(held) if (0..WRITES).any(|fact| counts(&facts[fact]) && !held.has(fact)) => {
                    Some(Promise::WriteRead)
                }
                Said::None if counts(&facts[0]) && facts[END].stage == Stage::No => Some(Promise::NoneNotSaid),
                Said::None if all_held(at) && facts[END].stage == Stage::No => Some(Promise::NoneOfRepaired),
                Said::Live(_) | Said::None | Said::Ended | Said::Unknown => None,
            };
            broken = broken.or(breaks);
        });
    }
    if let Some(promise) = broken {
        cluster.break_promise(promise);
    }
}

/// Nothing is left to do: the owners hold the same, and nobody else holds anything.
fn judge_settled(mesh: &Mesh, cluster: &mut Cluster, session: usize) {
    let mut owned: Option<Held> = None;
    let mut equal = true;
    for at in 0..NODES {
        let node = &cluster.nodes[at];
        if node.phase != Phase::Up {
            continue;
        }
        let held = node.store[session];
        if places::plain(at, node.view).is_owner(mesh.slot(session)) {
            equal &= owned.is_none_or(|other| other == held);
            owned = Some(held);
        } else {
            equal &= held == Held::NOTHING;
        }
    }
    if !equal {
        cluster.break_promise(Promise::Repaired);
    }
}

/// What was acknowledged has all its copies again, and crashes are counted from 0.
fn note_repaired(cluster: &mut Cluster) {
    let others = u8::try_from(cluster.alive().count() - 1).expect("there are few");
    let there = cluster.alive().fold(0, |there, (at, _)| there | 1 << at);
    for fact in cluster.facts.iter_mut().flatten() {
        if fact.is_safe() {
            fact.copies = others.min(BACKUPS);
            fact.crashed = 0;
            fact.repaired = there;
        }
    }
    for node in &mut cluster.nodes {
        node.gone = [0; NODES];
        node.dead = 0;
    }
}

impl Mesh {
    /// Whether a change of the view still goes on for a node.
    pub(crate) fn is_in_transition(&self, cluster: &Cluster, at: usize) -> bool {
        let node = &cluster.nodes[at];
        let former = (0..NODES).any(|to| self.is_former(cluster, at, to));
        let peers = (0..NODES).filter(|to| *to != at && cluster.sees(at, *to));
        let statuses = peers.filter_map(|to| self.status_of(cluster, at, to));
        is_in_transition(node.scanned, former, statuses, hash_of(hashed(node.view)))
    }

    /// Whether a node has not got all yet.
    pub(crate) fn is_joining(cluster: &Cluster, at: usize) -> bool {
        state_of(cluster.nodes[at].view[at]) == JOINING
    }
}
