//! What was going on in the cluster, and since when: the promises hold under conditions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sessionmesh::SessionId;

/// How an acknowledged change is safe: against so many crashes since then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Safe {
    pub(super) since_ms: u64,
    pub(super) copies: usize,
}

/// A node that became ready.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its number.
    pub node: usize,
    /// When this life of it began.
    pub since_ms: u64,
    /// Sessions that it owns and does not hold.
    pub lacks: BTreeSet<SessionId>,
}

/// The state of the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// No link is disturbed, no node frozen, and all nodes that are up are ready and see exactly each other.
    pub calm: bool,
    /// Some node suspects another one.
    pub suspects: bool,
    /// Nodes that run may take each other for dead.
    pub split: bool,
    /// Some link takes longer than usual.
    pub slow: bool,
    /// Frozen nodes.
    pub frozen: Vec<usize>,
    /// Of each node, the nodes to and from which everything passes.
    pub neighbours: Vec<BTreeSet<usize>>,
    /// Nodes that are up, and in which of their lives.
    pub up: Vec<(usize, u32)>,
    /// Everything is where it must be, and nothing is under way.
    pub repaired: bool,
    /// Nodes that became ready since the last look.
    pub ready: Vec<Ready>,
}

/// Members that vanish within 5 s count together, and it may take 3 s until it is noticed.
const COUNTED_TOGETHER_MS: u64 = 8_000;
/// Disturbances kept.
const DISTURBANCES_MAX: usize = 4_096;

/// What is remembered of it.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Crashes since all had settled, with the node.
    crashes: Vec<(u64, usize)>,
    /// Nodes that crashed shortly before all had settled: the others may still count them together with later ones.
    crashed_before: BTreeSet<usize>,
    /// After a planned departure as long ago as those crashes, so many nodes stayed.
    stayed_before: Option<usize>,
    /// Planned departures since all had settled, and how many nodes stayed that the departed saw: no more than these can hold
    /// what it handed over.
    departures: Vec<(u64, usize)>,
    /// Moments of late at which a node crashed or did not run.
    disturbances: VecDeque<u64>,
    last_crash_ms: Option<u64>,
    /// Since when the cluster is calm.
    calm_since: Option<u64>,
    /// Since when no node suspects another.
    trusting_since: Option<u64>,
    /// Since when nothing kept nodes apart, and the cluster was calm once since it did, with nobody suspected.
    whole_since: Option<u64>,
    /// Since when no link is slow.
    quick_since: Option<u64>,
    frozen_until: BTreeMap<usize, u64>,
    /// Since when two nodes are on the same side: they and all their neighbours are the same.
    same_side: BTreeMap<(usize, usize), u64>,
}

impl World {
    pub(super) fn look(&mut self, look: &Look, now_ms: u64) {
        self.calm_since = look.calm.then(|| self.calm_since.unwrap_or(now_ms));
        self.trusting_since = (!look.suspects).then(|| self.trusting_since.unwrap_or(now_ms));
        self.quick_since = (!look.slow).then(|| self.quick_since.unwrap_or(now_ms));
        // Whoever is still suspected is not waited for.
        let together = look.calm && !look.suspects;
        if look.split {
            self.whole_since = None;
        } else if together {
            self.whole_since.get_or_insert(now_ms);
        }
        for node in &look.frozen {
            self.frozen_until.insert(*node, now_ms);
        }
        if !look.frozen.is_empty() {
            self.disturbed(now_ms);
        }
        for (one, near) in look.neighbours.iter().enumerate() {
            for (other, near_other) in look.neighbours.iter().enumerate().skip(one + 1) {
                if near != near_other {
                    self.same_side.remove(&(one, other));
                } else if together {
                    // Who was apart is on one side again only when all know and trust each other.
                    self.same_side.entry((one, other)).or_insert(now_ms);
                }
            }
        }
    }

    pub(super) fn crashed(&mut self, node: usize, now_ms: u64) {
        self.crashes.push((now_ms, node));
        self.last_crash_ms = Some(now_ms);
        self.calm_since = None;
        self.disturbed(now_ms);
    }

    fn disturbed(&mut self, now_ms: u64) {
        if self.disturbances.back() != Some(&now_ms) {
            self.disturbances.push_back(now_ms);
        }
        while self.disturbances.len() > DISTURBANCES_MAX {
            self.disturbances.pop_front();
        }
    }

    /// Whether a node crashed or did not run within these times.
    pub(super) fn disturbed_within(&self, from_ms: u64, to_ms: u64) -> bool {
        let forgotten = self.disturbances.len() == DISTURBANCES_MAX
            && self.disturbances.front().is_some_and(|oldest| *oldest > from_ms);
        forgotten || self.disturbances.iter().any(|at| (from_ms..=to_ms).contains(at))
    }

