//! The faults of one round, as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::Hunt;
use crate::checker::GOES_ON;
use crate::clock::Ms;
use crate::fault::{Fault, Planned, both_ways};
use crate::network::{How, Network, Traffic};

/// Between two looks at what is due, and at who has ended.
const TICK: Duration = Duration::from_millis(5);
/// How long a planned stop may take once all is healed.
const STOPS_WITHIN_MS: Ms = 20_000;

#[derive(Clone, Copy, Debug)]
enum Action {
    Begin(usize),
    End(usize),
    Start(usize),
}

/// A planned stop that is under way.
struct Stop {
    begun: Ms,
    stayed: usize,
    down: Ms,
}

/// The faults of one round, as they come.
pub(super) struct Episode<'a> {
    hunt: &'a mut Hunt,
    planned: &'a [Planned],
    due: Vec<(Ms, Action)>,
    stopping: BTreeMap<usize, Stop>,
    frozen: BTreeSet<usize>,
    /// Faults under way that are about the network.
    cuts: BTreeSet<usize>,
    /// Nodes that were frozen in this round.
    were_frozen: BTreeSet<usize>,
    /// What is harmless as long as no node starts meanwhile, and the other way round.
    has_soft: bool,
    has_restart: bool,
}

impl<'a> Episode<'a> {
    pub(super) fn new(hunt: &'a mut Hunt, planned: &'a [Planned]) -> Self {
        let now = hunt.site.clock.now();
        let due = planned.iter().enumerate().map(|(at, planned)| (now + planned.at, Action::Begin(at))).collect();
        Self {
            hunt,
            planned,
            due,
            stopping: BTreeMap::new(),
            frozen: BTreeSet::new(),
            cuts: BTreeSet::new(),
            were_frozen: BTreeSet::new(),
            has_soft: false,
            has_restart: false,
        }
    }

    /// Plays all faults to their ends, and heals what is left.
    pub(super) async fn play(mut self) -> anyhow::Result<()> {
        while !self.due.is_empty() {
            self.reap()?;
            let now = self.now();
            self.due.sort_by_key(|(at, _)| *at);
            while self.due.first().is_some_and(|(at, _)| *at <= now) {
                let (_, action) = self.due.remove(0);
                self.act(action).await?;
            }
            sleep(TICK).await;
        }
        self.heal().await
    }

    fn now(&self) -> Ms {
        self.hunt.site.clock.now()
    }

