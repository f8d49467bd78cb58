//! From a seed to a scenario.
//!
//! In the style of swarm testing (A. Groce, C. Zhang, E. Eide, Y. Chen, J. Regehr, "Swarm testing", 2012): what a run
//! consists of is drawn once for the whole run, so that most runs lack most things, and some have much of one.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::product::Product;
use super::{AUDIT_NEVER_MS, Ack, AtHeal, Discovery, IDLE_NEVER_MS, Kind, Load, Mix, Mode, Network, Scenario, Streams};

mod episode;
mod product;

use episode::episodes;
use product::with_product;

/// One of so many seeds is about a large cluster: this one, so that a batch from a round number on has it.
const LARGE_EVERY: u64 = 1_000;
const LARGE_AT: u64 = 249;
/// How long its episode is at most: it takes a second of real time and more for each simulated one.
const LARGE_MS: u64 = 8_000;
/// Nodes of a large cluster.
const LARGE: usize = 50;

/// One of so many seeds, this one, is about a cluster larger than usual.
const MEDIUM_EVERY: u64 = 50;
const MEDIUM_AT: u64 = 27;
const MEDIUM: std::ops::RangeInclusive<usize> = 10..=20;

impl Scenario {
    /// The run of `seed`, with anything that can be drawn.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let kind = pick(&mut rng, &Kind::ALL).0;
        let kind = if rng.random_bool(0.35) { Kind::Mixed } else { kind };
        let mode = match rng.random_range(0..10) {
            0..4 => Mode::AllToAll,
            4..8 => Mode::PrimaryBackup(1),
            _ => Mode::PrimaryBackup(2),
        };
        let mode = more_backups(seed, mode);
        match (seed % LARGE_EVERY, seed % MEDIUM_EVERY) {
            (LARGE_AT, _) => Self::large(seed, kind, mode),
            (_, MEDIUM_AT) => Self::medium(seed, kind, mode),
            _ => Self::aimed(seed, kind, mode),
        }
    }

    /// The run of `seed` about one kind of faults in one mode.
    #[must_use]
    pub fn aimed(seed: u64, kind: Kind, mode: Mode) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5e55_1073);
        let smallest = if kind == Kind::Calm { 1 } else { 2 };
        let nodes = pick(&mut rng, &[3, 3, 3, 3, 3, 3, 4, 4, 5, 5, smallest, smallest, 6, 9]);
        Self::sized(rng, seed, kind, mode, nodes)
    }

    /// A run of ten to twenty nodes.
    fn medium(seed: u64, kind: Kind, mode: Mode) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5e55_1073);
        let nodes = rng.random_range(MEDIUM);
        let mut scenario = Self::sized(rng, seed, kind, mode, nodes);
        scenario.tick_ms = 10;
        scenario.episodes.truncate(1);
        scenario
    }

    /// A short run of many nodes.
    fn large(seed: u64, kind: Kind, mode: Mode) -> Self {
        let rng = StdRng::seed_from_u64(seed ^ 0x5e55_1073);
        // With every node an owner of all, the messages of fifty nodes take minutes to simulate.
        let mode = if mode == Mode::AllToAll { Mode::PrimaryBackup(1) } else { mode };
        let mut scenario = Self::sized(rng, seed, kind, mode, LARGE);
        scenario.later_mode = None;
        scenario.tick_ms = 10;
        scenario.episodes.truncate(1);
        for episode in &mut scenario.episodes {
            episode.events.retain(|event| event.at_ms < LARGE_MS);
            episode.length_ms = episode.length_ms.min(LARGE_MS);
        }
        scenario.idle_ms = IDLE_NEVER_MS;
        scenario.load.mix.absent = 0;
        scenario
    }

    fn sized(mut rng: StdRng, seed: u64, kind: Kind, mode: Mode, nodes: usize) -> Self {
        let rng = &mut rng;
        let skewed = rng.random_bool(0.5);
        let idle = kind == Kind::Idle || rng.random_bool(0.25);
        let late = match kind {
            Kind::Join => rng.random_range(1..=(nodes - 1).min(3)),
            Kind::Mixed if rng.random_bool(0.2) => 1.min(nodes - 1),
            _ => 0,
        };
        let discovery = pick(rng, &[Discovery::Multicast, Discovery::Multicast, Discovery::Seeds, Discovery::Names]);
        let certificates = certificates(seed, discovery);
        with_product(Self {
            seed,
            kind,
            nodes,
            late,
            mode,
            later_mode: later_mode(seed, mode),
            discovery,
            ack: match rng.random_range(0..20) {
                0..3 => Ack::Copies(1),
                3 => Ack::Local,
                _ => Ack::Owners,
            },
            strict: rng.random_bool(0.1),
            secret: secret(seed) && !certificates,
            certificates,
            upgrade: upgrade(seed),
            network: Network { streams: streams(seed), ..network(rng) },
            tick_ms: pick(rng, &[1, 3, 5, 8, 10, 10]),
            audit_ms: audit_ms(rng.random_range(1_000..5_000), seed),
            idle_ms: if idle { rng.random_range(2_000..6_000) } else { IDLE_NEVER_MS },
            skew_ms: (0..nodes).map(|_| if skewed { rng.random_range(-7_200_000..7_200_000) } else { 0 }).collect(),
            set_back_ms: if rng.random_bool(0.25) { rng.random_range(0..100_000) } else { 0 },
            load: keeping(load(rng, idle), seed),
            product: Product::default(),
            episodes: episodes(rng, kind, mode, nodes, late),
        })
    }
}

