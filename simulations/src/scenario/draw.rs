//! From a seed to a scenario.
//!
//! In the style of swarm testing (A. Groce, C. Zhang, E. Eide, Y. Chen, J. Regehr, "Swarm testing", 2012): what a run
//! consists of is drawn once for the whole run, so that most runs lack most things, and some have much of one.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};

use super::{Ack, Discovery, Episode, Event, Fault, IDLE_NEVER_MS, Kind, Load, Mix, Mode, Network, Scenario};

/// One of so many seeds is about a large cluster: this one, so that a batch from a round number on has it.
const LARGE_EVERY: u64 = 1_000;
const LARGE_AT: u64 = 249;
/// How long its episode is at most: it takes a second of real time and more for each simulated one.
const LARGE_MS: u64 = 8_000;
/// Nodes of a large cluster.
const LARGE: usize = 50;

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
        if seed % LARGE_EVERY == LARGE_AT { Self::large(seed, kind, mode) } else { Self::aimed(seed, kind, mode) }
    }

    /// The run of `seed` about one kind of faults in one mode.
    #[must_use]
    pub fn aimed(seed: u64, kind: Kind, mode: Mode) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5e55_1073);
        let smallest = if kind == Kind::Calm { 1 } else { 2 };
        let nodes = pick(&mut rng, &[3, 3, 3, 3, 3, 3, 4, 4, 5, 5, smallest, smallest, 6, 9]);
        Self::sized(rng, seed, kind, mode, nodes)
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
        Self {
            seed,
            kind,
            nodes,
            late,
            mode,
            later_mode: later_mode(seed, mode),
            discovery: pick(rng, &[Discovery::Multicast, Discovery::Multicast, Discovery::Seeds, Discovery::Names]),
            ack: match rng.random_range(0..20) {
                0..3 => Ack::Copies(1),
                3 => Ack::Local,
                _ => Ack::Owners,
            },
            strict: rng.random_bool(0.1),
            network: network(rng),
            tick_ms: pick(rng, &[1, 3, 5, 8, 10, 10]),
            audit_ms: rng.random_range(1_000..5_000),
            idle_ms: if idle { rng.random_range(2_000..6_000) } else { IDLE_NEVER_MS },
            skew_ms: (0..nodes).map(|_| if skewed { rng.random_range(-7_200_000..7_200_000) } else { 0 }).collect(),
            set_back_ms: if rng.random_bool(0.25) { rng.random_range(0..100_000) } else { 0 },
            load: load(rng, idle),
            episodes: episodes(rng, kind, mode, nodes, late),
        }
    }
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
        },
    }
}

fn episodes(rng: &mut StdRng, kind: Kind, mode: Mode, nodes: usize, late: usize) -> Vec<Episode> {
    let most_down = match mode {
        Mode::AllToAll => nodes - 1,
        Mode::PrimaryBackup(backups) => usize::from(backups).min(nodes - 1),
    };
    // Mostly no more nodes die than there are copies; the oracle knows what may be lost when more do.
    let most_down = if rng.random_bool(0.15) { nodes } else { most_down };
    let several: Vec<Kind> = if kind == Kind::Mixed {
        Kind::ALL.iter().map(|(kind, _)| *kind).filter(|_| rng.random_bool(0.35)).collect()
    } else {
        vec![kind]
    };
    let number = rng.random_range(1..=3);
    (0..number)
        .map(|number| {
            let mut drawn = Drawn::new(rng, nodes, late, most_down, number == 0);
            drawn.faults(&several, kind == Kind::Mixed);
            if kind == Kind::Idle {
                drawn.idle();
            }
            drawn.episode()
        })
        .collect()
}

/// An episode that is being drawn.
struct Drawn<'a> {
    rng: &'a mut StdRng,
    /// All nodes, in an order drawn for this episode.
    order: Vec<usize>,
    /// Nodes that may go down.
    victims: Vec<usize>,
    /// Nodes that were not there yet.
    late: Vec<usize>,
    events: Vec<Event>,
}

impl<'a> Drawn<'a> {
    fn new(rng: &'a mut StdRng, nodes: usize, late: usize, most_down: usize, first: bool) -> Self {
        let mut order: Vec<usize> = (0..nodes).collect();
        order.shuffle(rng);
        // At most so many nodes go down before all is whole again.
        let mut victims = order.clone();
        victims.truncate(rng.random_range(1..=most_down.max(1)).min(most_down));
        let late = if first { (nodes - late..nodes).collect() } else { Vec::new() };
        Self { rng, order, victims, late, events: Vec::new() }
    }

    fn faults(&mut self, kinds: &[Kind], several: bool) {
        let number = if several { self.rng.random_range(1..=3) } else { 1 + usize::from(self.rng.random_bool(0.3)) };
        for _ in 0..number {
            let Some(kind) = kinds.choose(self.rng).copied() else { break };
            let at = self.rng.random_range(50..1_500);
            self.add_kind(kind, at);
        }
        for node in std::mem::take(&mut self.late) {
            let at = self.rng.random_range(50..2_000);
            self.add(at, Fault::Start(node));
        }
        if self.rng.random_bool(0.15) {
            let (at, node) = (self.rng.random_range(0..3_000), pick(self.rng, &self.order));
            let jump = self.rng.random_range(-10_000_000..10_000_000);
            self.add(at, Fault::Jump(node, jump));
        }
    }

