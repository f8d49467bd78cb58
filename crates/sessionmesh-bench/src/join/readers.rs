//! What readers on a donor notice of a newcomer.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::sleep;

use super::newcomer;
use crate::node::{Answer, Command, Pace, Processes, Reads};
use crate::report::Figures;

/// Tasks that read.
pub(super) const TASKS: usize = 16;
/// Reads of each task in a second, at the fixed pace.
pub(super) const EACH_PER_SECOND: u32 = 1_000;
/// How long is read before the newcomer starts, and how much of it is not looked at.
const BEFORE: Duration = Duration::from_millis(500);
const WARM_UP_NS: u64 = 100_000_000;

/// How the donor is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// At a pace that leaves the processor mostly idle.
    Paced,
    /// As fast as it goes, on all cores, which the newcomer shares.
    Fast,
    /// As fast as it goes, on a core that the donor has for itself; the newcomer has another one.
    FastOnOwnCore,
    /// The same, with one read in a turn.
    OneInATurnOnOwnCore,
}

impl Readers {
    pub(super) const ALL: [Self; 4] = [Self::Paced, Self::Fast, Self::FastOnOwnCore, Self::OneInATurnOnOwnCore];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Fast => "fast",
            Self::FastOnOwnCore => "fast-own-core",
            Self::OneInATurnOnOwnCore => "one-in-a-turn-own-core",
        }
    }

    const fn pace(self) -> Pace {
        match self {
            Self::Paced => Pace::Each(EACH_PER_SECOND),
            Self::Fast | Self::FastOnOwnCore => Pace::Budget,
            Self::OneInATurnOnOwnCore => Pace::OneInATurn,
        }
    }

    /// Whether the donor has a core for itself, and the newcomer another one.
    pub(super) const fn on_own_core(self) -> bool {
        matches!(self, Self::FastOnOwnCore | Self::OneInATurnOnOwnCore)
    }
}

/// Lets a newcomer join while the donor is read.
pub(super) async fn measure(
    figures: &mut Figures,
    readers: Readers,
    donors: &mut Processes,
    count: usize,
) -> anyhow::Result<()> {
    donors.nodes[0].ask(&Command::StartReading { tasks: TASKS, pace: readers.pace() }).await?;
    sleep(BEFORE).await;
    let core = readers.on_own_core().then_some(1);
    let joined = newcomer::joins(donors, count, core).await?;
    let reads = match donors.nodes[0].ask(&Command::StopReading).await? {
        Answer::Reads(reads) => reads,
        other => bail!("the donor answers {other:?}"),
    };
    let name = |what: &str| format!("join/{count}/readers/{}/{what}", readers.name());
    let mut note = |when: &str, reads: &Reads, from, to| {
        let speed = reads.between(from, to).with_context(|| format!("no time to read {when} the join"))?;
        figures.add(name(&format!("{when}/rate")), "reads/s", speed.per_second);
        figures.add(name(&format!("{when}/p99")), "us", speed.p99_us);
        anyhow::Ok(())
    };
    note("before", &reads, reads.began_ns() + WARM_UP_NS, joined.started_ns)?;
    note("during", &reads, joined.seen_ns, joined.ready_ns)?;
    figures.add(name("seen-to-ready"), "ms", (joined.ready_ns as f64 - joined.seen_ns as f64) / 1e6);
    Ok(())
}
