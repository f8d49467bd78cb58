//! What happened to the nodes.

use std::collections::BTreeSet;

use super::session::Change;
use crate::clock::Ms;

/// What happened to the nodes, as far as promises depend on it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Other nodes that a change is on once it is repaired.
    copies: usize,
    /// Which life each node is in.
    lives: Vec<u32>,
    /// Which life each node was in when all had settled.
    veterans: Vec<u32>,
    /// Every crash, and every planned stop that counts as one.
    crashes: Vec<(Ms, usize)>,
    /// Every planned stop that handed over, and how many nodes stayed to take what it had.
    stops: Vec<(Ms, usize)>,
    settled: Ms,
    /// Since when the cluster may not have been whole. It is whole when all has settled.
    split: Option<Ms>,
    /// Since when the cluster is at rest.
    calm: Option<Ms>,
    stalls: u64,
}

impl World {
    pub(crate) fn new(nodes: usize, copies: usize) -> Self {
        let lives = vec![0; nodes];
        Self {
            copies,
            veterans: lives.clone(),
            lives,
            crashes: Vec::new(),
            stops: Vec::new(),
            settled: 0,
            split: None,
            calm: None,
            stalls: 0,
        }
    }

    pub(crate) fn life(&self, node: usize) -> u32 {
        self.lives[node]
    }

    /// A node is started again.
    pub(crate) fn started(&mut self, node: usize) {
        self.lives[node] += 1;
    }

    /// A node is about to crash.
    pub(crate) fn crashed(&mut self, node: usize, now: Ms) {
        self.calm = None;
        self.crashes.push((now, node));
    }

    /// A planned stop, which counted as a crash since it began, has handed over all that the node had.
    pub(crate) fn handed_over(&mut self, node: usize, begun: Ms, stayed: usize) {
        self.crashes.retain(|crash| *crash != (begun, node));
        self.stops.push((begun, stayed));
    }

    /// Something that is no crash disturbs the cluster; `splits` if nodes may be kept apart by it.
    pub(crate) fn disturbed(&mut self, splits: bool, now: Ms) {
        self.calm = None;
        if splits {
            self.split.get_or_insert(now);
        }
    }

    /// All has settled.
    pub(crate) fn settled(&mut self, now: Ms) {
        self.settled = now;
        self.split = None;
        self.veterans.clone_from(&self.lives);
        self.calm = Some(now);
    }

    /// This machine ran nobody for a while, which is as if all nodes were frozen.
    pub(crate) fn stalled(&mut self, now: Ms) {
        self.stalls += 1;
        self.disturbed(true, now);
    }

    pub(crate) const fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Something else than faults of ours may have disturbed the cluster.
    pub(crate) fn not_calm(&mut self) {
        self.calm = None;
    }

    /// Whether the cluster has been at rest for so long at that time.
    pub(super) fn is_calm(&self, at: Ms, long: Ms) -> bool {
        self.calm.is_some_and(|calm| calm + long <= at)
    }

    /// Whether nothing has kept nodes apart since then.
    pub(super) const fn is_whole(&self, since: Ms) -> bool {
        self.split.is_none() && since >= self.settled
    }

    /// Whether the node lives as it did when all had settled.
    pub(super) fn is_veteran(&self, node: usize, life: u32) -> bool {
        self.veterans[node] == life && self.lives[node] == life
    }

    /// Whether a change is within its crash budget.
    pub(super) fn is_safe(&self, change: &Change) -> bool {
        let (copies, since) = match change.settled {
            true => (self.copies, self.settled.max(change.begun)),
            false => (change.copies.min(self.copies), change.begun),
        };
        let crashed = |since: Ms| {
            let nodes = self.crashes.iter().filter(|(at, _)| *at >= since).map(|(_, node)| node);
            nodes.collect::<BTreeSet<_>>().len()
        };
        let handed_over = |(at, stayed): &(Ms, usize)| *at < since || crashed(*at) < *stayed;
        crashed(since) <= copies && self.stops.iter().all(handed_over)
    }
}
