//! An episode: faults of one or several kinds, one after the other or at once.
//!
//! `nodes`: the kinds that begin with a node. `links`: those that begin with what is between nodes. `composed`: several that meet
//! where each alone does little.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use super::pick;
use crate::scenario::{Episode, Event, Fault, Kind, Mode};

mod composed;
mod links;
mod nodes;

pub(super) fn episodes(rng: &mut StdRng, kind: Kind, mode: Mode, nodes: usize, late: usize) -> Vec<Episode> {
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
            Kind::Composed => self.composed(at),
        }
    }
}
