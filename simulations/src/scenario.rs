//! A run as data: one seed decides it, and it prints as text.

use std::fmt;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};

/// Which nodes hold a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of them.
    AllToAll,
    /// A primary and so many others.
    PrimaryBackup(u8),
}

/// How nodes find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Beacons.
    Multicast,
    /// The addresses of all nodes.
    Seeds,
    /// The names of all nodes.
    Names,
}

/// What goes wrong, or right again. Nodes are named by their number, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies; the system closes its connections.
    Crash(usize),
    /// The machine dies; nobody is told.
    PowerLoss(usize),
    /// The node starts again, empty.
    Start(usize),
    /// The node hands over and stops; it starts again by [`Fault::Start`].
    Leave(usize),
    /// Nothing passes between two nodes, in either direction.
    Cut(usize, usize),
    /// Nothing passes from the one to the other.
    CutOneWay(usize, usize),
    /// All between two nodes waits.
    Hold(usize, usize),
    /// All links work again; what waited arrives.
    Heal,
}

/// A fault and when it happens, in milliseconds since the start of its episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

/// Faults between two moments at which the cluster is whole: at the end of an episode all is healed and settles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// In the order of time.
    pub events: Vec<Event>,
    /// How long clients work and faults happen before all is healed.
    pub length_ms: u64,
}

/// What kind of faults a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None.
    Calm,
    /// Processes die and start again.
    Crash,
    /// Machines die.
    PowerLoss,
    /// Nodes leave as planned and come again.
    Leave,
    /// The network falls apart and heals.
    Partition,
    /// Links fail in one direction.
    OneWay,
    /// Links stand still for a while.
    Hold,
    /// A node is cut off, goes on serving, and dies.
    IsolateThenCrash,
    /// Any of these in each episode.
    Mixed,
}

impl Kind {
    /// All kinds, with their names.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Calm, "calm"),
        (Self::Crash, "crash"),
        (Self::PowerLoss, "power-loss"),
        (Self::Leave, "leave"),
        (Self::Partition, "partition"),
        (Self::OneWay, "one-way"),
        (Self::Hold, "hold"),
        (Self::IsolateThenCrash, "isolate-then-crash"),
        (Self::Mixed, "mixed"),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// How often visitors do what, as weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Read.
    pub read: u32,
    /// Read, then write an attribute of this tab's own.
    pub write: u32,
    /// The same with a pause between the two.
    pub slow_write: u32,
    /// End the session.
    pub logout: u32,
    /// Give the session a new id.
    pub renew: u32,
}

/// The clients of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Visitors, each with a session of its own.
    pub visitors: usize,
    /// Parallel clients of each visitor.
    pub tabs: usize,
    /// Of a hundred requests, so many go to the visitor's own node.
    pub sticky: u32,
    /// Pause between two requests of a tab: the shortest and the longest.
    pub think_ms: (u64, u64),
    /// What they do.
    pub mix: Mix,
}

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Decides all that is random while it runs, too.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// Number of nodes.
    pub nodes: usize,
    /// Which of them hold copies.
    pub mode: Mode,
    /// How they find each other.
    pub discovery: Discovery,
    /// Commits ask for so many copies, or for all owners.
    pub copies: Option<u8>,
    /// The shortest and longest way of a message.
    pub latency_ms: (u64, u64),
    /// Datagrams lost and doubled, in thousandths.
    pub datagrams: (u32, u32),
    /// Step of simulated time.
    pub tick_ms: u64,
    /// Time between two audits.
    pub audit_ms: u64,
    /// By how much the wall clock of each node is wrong.
    pub skew_ms: Vec<i64>,
    /// By how much it is set back at each start after the first.
    pub set_back_ms: i64,
    /// The clients.
    pub load: Load,
    /// The faults.
    pub episodes: Vec<Episode>,
}

