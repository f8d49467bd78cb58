//! The model as `stateright` checks it.

use std::time::{Duration, Instant};

use sessionmesh_core::failpoint;
use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::cluster::{Cluster, Lease, NODES, Node, Peer, Phase, READY, entry};
use crate::mesh::{Mesh, known_bit};
use crate::promises::{self, Promise};
use crate::steps::Step;

impl Model for Mesh {
    type State = Cluster;
    type Action = Step;

    fn init_states(&self) -> Vec<Cluster> {
        vec![self.beginning()]
    }

    fn actions(&self, cluster: &Cluster, steps: &mut Vec<Step>) {
        failpoint::plant(self.bug);
        if cluster.broken.is_none() {
            self.work(cluster, steps);
            let urgent = |step: &Step| match step {
                Step::Scan { .. } | Step::Audit { .. } => self.bounds.prompt.scans,
                Step::Answered { .. } => self.bounds.prompt.answers,
                _ => false,
            };
            if let Some(first) = steps.iter().copied().find(urgent) {
                *steps = vec![first];
                return;
            }
            self.events(cluster, steps);
        }
    }

    fn next_state(&self, cluster: &Cluster, step: Step) -> Option<Cluster> {
        failpoint::plant(self.bug);
        let mut next = cluster.clone();
        match step {
            Step::Write { .. }
            | Step::LateSave { .. }
            | Step::End { .. }
            | Step::GiveUp { .. }
            | Step::Crash { .. }
            | Step::Stop { .. }
            | Step::Start { .. }
            | Step::Leave { .. }
            | Step::Freeze { .. }
            | Step::Thaw { .. }
            | Step::Cut { .. }
            | Step::Heal => self.happen(&mut next, step),
            _ => self.work_on(&mut next, step),
        }
        self.follow_up(&mut next);
        promises::judge(self, &mut next);
        (next != *cluster).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("all promises are kept", |_, cluster: &Cluster| cluster.broken.is_none())]
    }
}

impl Mesh {
    /// A calm cluster without sessions.
    fn beginning(&self) -> Cluster {
        let mut view = [0; NODES];
        view[..self.bounds.nodes].fill(entry(1, READY));
        let known = (0..self.bounds.nodes).fold(0, |known, node| known | known_bit(node, 1));
        let peer = Peer { life: 1, granted: true, caught_up: view, view, lease: Lease::Runs(view), ..Peer::default() };
        let node = |at: usize| {
            if view[at] == 0 {
                return Node::default();
            }
            let peers = std::array::from_fn(|to| if to != at && view[to] != 0 { peer } else { Peer::default() });
            Node { life: 1, phase: Phase::Up, view, before: view, scanned: true, known, peers, ..Node::default() }
        };
        Cluster { nodes: std::array::from_fn(node), left: self.bounds.budget, ..Cluster::default() }
    }
}

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// The longest way that was looked at, in steps.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Time was over before all states were looked at that the bounds allow.
    pub unfinished: bool,
    /// The promise that was broken, and the steps to that with what they led to.
    pub broken: Option<(Promise, Vec<(Step, Cluster)>)>,
}

/// Looks at all states of a model within its bounds, on so many threads, for so long at most.
///
/// # Panics
///
/// When the checker fails.
#[must_use]
pub fn check(mesh: Mesh, threads: usize, most: Duration) -> Outcome {
    let began = now();
    let depth_max = mesh.bounds.depth_max;
    let mut checker = mesh.checker().threads(threads).finish_when(HasDiscoveries::Any).timeout(most);
    if depth_max > 0 {
        checker = checker.target_max_depth(depth_max);
    }
    let checker = checker.spawn_bfs().join();
    let took = began.elapsed();
    let broken = checker.discoveries().into_values().next().map(|path| {
        let path = path.into_vec();
        let broken = path.last().and_then(|(cluster, _)| cluster.broken).expect("the last state breaks a promise");
        let after = path.iter().skip(1).map(|(cluster, _)| cluster.clone());
        (broken, path.iter().filter_map(|(_, step)| *step).zip(after).collect())
    });
    let unfinished = broken.is_none() && took >= most;
    Outcome { states: checker.unique_state_count(), depth: checker.max_depth(), took, unfinished, broken }
}

#[allow(clippy::disallowed_methods, reason = "it says how long the check took; nothing of the model has a clock")]
fn now() -> Instant {
    Instant::now()
}