    fn episode(mut self) -> Episode {
        self.events.sort_by_key(|event| event.at_ms);
        let last = self.events.last().map_or(0, |event| event.at_ms);
        // The load goes on for a while: sometimes until long after the cluster has recovered.
        let long = self.rng.random_bool(0.3);
        let after = if long { self.rng.random_range(3_000..9_000) } else { self.rng.random_range(100..3_000) };
        Episode { events: self.events, length_ms: last + after }
    }

    fn add(&mut self, at_ms: u64, fault: Fault) {
        self.events.push(Event { at_ms, fault });
    }

    fn short_or_long(&mut self) -> u64 {
        if self.rng.random_bool(0.5) { self.rng.random_range(1..400) } else { self.rng.random_range(400..5_000) }
    }

    fn add_kind(&mut self, kind: Kind, at: u64) {
        match kind {
            Kind::Calm | Kind::Mixed | Kind::Idle | Kind::Join => {}
            Kind::Crash | Kind::PowerLoss | Kind::Leave => self.go_down(kind, at),
            Kind::Partition => self.partition(at),
            Kind::OneWay => self.one_way(at),
            Kind::Hold => self.hold(at),
            Kind::IsolateThenCrash => self.isolate_then_crash(at),
            Kind::Freeze => self.freeze(at),
            Kind::QuickRestart => self.quick_restart(at),
            Kind::CrashDuringRepair => self.crash_during_repair(at),
            Kind::Rolling => self.rolling(at),
            Kind::Gossip => self.gossip(at),
            Kind::Slow => self.slow(at),
            Kind::Burst => self.burst(at),
        }
    }

    fn go_down(&mut self, kind: Kind, mut at: u64) {
        if kind == Kind::Leave {
            // What leaves as planned loses nothing, so all but one may.
            let leaving = self.rng.random_range(1..self.order.len().max(2));
            self.victims = self.order[..leaving].to_vec();
        }
        // All victims, or one; at once, or one after the other.
        let together = self.rng.random_bool(0.5);
        while let Some(victim) = self.victims.pop() {
            self.add(
                at,
                match kind {
                    Kind::Crash => Fault::Crash(victim),
                    Kind::PowerLoss => Fault::PowerLoss(victim),
                    _ => Fault::Leave(victim),
                },
            );
            let down = self.short_or_long();
            // Some come again only when all is healed.
            if self.rng.random_bool(0.7) {
                self.add(at + down, Fault::Start(victim));
            }
            at += if together { self.rng.random_range(0..5) } else { self.short_or_long() };
        }
    }

    fn partition(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(1..=3) {
            // Two groups, or three.
            let mut groups: Vec<usize> = vec![self.rng.random_range(1..self.order.len())];
            if self.order.len() > 3 && self.rng.random_bool(0.2) {
                groups.push(self.rng.random_range(1..self.order.len()));
            }
            let group = |at: usize| groups.iter().filter(|border| at >= **border).count();
            let leaky = self.rng.random_bool(0.3);
            for one in 0..self.order.len() {
                for other in one + 1..self.order.len() {
                    // Sometimes a link or two survive.
                    let survives = leaky && self.order.len() > 2 && self.rng.random_bool(0.2);
                    if group(one) != group(other) && !survives {
                        self.add(at, Fault::Cut(self.order[one], self.order[other]));
                    }
                }
            }
            at += self.short_or_long();
            self.add(at, Fault::Heal);
            at += self.short_or_long();
        }
    }

    /// One node, and one or all of the others.
    fn one_and_others(&mut self) -> (usize, Vec<usize>) {
        let all = self.rng.random_bool(0.4);
        let others = self.order[1..].iter().copied().take(if all { self.order.len() } else { 1 });
        (self.order[0], others.collect())
    }