    async fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Begin(at) => self.begin(at).await,
            Action::End(at) => self.end(at),
            Action::Start(node) => self.start(node),
        }
    }

    async fn begin(&mut self, at: usize) -> anyhow::Result<()> {
        let (now, fault) = (self.now(), self.planned[at].fault.clone());
        match fault {
            Fault::Kill { node, down } => {
                if self.hunt.system.runs(node) {
                    self.hunt.site.checker().world.crashed(node, now);
                    self.stopping.remove(&node);
                    self.hunt.system.kill(node).await?;
                    self.due.push((now + down, Action::Start(node)));
                }
            }
            Fault::Freeze { node, long } => {
                self.frozen.insert(node);
                self.were_frozen.insert(node);
                self.has_soft = true;
                self.disturb(self.were_frozen.len() > 1);
                self.hunt.system.signal(node, Signal::STOP);
                self.due.push((now + long, Action::End(at)));
            }
            Fault::Stop { node, down } => {
                if self.hunt.system.runs(node) && !self.stopping.contains_key(&node) {
                    // Until it has handed over, it counts as a crash.
                    self.hunt.site.checker().world.crashed(node, now);
                    self.stopping.insert(node, Stop { begun: now, stayed: self.stayed(node), down });
                    self.hunt.system.signal(node, Signal::TERM);
                }
            }
            Fault::Unplug { node, long } => {
                self.cut(at, long);
                self.hunt.system.network.plug(node, false);
            }
            Fault::Packets { blocks, long, splits, .. } => {
                if splits {
                    self.cut(at, long);
                } else {
                    self.has_soft = true;
                    self.disturb(false);
                    self.due.push((now + long, Action::End(at)));
                }
                self.hunt.system.network.block(at, blocks)?;
            }
            Fault::Reset { node, long } => {
                self.cut(at, long);
                let others: Vec<usize> = (0..self.hunt.system.nodes()).filter(|other| *other != node).collect();
                let blocks = both_ways(&[node], &others, Traffic::Tcp, How::Reset);
                self.hunt.system.network.block(at, blocks)?;
                self.hunt.system.network.reset(node);
            }
            Fault::Slow { node, long } => {
                self.cut(at, long);
                self.hunt.system.network.slow(node, true)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, at: usize) -> anyhow::Result<()> {
        self.cuts.remove(&at);
        match &self.planned[at].fault {
            Fault::Freeze { node, .. } => {
                self.frozen.remove(node);
                self.hunt.system.signal(*node, Signal::CONT);
            }
            Fault::Unplug { node, .. } => self.hunt.system.network.plug(*node, true),
            Fault::Packets { .. } | Fault::Reset { .. } => self.hunt.system.network.unblock(at)?,
            Fault::Slow { node, .. } => self.hunt.system.network.slow(*node, false)?,
            Fault::Kill { .. } | Fault::Stop { .. } => {}
        }
        Ok(())
    }

    fn start(&mut self, node: usize) -> anyhow::Result<()> {
        if self.hunt.system.runs(node) {
            return Ok(());
        }
        self.has_restart = true;
        self.disturb(false);
        self.hunt.site.checker().world.started(node);
        self.hunt.system.start(node)
    }

    /// A fault of the network that keeps nodes apart.
    fn cut(&mut self, at: usize, long: Ms) {
        self.cuts.insert(at);
        self.disturb(true);
        self.due.push((self.now() + long, Action::End(at)));
    }

    fn disturb(&self, splits: bool) {
        let splits = splits || (self.has_soft && self.has_restart);
        self.hunt.site.checker().world.disturbed(splits, self.now());
    }

    /// How many nodes certainly take what a node hands over.
    fn stayed(&self, node: usize) -> usize {
        if !self.cuts.is_empty() || self.frozen.contains(&node) {
            return 0;
        }
        let takes = |other: &usize| {
            let gone = self.stopping.contains_key(other) || self.frozen.contains(other);
            *other != node && self.hunt.system.runs(*other) && !gone
        };
        (0..self.hunt.system.nodes()).filter(takes).count()
    }

    /// Who has ended: as planned, or not.
    fn reap(&mut self) -> anyhow::Result<()> {
        for node in 0..self.hunt.system.nodes() {
            let Some(status) = self.hunt.system.ended(node)? else { continue };
            let now = self.now();
            let Some(stop) = self.stopping.remove(&node) else {
                let detail = format!("node {} ended with {status}:\n{}", Network::name(node), self.log(node));
                let mut checker = self.hunt.site.checker();
                checker.demand(GOES_ON, false, None, detail);
                checker.world.crashed(node, now);
                drop(checker);
                self.due.push((now, Action::Start(node)));
                continue;
            };
            if status.success() {
                let stayed = stop.stayed.min(self.stayed(node));
                self.hunt.site.checker().world.handed_over(node, stop.begun, stayed);
            }
            self.due.push((now + stop.down, Action::Start(node)));
        }
        Ok(())
    }

    fn log(&self, node: usize) -> String {
        self.hunt.system.last_lines(node)
    }

    async fn heal(&mut self) -> anyhow::Result<()> {
        self.hunt.system.network.heal()?;
        for node in 0..self.hunt.system.nodes() {
            self.hunt.system.signal(node, Signal::CONT);
        }
        self.frozen.clear();
        self.cuts.clear();
        let until = self.now() + STOPS_WITHIN_MS;
        while !self.stopping.is_empty() {
            self.reap()?;
            if self.now() > until {
                let nodes: Vec<&str> = self.stopping.keys().map(|node| Network::name(*node)).collect();
                let detail = format!("{} still stop {STOPS_WITHIN_MS} ms after all was healed", nodes.join(", "));
                self.hunt.site.checker().demand(GOES_ON, false, None, detail);
                for node in std::mem::take(&mut self.stopping).into_keys() {
                    self.hunt.system.kill(node).await?;
                }
            }
            sleep(TICK).await;
        }
        for node in 0..self.hunt.system.nodes() {
            self.start(node)?;
        }
        let mut checker = self.hunt.site.checker();
        checker.demand(GOES_ON, true, None, String::new());
        Ok(())
    }
}