impl Scenario {
    /// The run of `seed`, with anything that can be drawn.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let kind = Kind::ALL.choose(&mut rng).map_or(Kind::Mixed, |(kind, _)| *kind);
        // Half of all runs are mixed.
        let kind = if rng.random_bool(0.4) { Kind::Mixed } else { kind };
        let mode = match rng.random_range(0..10) {
            0..4 => Mode::AllToAll,
            4..8 => Mode::PrimaryBackup(1),
            _ => Mode::PrimaryBackup(2),
        };
        Self::aimed(seed, kind, mode)
    }

    /// The run of `seed` about one kind of faults in one mode.
    #[must_use]
    pub fn aimed(seed: u64, kind: Kind, mode: Mode) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5e55_1073);
        let smallest = match kind {
            Kind::Calm => 1,
            _ => 2,
        };
        let nodes = *[3, 3, 3, 3, 4, 5, smallest].choose(&mut rng).unwrap_or(&3);
        let latency_low = rng.random_range(0..3);
        let swarm = |rng: &mut StdRng, on: f64, weight: u32| if rng.random_bool(on) { weight } else { 0 };
        let skewed = rng.random_bool(0.5);
        let episodes = rng.random_range(1..=3);
        let most_down = match mode {
            Mode::AllToAll => nodes - 1,
            Mode::PrimaryBackup(backups) => usize::from(backups).min(nodes - 1),
        };
        Self {
            seed,
            kind,
            nodes,
            mode,
            discovery: *[Discovery::Multicast, Discovery::Multicast, Discovery::Seeds, Discovery::Names]
                .choose(&mut rng)
                .unwrap_or(&Discovery::Multicast),
            copies: rng.random_bool(0.15).then_some(1),
            latency_ms: (latency_low, latency_low + *[0, 1, 3, 10, 30].choose(&mut rng).unwrap_or(&1)),
            datagrams: (swarm(&mut rng, 0.4, 50), swarm(&mut rng, 0.3, 50)),
            tick_ms: rng.random_range(1..=2),
            audit_ms: rng.random_range(1_000..5_000),
            skew_ms: (0..nodes).map(|_| if skewed { rng.random_range(-7_200_000..7_200_000) } else { 0 }).collect(),
            set_back_ms: if rng.random_bool(0.25) { rng.random_range(0..100_000) } else { 0 },
            load: Load {
                visitors: rng.random_range(1..=6),
                tabs: rng.random_range(1..=3),
                sticky: *[0, 50, 90, 100].choose(&mut rng).unwrap_or(&0),
                think_ms: (1, *[10, 50, 200].choose(&mut rng).unwrap_or(&50)),
                mix: Mix {
                    read: 10,
                    write: 10,
                    slow_write: swarm(&mut rng, 0.5, 3),
                    logout: swarm(&mut rng, 0.6, 1),
                    renew: swarm(&mut rng, 0.4, 1),
                },
            },
            episodes: (0..episodes).map(|_| episode(&mut rng, kind, nodes, most_down)).collect(),
        }
    }

    /// How many nodes may crash without loss when all owners have a copy.
    #[must_use]
    pub fn spare_copies(&self) -> usize {
        match self.mode {
            Mode::AllToAll => self.nodes - 1,
            Mode::PrimaryBackup(backups) => usize::from(backups).min(self.nodes - 1),
        }
    }
}

fn episode(rng: &mut StdRng, kind: Kind, nodes: usize, most_down: usize) -> Episode {
    let mut order: Vec<usize> = (0..nodes).collect();
    order.shuffle(rng);
    // At most so many nodes go down before all is whole again.
    let mut victims = order.clone();
    victims.truncate(rng.random_range(1..=most_down.max(1)).min(most_down));
    let mut events = Vec::new();
    if kind == Kind::Mixed {
        for _ in 0..rng.random_range(1..=3) {
            let one = Kind::ALL.choose(rng).map_or(Kind::Crash, |(kind, _)| *kind);
            faults(rng, one, &order, &mut victims, &mut events);
        }
    } else {
        faults(rng, kind, &order, &mut victims, &mut events);
        if rng.random_bool(0.3) {
            faults(rng, kind, &order, &mut victims, &mut events);
        }
    }
    events.sort_by_key(|event| event.at_ms);
    let last = events.last().map_or(0, |event| event.at_ms);
    // The load goes on for a while: sometimes until long after the cluster has recovered.
    let after = if rng.random_bool(0.3) { rng.random_range(3_000..9_000) } else { rng.random_range(100..3_000) };
    Episode { events, length_ms: last + after }
}

