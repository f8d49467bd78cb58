//! Which scenarios can be played: those that were drawn, and those that were cut down or written by hand and make sense.

use super::{Ack, Episode, Fault, Load, Mix, Mode, Network, Scenario};

/// Nodes of the largest cluster.
pub const NODES_MAX: usize = 64;
/// All episodes together; turmoil runs for an hour, and settling takes time, too.
pub const LENGTH_MS_MAX: u64 = 2_000_000;

impl Fault {
    /// The same fault of other nodes: `number` says which. None if one of them is not there.
    #[must_use]
    pub fn renumbered(&self, number: impl Fn(usize) -> Option<usize>) -> Option<Self> {
        Some(match *self {
            Self::Crash(node) => Self::Crash(number(node)?),
            Self::PowerLoss(node) => Self::PowerLoss(number(node)?),
            Self::Start(node) => Self::Start(number(node)?),
            Self::Leave(node) => Self::Leave(number(node)?),
            Self::Freeze(node) => Self::Freeze(number(node)?),
            Self::Thaw(node) => Self::Thaw(number(node)?),
            Self::Cut(one, other) => Self::Cut(number(one)?, number(other)?),
            Self::CutOneWay(from, to) => Self::CutOneWay(number(from)?, number(to)?),
            Self::Hold(one, other) => Self::Hold(number(one)?, number(other)?),
            Self::HoldStreams(one, other) => Self::HoldStreams(number(one)?, number(other)?),
            Self::Slow(one, other, ms) => Self::Slow(number(one)?, number(other)?, ms),
            Self::Reset(one, other) => Self::Reset(number(one)?, number(other)?),
            Self::LoseDatagrams(thousandths) => Self::LoseDatagrams(thousandths),
            Self::LoseMulticast => Self::LoseMulticast,
            Self::Heal => Self::Heal,
            Self::Jump(node, ms) => Self::Jump(number(node)?, ms),
            Self::Burst(node, sessions) => Self::Burst(number(node)?, sessions),
        })
    }

    /// What is wrong with it, in a cluster of `nodes`.
    fn validate(&self, nodes: usize) -> Result<(), String> {
        let there = self.renumbered(|node| (node < nodes).then_some(node));
        demand(there.is_some(), || format!("`{self}`: nodes are numbered from 0 to {}", nodes.max(1) - 1))?;
        match *self {
            Self::Cut(one, other)
            | Self::CutOneWay(one, other)
            | Self::Hold(one, other)
            | Self::HoldStreams(one, other)
            | Self::Reset(one, other)
            | Self::Slow(one, other, _) => demand(one != other, || format!("`{self}`: a link has two ends")),
            Self::LoseDatagrams(lost) => demand(lost <= 1_000, || format!("`{self}`: more than all of them")),
            _ => Ok(()),
        }
    }
}

impl Scenario {
    /// # Errors
    ///
    /// It cannot be played: the text says why.
    pub fn validate(&self) -> Result<(), String> {
        let Self { nodes, late, .. } = *self;
        demand((1..=NODES_MAX).contains(&nodes), || format!("nodes is {nodes}, but must be from 1 to {NODES_MAX}"))?;
        demand(late < nodes, || format!("late is {late}: at least one of {nodes} nodes must be there from the start"))?;
        let skews = self.skew_ms.len();
        demand(skews == nodes, || format!("skew_ms has {skews} entries for {nodes} nodes"))?;
        for mode in [Some(self.mode), self.later_mode] {
            demand(mode != Some(Mode::PrimaryBackup(0)), || "mode: at least one backup is needed".to_owned())?;
        }
        if let Ack::Copies(copies) = self.ack {
            let modes = [Some(self.mode), self.later_mode];
            let too_few = |mode: &Mode| matches!(mode, Mode::PrimaryBackup(backups) if *backups < copies);
            let found = modes.iter().flatten().find(|mode| too_few(mode));
            demand(found.is_none(), || format!("ack: Copies({copies}), but {found:?} has fewer"))?;
        }
        demand(self.ack != Ack::Copies(0), || "ack: Copies(0) is called Local".to_owned())?;
        for (name, ms) in [("tick_ms", self.tick_ms), ("audit_ms", self.audit_ms), ("idle_ms", self.idle_ms)] {
            demand(ms > 0, || format!("{name} must not be 0"))?;
        }
        self.network.validate()?;
        self.load.validate()?;
        self.product.validate()?;
        let records = self.product.records == 0 || !self.has_idle_limit();
        demand(records, || "product: records need sessions that do not end by themselves".to_owned())?;
        let length: u64 = self.episodes.iter().map(|episode| episode.length_ms).fold(0, u64::saturating_add);
        demand(length <= LENGTH_MS_MAX, || format!("the episodes last {length} ms, but {LENGTH_MS_MAX} are possible"))?;
        for (at, episode) in self.episodes.iter().enumerate() {
            episode.validate(nodes).map_err(|why| format!("episode {}: {why}", at + 1))?;
        }
        Ok(())
    }
}

impl Episode {
    fn validate(&self, nodes: usize) -> Result<(), String> {
        let mut last = 0;
        for event in &self.events {
            let (at, fault) = (event.at_ms, &event.fault);
            demand(at >= last, || format!("`{fault}` at {at} ms stands after an event at {last} ms"))?;
            demand(at <= self.length_ms, || format!("`{fault}` at {at} ms: it ends at {} ms", self.length_ms))?;
            fault.validate(nodes)?;
            last = at;
        }
        Ok(())
    }
}

impl Network {
    fn validate(&self) -> Result<(), String> {
        let (low, high) = self.latency_ms;
        demand(low <= high, || format!("latency_ms is ({low}, {high}), but the shortest comes first"))?;
        for (name, share) in [("lost", self.lost), ("doubled", self.doubled), ("delayed", self.delayed)] {
            demand(share <= 1_000, || format!("{name} is {share}, but counts thousandths"))?;
        }
        demand(self.streams.buffer_bytes > 0, || "buffer_bytes must not be 0".to_owned())
    }
}

impl Load {
    fn validate(&self) -> Result<(), String> {
        let (low, high) = self.think_ms;
        demand(low <= high, || format!("think_ms is ({low}, {high}), but the shortest comes first"))?;
        demand(self.sticky <= 100, || format!("sticky is {}, but counts hundredths", self.sticky))?;
        demand(self.mix.sum() > 0, || "mix: visitors must do something".to_owned())
    }
}

impl Mix {
    /// All weights together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let Self { read, write, slow_write, shared, count, remove, logout, renew, absent, keep } = *self;
        [read, write, slow_write, shared, count, remove, logout, renew, absent, keep].into_iter().map(u64::from).sum()
    }
}

fn demand(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