/// In a third of the runs no audit is due, so that nothing is repaired by one which should not need it. Drawn apart, so that all
/// else of a seed stays as it is.
fn audit_ms(drawn: u64, seed: u64) -> u64 {
    let never = StdRng::seed_from_u64(seed ^ 0xa0d1_70ff).random_bool(1.0 / 3.0);
    if never { AUDIT_NEVER_MS } else { drawn }
}

/// Half of the clusters have a secret. Drawn apart, so that all else of a seed stays as it is.
fn secret(seed: u64) -> bool {
    StdRng::seed_from_u64(seed ^ 0x5ec2_e7ed).random_bool(0.5)
}

/// Some clusters have certificates; these do not protect beacons. Drawn apart, so that all else of a seed stays as it is.
fn certificates(seed: u64, discovery: Discovery) -> bool {
    StdRng::seed_from_u64(seed ^ 0xce27_f1e5).random_bool(0.3) && discovery != Discovery::Multicast
}

/// In some runs visitors keep handles. Drawn apart, so that all else of a seed stays as it is.
fn keeping(mut load: Load, seed: u64) -> Load {
    load.mix.keep = swarm(&mut StdRng::seed_from_u64(seed ^ 0x0c0d_e0f5), 0.4, 2);
    load
}

/// More backups than usual, in some runs. Drawn apart, so that all else of a seed stays as it is.
fn more_backups(seed: u64, mode: Mode) -> Mode {
    let more = StdRng::seed_from_u64(seed ^ 0x3bac_c0b5).random_bool(0.2);
    if more && mode == Mode::PrimaryBackup(2) { Mode::PrimaryBackup(3) } else { mode }
}

/// In some runs the nodes are of two versions. Drawn apart, so that all else of a seed stays as it is.
fn upgrade(seed: u64) -> bool {
    StdRng::seed_from_u64(seed ^ 0x0bf5_c0de).random_bool(0.3)
}

/// Another mode for nodes that start again, in some runs. Drawn apart, so that all else of a seed stays as it is.
fn later_mode(seed: u64, mode: Mode) -> Option<Mode> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6d0d_e5e7);
    let modes = [Mode::AllToAll, Mode::PrimaryBackup(1), Mode::PrimaryBackup(2)];
    let others: Vec<Mode> = modes.into_iter().filter(|other| *other != mode).collect();
    let other = pick(&mut rng, &others);
    rng.random_bool(0.2).then_some(other)
}

/// A weight, or none in this run.
fn swarm(rng: &mut StdRng, on: f64, weight: u32) -> u32 {
    if rng.random_bool(on) { weight } else { 0 }
}

fn pick<T: Copy>(rng: &mut StdRng, among: &[T]) -> T {
    *among.choose(rng).expect("there is something to choose from")
}

fn network(rng: &mut StdRng) -> Network {
    let low = rng.random_range(0..3);
    Network {
        latency_ms: (low, low + pick(rng, &[0, 1, 3, 10, 30])),
        lost: swarm(rng, 0.4, 50),
        doubled: swarm(rng, 0.3, 50),
        delayed: swarm(rng, 0.3, 50),
        streams: Streams::default(),
    }
}

/// What connections are like. Drawn apart, so that all else of a seed stays as it is.
fn streams(seed: u64) -> Streams {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x57_2ea3);
    Streams {
        buffer_bytes: if rng.random_bool(0.25) {
            rng.random_range(16_000..64_000)
        } else {
            Streams::default().buffer_bytes
        },
        pieces: rng.random_bool(0.3),
        at_heal: pick(&mut rng, &[AtHeal::Wait, AtHeal::Wait, AtHeal::Resume, AtHeal::Reset]),
        fragments_lost: rng.random_bool(0.3),
    }
}

fn load(rng: &mut StdRng, idle: bool) -> Load {
    // Writes carry accesses along, so to see how accesses travel by themselves there must be few.
    let lazy = idle && rng.random_bool(0.5);
    Load {
        visitors: rng.random_range(1..=6),
        tabs: rng.random_range(1..=3),
        sticky: pick(rng, &[0, 50, 90, 100]),
        think_ms: (1, if lazy { 1_000 } else { pick(rng, &[20, 50, 100, 200, 200, 1_000]) }),
        value_bytes: pick(rng, &[0, 0, 0, 100, 4_000]),
        mix: Mix {
            read: 10,
            write: if lazy { 1 } else { 10 },
            slow_write: swarm(rng, 0.5, 3),
            shared: swarm(rng, 0.4, 3),
            count: swarm(rng, 0.4, 3),
            remove: swarm(rng, 0.3, 2),
            logout: swarm(rng, 0.6, 1),
            renew: swarm(rng, 0.4, 1),
            absent: if lazy { 4 } else { u32::from(idle) },
            keep: 0,
        },
    }
}
