//! The state of the links between nodes, as the faults that are active make it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Cluster, SILENT_MS};

impl Cluster {
    /// Whether any link is disturbed, or a node frozen.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.is_apart() || self.hushed || self.is_slow() || self.states.borrow().iter().any(|state| state.frozen)
    }

    /// Whether connections were reset since the last call.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset_unseen)
    }

    /// Whether something that was sent is lost.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Whether a link takes longer than usual.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        !self.slow.is_empty()
    }

    /// Whether nodes that run may take each other for dead.
    #[must_use]
    pub fn is_split(&self) -> bool {
        // Two that slept, one after the other, never met: each may go on without what the other one did.
        let missed_each_other = self.slept.len() > 1;
        let slow = self.slow.values().any(|ms| is_too_slow(*ms));
        self.is_apart() || slow || self.started_unheard || missed_each_other || self.has_loner()
    }

    /// Whether a node that has just started sees nobody yet, though others are up. It takes requests all the same.
    fn has_loner(&self) -> bool {
        let meshes = self.meshes();
        meshes.len() > 1 && meshes.iter().any(|(_, mesh)| !mesh.is_ready() && mesh.members().len() == 1)
    }

    /// The nodes to which everything passes from `node`, and from which everything comes; itself too.
    #[must_use]
    pub fn neighbours(&self, node: usize) -> BTreeSet<usize> {
        let open = |other: &usize| {
            let pair = (node.min(*other), node.max(*other));
            let slow =
                [pair, (pair.1, pair.0)].iter().filter_map(|pair| self.slow.get(pair)).any(|ms| is_too_slow(*ms));
            !slow
                && !self.holds.contains(&pair)
                && !self.held_streams.contains(&pair)
                && !self.cuts.contains(&(node, *other))
                && !self.cuts.contains(&(*other, node))
        };
        (0..self.names.len()).filter(open).collect()
    }

    pub(super) fn is_apart(&self) -> bool {
        [&self.cuts, &self.holds, &self.held_streams].iter().any(|links| !links.is_empty())
    }

    pub(super) fn heal_links(&mut self) {
        self.cuts.clear();
        self.holds.clear();
        self.held_streams.clear();
        self.hushed = false;
        let (low, high) = self.shared.scenario.network.latency_ms;
        for ((one, other), _) in std::mem::take(&mut self.slow) {
            let (a, b) = (self.names[one].as_str(), self.names[other].as_str());
            self.sim.set_link_latency(a, b, Duration::from_millis(low));
            self.sim.set_link_max_message_latency(a, b, Duration::from_millis(high));
        }
        self.shared.impairments.heal();
        self.apply_links();
        self.shared.tcp.heal(self.sim.elapsed());
    }

    /// turmoil keeps one state for each direction of a link, so all are set from the faults that are active.
    pub(super) fn apply_links(&self) {
        let addr = |node: usize| self.shared.addrs[node];
        self.shared.tcp.settle(self.sim.elapsed());
        self.shared.impairments.cut(self.cuts.iter().map(|(from, to)| (addr(*from), addr(*to))).collect());
        for one in 0..self.names.len() {
            for other in one + 1..self.names.len() {
                let (a, b) = (self.names[one].as_str(), self.names[other].as_str());
                if self.holds.contains(&(one, other)) {
                    self.sim.hold(a, b);
                    continue;
                }
                self.sim.release(a, b);
                if self.cuts.contains(&(one, other)) {
                    self.sim.partition_oneway(a, b);
                }
                if self.cuts.contains(&(other, one)) {
                    self.sim.partition_oneway(b, a);
                }
            }
        }
    }
}

/// Whether nodes take each other for silent over a link on which a message takes so long.
fn is_too_slow(ms: u64) -> bool {
    2 * ms > SILENT_MS
}