    /// How many nodes crashed at `since_ms` or later.
    pub(super) fn crashed_nodes_since(&self, since_ms: u64) -> usize {
        let crashed = self.crashes.iter().filter(|(at, _)| *at >= since_ms).map(|(_, node)| *node);
        crashed.collect::<BTreeSet<usize>>().len()
    }

    /// How many nodes the others may count as crashed together.
    pub(super) fn crashed_together(&self) -> usize {
        let since = self.crashes.iter().map(|(_, node)| *node).collect();
        self.crashed_before.union(&since).count()
    }

    /// The fewest nodes that a planned departure left behind, of those that the others may count together with crashes.
    pub(super) fn fewest_stayed(&self) -> Option<usize> {
        self.departures.iter().map(|(_, stayed)| *stayed).chain(self.stayed_before).min()
    }

    /// Whether no more nodes crashed than the change can bear.
    pub(super) fn is_safe(&self, safe: Safe) -> bool {
        let departures = self.departures.iter().filter(|(at, _)| *at >= safe.since_ms);
        self.crashed_nodes_since(safe.since_ms) <= safe.copies
            && departures.copied().all(|(at, stayed)| self.crashed_nodes_since(at) < stayed)
    }

    /// How many more crashes the change can bear; `None` if there were too many.
    pub(super) fn bears(&self, safe: Safe) -> Option<usize> {
        self.is_safe(safe).then(|| safe.copies.saturating_sub(self.crashed_nodes_since(safe.since_ms)))
    }

    pub(super) fn left(&mut self, stayed: usize, now_ms: u64) {
        self.departures.push((now_ms, stayed));
    }

    /// All has settled: what happened before does not matter any more.
    pub(super) fn settled(&mut self, now_ms: u64) {
        // What vanishes soon after something else counts together with it, and with what that counts together with.
        if self.crashes.iter().any(|(at, _)| now_ms.saturating_sub(*at) < COUNTED_TOGETHER_MS) {
            self.stayed_before = self.fewest_stayed();
            self.crashed_before.extend(self.crashes.iter().map(|(_, node)| *node));
        } else {
            self.stayed_before = None;
            self.crashed_before.clear();
        }
        self.crashes.clear();
        self.departures.clear();
    }

    /// Whether it is calm now.
    pub(super) fn is_calm(&self) -> bool {
        self.calm_since.is_some()
    }

    /// How many nodes crashed or left at `since_ms` or later.
    pub(super) fn gone_since(&self, since_ms: u64) -> usize {
        self.crashed_nodes_since(since_ms) + self.departures.iter().filter(|(at, _)| *at >= since_ms).count()
    }

    /// Whether a node crashed at `since_ms` or later.
    pub(super) fn crashed_since(&self, since_ms: u64) -> bool {
        self.last_crash_ms.is_some_and(|at| at >= since_ms)
    }

    /// Whether it was calm from `since_ms` on, until now.
    pub(super) fn calm_from(&self, since_ms: u64) -> bool {
        self.calm_since.is_some_and(|calm| calm <= since_ms)
    }

    /// Whether no node suspected another from `since_ms` on.
    pub(super) fn trusting_from(&self, since_ms: u64) -> bool {
        self.trusting_since.is_some_and(|since| since <= since_ms)
    }

    /// Whether nothing kept running nodes apart from `since_ms` on.
    pub(super) fn whole_from(&self, since_ms: u64) -> bool {
        self.whole_since.is_some_and(|whole| whole <= since_ms)
    }

    /// Since when nothing keeps running nodes apart.
    pub(super) fn whole_since(&self) -> Option<u64> {
        self.whole_since
    }

    /// Whether no link was slow from `since_ms` on.
    pub(super) fn quick_from(&self, since_ms: u64) -> bool {
        self.quick_since.is_some_and(|quick| quick <= since_ms)
    }

    /// Whether the node was frozen at `since_ms` or later.
    pub(super) fn frozen_since(&self, node: usize, since_ms: u64) -> bool {
        self.frozen_until.get(&node).is_some_and(|until| *until >= since_ms)
    }

    /// Whether the two were on the same side from `since_ms` on.
    pub(super) fn same_side_from(&self, one: usize, other: usize, since_ms: u64) -> bool {
        let pair = (one.min(other), one.max(other));
        one == other || self.same_side.get(&pair).is_some_and(|since| *since <= since_ms)
    }
}
