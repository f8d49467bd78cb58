//! What a cluster of the stress is made of: drawn as a scenario of the simulations, of the kinds that need no disturbed network.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::{Discovery as Ways, Mesh, MeshBuilder};

use super::wire::{Wire, addr};
use crate::scenario::product::Product;
use crate::scenario::{Ack, Discovery, Fault, IDLE_NEVER_MS, Kind, Mode, Scenario};

/// Real processes start, leave and die, and that is all.
const KINDS: [Kind; 8] = [
    Kind::Calm,
    Kind::Crash,
    Kind::Leave,
    Kind::QuickRestart,
    Kind::CrashDuringRepair,
    Kind::Rolling,
    Kind::Join,
    Kind::Burst,
];
/// As many nodes at most.
const NODES_MAX: usize = 6;
/// Simulated time is cheap, real time is not: all happens so many times as fast.
const FASTER: u64 = 2;
/// An episode is not longer than this.
const EPISODE_MS_MAX: u64 = 3_000;

/// One cluster.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Which it is in this process.
    pub(super) number: u64,
    /// Of each node.
    pub(super) threads: usize,
    pub(super) scenario: Scenario,
    commit_deadline: Duration,
    discovery_window: Duration,
}

impl Setup {
    pub(super) fn draw(number: u64, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x0007_4ead);
        let kind = *KINDS.choose(&mut rng).expect("there are some");
        let mut scenario = Scenario::aimed(seed, kind, Scenario::draw(seed).mode);
        scenario.nodes = scenario.nodes.clamp(2, NODES_MAX);
        scenario.late = scenario.late.min(scenario.nodes - 1);
        let (secret, certificates, upgrade) = (false, false, false);
        scenario =
            Scenario { secret, certificates, upgrade, later_mode: None, set_back_ms: 0, strict: false, ..scenario };
        (scenario.idle_ms, scenario.product) = (IDLE_NEVER_MS, Product::default());
        scenario.network.latency_ms = (0, 1);
        (scenario.network.lost, scenario.network.doubled, scenario.network.delayed) = (0, 0, 0);
        scenario.tick_ms = 1;
        scenario.skew_ms = vec![0; scenario.nodes];
        let load = &mut scenario.load;
        load.visitors = rng.random_range(2..=12);
        load.tabs = rng.random_range(1..=6);
        load.think_ms = (0, *[0, 2, 10, 50].choose(&mut rng).expect("there are some"));
        load.mix.absent = 0;
        load.mix.count += 1;
        if rng.random_bool(0.4) {
            // All tabs of a few visitors change one session on one node, as fast as they can.
            (load.visitors, load.tabs, load.sticky, load.think_ms) = (rng.random_range(1..=3), 12, 100, (0, 0));
            (load.mix.count, load.mix.write) = (20, 20);
        }
        // Half of them only start, and end when all are ready.
        if rng.random_bool(0.5) {
            (scenario.late, scenario.episodes) = (0, Vec::new());
        }
        let nodes = scenario.nodes;
        for episode in &mut scenario.episodes {
            episode.length_ms = (episode.length_ms / FASTER).min(EPISODE_MS_MAX);
            episode.events.iter_mut().for_each(|event| event.at_ms /= FASTER);
            episode
                .events
                .retain(|event| event.at_ms < EPISODE_MS_MAX && node_of(&event.fault).is_some_and(|node| node < nodes));
        }
        Self {
            number,
            threads: rng.random_range(2..=4),
            scenario,
            commit_deadline: Duration::from_millis(*[500, 500, 1_000].choose(&mut rng).expect("there are some")),
            discovery_window: Duration::from_millis(rng.random_range(50..400)),
        }
    }

    pub(super) fn builder(&self, node: usize, wire: &Wire) -> MeshBuilder {
        let others = (0..self.scenario.nodes).filter(|other| *other != node);
        let discovery = match self.scenario.discovery {
            Discovery::Multicast => Ways::multicast(),
            Discovery::Seeds => Ways::seeds(others.map(|other| addr(other).to_string())),
            Discovery::Names => Ways::seeds(others.map(|other| format!("n{other}:{}", addr(other).port()))),
        };
        let mode = match self.scenario.mode {
            Mode::AllToAll => sessionmesh::Mode::AllToAll,
            Mode::PrimaryBackup(backups) => sessionmesh::Mode::PrimaryBackup { backups },
        };
        let ack = match self.scenario.ack {
            Ack::Owners => sessionmesh::Ack::Owners,
            Ack::Copies(copies) => sessionmesh::Ack::Copies(copies),
            Ack::Local => sessionmesh::Ack::Local,
        };
        Mesh::builder()
            .name(format!("n{node}"))
            .bind(addr(node))
            .advertise(addr(node))
            .insecure(true)
            .mode(mode)
            .ack(ack)
            .commit_deadline(self.commit_deadline)
            .discovery_window(self.discovery_window)
            .audit_interval(Duration::from_millis(self.scenario.audit_ms))
            .discovery(discovery)
            .network(Arc::new(wire.of(node)))
    }
}

/// The node that a fault is about; none for faults that are not of the stress.
fn node_of(fault: &Fault) -> Option<usize> {
    match *fault {
        Fault::Crash(node) | Fault::Start(node) | Fault::Leave(node) | Fault::Burst(node, _) => Some(node),
        _ => None,
    }
}