    fn one_way(&mut self, at: u64) {
        let (from, others) = self.one_and_others();
        let inwards = self.rng.random_bool(0.5);
        for to in others {
            self.add(at, if inwards { Fault::CutOneWay(to, from) } else { Fault::CutOneWay(from, to) });
        }
        let healed = at + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    fn hold(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(1..=3) {
            let (one, others) = self.one_and_others();
            for other in others {
                self.add(at, Fault::Hold(one, other));
            }
            at += self.short_or_long();
            self.add(at, Fault::Heal);
            at += self.short_or_long();
        }
    }

    fn isolate_then_crash(&mut self, at: u64) {
        let Some(victim) = self.victims.pop() else { return };
        for other in self.order.clone() {
            if other != victim {
                self.add(at, Fault::Cut(victim, other));
            }
        }
        let crashed = at + self.short_or_long();
        let power = self.rng.random_bool(0.5);
        self.add(crashed, if power { Fault::PowerLoss(victim) } else { Fault::Crash(victim) });
        let (healed, back) = (crashed + self.short_or_long(), crashed + self.short_or_long());
        self.add(healed, Fault::Heal);
        self.add(back, Fault::Start(victim));
    }

    /// A node on a busy host: again and again it waits for a processor, each time for less than a lease lasts.
    fn stutter(&mut self, mut at: u64) {
        let busy = pick(self.rng, &self.order);
        let (late, until) = (self.rng.random_range(60..295), at + self.rng.random_range(1_000..4_000));
        while at < until {
            self.add(at, Fault::Freeze(busy));
            self.add(at + late, Fault::Thaw(busy));
            at += late + self.rng.random_range(5..40);
        }
    }

    fn freeze(&mut self, mut at: u64) {
        if self.rng.random_bool(0.2) {
            return self.stutter(at);
        }
        for _ in 0..self.rng.random_range(1..=3) {
            let frozen = pick(self.rng, &self.order);
            self.add(at, Fault::Freeze(frozen));
            // Around the times at which leases run out and suspicion begins most can go wrong.
            at += if self.rng.random_bool(0.5) { self.rng.random_range(200..900) } else { self.short_or_long() };
            if self.rng.random_bool(0.1) {
                self.add(at, Fault::Crash(frozen));
                self.add(at + 500, Fault::Start(frozen));
            } else {
                self.add(at, Fault::Thaw(frozen));
            }
            at += self.short_or_long();
        }
    }

    fn quick_restart(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(1..=3) {
            let Some(victim) = self.victims.pop() else { return };
            let power = self.rng.random_bool(0.5);
            self.add(at, if power { Fault::PowerLoss(victim) } else { Fault::Crash(victim) });
            let back = at + self.rng.random_range(0..120);
            self.add(back, Fault::Start(victim));
            at = back + 2_000 + self.short_or_long();
        }
    }

    fn crash_during_repair(&mut self, at: u64) {
        let Some(first) = self.victims.pop() else { return };
        self.add(at, Fault::Crash(first));
        let back = at + self.rng.random_range(0..1_500);
        self.add(back, Fault::Start(first));
        // The copies are made again when the death is noticed, and when the node is back.
        let next = if self.rng.random_bool(0.5) { at } else { back } + self.rng.random_range(20..1_500);
        let second = self.victims.pop().unwrap_or(first);
        match self.rng.random_range(0..4) {
            0 => self.add(next, Fault::PowerLoss(second)),
            1 => {
                self.add(next, Fault::Freeze(second));
                let thaw = next + self.short_or_long();
                self.add(thaw, Fault::Thaw(second));
            }
            2 => self.add(next, Fault::Leave(second)),
            _ => self.add(next, Fault::Crash(second)),
        }
        let again = next + self.short_or_long();
        self.add(again, Fault::Start(second));
    }

    fn rolling(&mut self, mut at: u64) {
        for node in self.order.clone().into_iter().take(5) {
            self.add(at, Fault::Leave(node));
            at += self.rng.random_range(500..1_500);
            self.add(at, Fault::Start(node));
            // The next one waits until this one is ready, mostly.
            at += if self.rng.random_bool(0.8) { 3_000 } else { self.short_or_long() };
        }
    }

    fn gossip(&mut self, at: u64) {
        match self.rng.random_range(0..3) {
            0 => {
                let lost = self.rng.random_range(100..=1_000);
                self.add(at, Fault::LoseDatagrams(lost));
            }
            1 => self.add(at, Fault::LoseMulticast),
            _ => {
                let (one, others) = self.one_and_others();
                for other in others {
                    self.add(at, Fault::HoldStreams(one, other));
                }
            }
        }
        if self.rng.random_bool(0.4) {
            let crashed = at + self.rng.random_range(0..1_000);
            self.quick_restart(crashed);
        }
        let healed = at + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    fn slow(&mut self, at: u64) {
        let (one, others) = self.one_and_others();
        let ms = self.rng.random_range(20..600);
        for other in others {
            self.add(at, Fault::Slow(one, other, ms));
        }
        if self.rng.random_bool(0.4) {
            let down = at + self.rng.random_range(0..2_000);
            self.go_down(Kind::Crash, down);
        }
        let healed = at + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    /// Long enough for sessions to end, with a death in the middle or without.
    fn idle(&mut self) {
        if self.rng.random_bool(0.5) {
            let at = self.rng.random_range(1_000..6_000);
            self.go_down(Kind::Crash, at);
        }
        self.add(9_000, Fault::Heal);
    }

    fn burst(&mut self, at: u64) {
        let node = pick(self.rng, &self.order);
        let sessions = self.rng.random_range(20..300);
        self.add(at, Fault::Burst(node, sessions));
        let then = at + self.rng.random_range(0..200);
        match self.rng.random_range(0..4) {
            0 => self.hold(then),
            1 => self.go_down(Kind::Leave, then),
            2 => self.freeze(then),
            _ => self.crash_during_repair(then),
        }
    }
}