fn faults(rng: &mut StdRng, kind: Kind, order: &[usize], victims: &mut Vec<usize>, events: &mut Vec<Event>) {
    let at = rng.random_range(50..1_500);
    let short_or_long =
        |rng: &mut StdRng| if rng.random_bool(0.5) { rng.random_range(1..400) } else { rng.random_range(400..5_000) };
    let mut add = |at_ms, fault| events.push(Event { at_ms, fault });
    match kind {
        Kind::Calm | Kind::Mixed => {}
        Kind::Crash | Kind::PowerLoss | Kind::Leave => {
            // All victims, or one; at once, or one after the other.
            let together = rng.random_bool(0.5);
            let mut at = at;
            while let Some(victim) = victims.pop() {
                add(
                    at,
                    match kind {
                        Kind::Crash => Fault::Crash(victim),
                        Kind::PowerLoss => Fault::PowerLoss(victim),
                        _ => Fault::Leave(victim),
                    },
                );
                let down = short_or_long(rng);
                // Some come again only when all is healed.
                if rng.random_bool(0.7) {
                    add(at + down, Fault::Start(victim));
                }
                at += if together { rng.random_range(0..5) } else { short_or_long(rng) };
            }
        }
        Kind::Partition => {
            let mut at = at;
            for _ in 0..rng.random_range(1..=3) {
                let cut = rng.random_range(1..order.len());
                for &one in &order[..cut] {
                    for &other in &order[cut..] {
                        // Sometimes a link or two survive.
                        if order.len() == 2 || rng.random_bool(0.9) {
                            add(at, Fault::Cut(one, other));
                        }
                    }
                }
                at += short_or_long(rng);
                add(at, Fault::Heal);
                at += short_or_long(rng);
            }
        }
        Kind::OneWay => {
            let from = order[0];
            let all = rng.random_bool(0.4);
            let inwards = rng.random_bool(0.5);
            for &to in order[1..].iter().take(if all { order.len() } else { 1 }) {
                add(at, if inwards { Fault::CutOneWay(to, from) } else { Fault::CutOneWay(from, to) });
            }
            add(at + short_or_long(rng), Fault::Heal);
        }
        Kind::Hold => {
            let mut at = at;
            for _ in 0..rng.random_range(1..=3) {
                let all = rng.random_bool(0.4);
                for &to in order[1..].iter().take(if all { order.len() } else { 1 }) {
                    add(at, Fault::Hold(order[0], to));
                }
                at += short_or_long(rng);
                add(at, Fault::Heal);
                at += short_or_long(rng);
            }
        }
        Kind::IsolateThenCrash => {
            let Some(victim) = victims.pop() else { return };
            for &other in order.iter().filter(|other| **other != victim) {
                add(at, Fault::Cut(victim, other));
            }
            let crashed = at + short_or_long(rng);
            add(crashed, if rng.random_bool(0.5) { Fault::Crash(victim) } else { Fault::PowerLoss(victim) });
            let healed = crashed + short_or_long(rng);
            add(healed, Fault::Heal);
            add(crashed + short_or_long(rng), Fault::Start(victim));
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node) => write!(f, "crash n{node}"),
            Self::PowerLoss(node) => write!(f, "power-loss n{node}"),
            Self::Start(node) => write!(f, "start n{node}"),
            Self::Leave(node) => write!(f, "leave n{node}"),
            Self::Cut(one, other) => write!(f, "cut n{one} n{other}"),
            Self::CutOneWay(from, to) => write!(f, "cut-one-way n{from} n{to}"),
            Self::Hold(one, other) => write!(f, "hold n{one} n{other}"),
            Self::Heal => write!(f, "heal"),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "kind {}", self.kind.name())?;
        writeln!(f, "nodes {}", self.nodes)?;
        match self.mode {
            Mode::AllToAll => writeln!(f, "mode all-to-all")?,
            Mode::PrimaryBackup(backups) => writeln!(f, "mode primary-backup {backups}")?,
        }
        writeln!(f, "discovery {}", format!("{:?}", self.discovery).to_lowercase())?;
        match self.copies {
            Some(copies) => writeln!(f, "ack copies {copies}")?,
            None => writeln!(f, "ack owners")?,
        }
        writeln!(f, "latency-ms {} {}", self.latency_ms.0, self.latency_ms.1)?;
        writeln!(f, "datagrams-lost-doubled {} {}", self.datagrams.0, self.datagrams.1)?;
        writeln!(f, "tick-ms {}", self.tick_ms)?;
        writeln!(f, "audit-ms {}", self.audit_ms)?;
        writeln!(f, "skew-ms {:?}", self.skew_ms)?;
        writeln!(f, "set-back-ms {}", self.set_back_ms)?;
        let load = &self.load;
        let (low, high) = load.think_ms;
        writeln!(f, "load visitors {} tabs {} sticky {} think-ms {low} {high}", load.visitors, load.tabs, load.sticky)?;
        let mix = &load.mix;
        writeln!(
            f,
            "mix read {} write {} slow-write {} logout {} renew {}",
            mix.read, mix.write, mix.slow_write, mix.logout, mix.renew
        )?;
        for episode in &self.episodes {
            writeln!(f, "episode {}", episode.length_ms)?;
            for event in &episode.events {
                writeln!(f, "  {} {}", event.at_ms, event.fault)?;
            }
        }
        Ok(())
    }
}
