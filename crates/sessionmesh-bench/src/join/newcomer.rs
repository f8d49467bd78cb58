//! A node that joins, and leaves again.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::time::{Instant, sleep};

use super::all_held;
use crate::monotonic;
use crate::node::{Answer, Command, NodeProcess, Processes};
use crate::pinned::Pinned;
use crate::processor::Threads;

/// The name of every newcomer: placement depends on it, so that each gets the same sessions.
const NAME: &str = "newcomer";
/// How long it may take until a newcomer that is ready has all that it must hold.
const COMPLETE_WITHIN: Duration = Duration::from_secs(30);
/// How long handing over may take.
const LEAVES_WITHIN: Duration = Duration::from_secs(50);

/// When things happened, in nanoseconds of the clock that all processes share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    /// Its process was started.
    pub(crate) started_ns: u64,
    /// The first donor had it in its view.
    pub(crate) seen_ns: u64,
    /// It said that it has all.
    pub(crate) ready_ns: u64,
    /// It was looked at, and had all, and no donor owed anybody anything.
    pub(crate) all_ns: u64,
    /// What it must hold, and did.
    pub(crate) received: usize,
    /// Processor time of the donors for it, and of the newcomer itself, from its start until it said that it has all.
    pub(crate) donors_cpu: Duration,
    pub(crate) newcomer_cpu: Duration,
}

/// Starts a newcomer, on a certain core if one is given, and waits until it has all.
pub(crate) async fn joins(donors: &mut Processes, count: usize, core: Option<usize>) -> anyhow::Result<Joined> {
    let expect = Command::Expect { member: NAME.to_owned() };
    for donor in &mut donors.nodes {
        donor.ask(&expect).await?;
    }
    let before = donors.threads()?;
    let started_ns = monotonic::now_ns();
    {
        // Held until its first line has come, though its threads have inherited the core before.
        let _pinned = core.map(Pinned::to).transpose()?;
        donors.add(NAME.to_owned()).await?;
    }
    let (newcomer, others) = donors.nodes.split_last_mut().context("there is no newcomer")?;
    let ready_ns = at(newcomer, &Command::Ready).await?;
    let newcomer_cpu = newcomer.threads()?.since(&Threads::default());
    let mut donors_cpu = Duration::ZERO;
    for (donor, before) in others.iter().zip(&before) {
        donors_cpu += donor.threads()?.since(before);
    }
    let mut seen_ns = u64::MAX;
    for donor in others.iter_mut() {
        seen_ns = seen_ns.min(at(donor, &Command::Arrived).await?);
    }
    let must = must_hold(others, count).await?;
    let until = Instant::now() + COMPLETE_WITHIN;
    let all_ns = loop {
        let mut owed = 0;
        for donor in others.iter_mut() {
            owed += donor.stats().await?.outbox;
        }
        let stats = newcomer.stats().await?;
        if stats.owned == must && stats.sessions == must && owed == 0 {
            break stats.at_ns;
        }
        let (has, held) = (stats.owned, stats.sessions);
        ensure!(Instant::now() < until, "the newcomer has {has} of {must} sessions, and holds {held}; {owed} are owed");
        sleep(Duration::from_millis(2)).await;
    };
    Ok(Joined { started_ns, seen_ns, ready_ns, all_ns, received: must, donors_cpu, newcomer_cpu })
}

/// How many sessions the newcomer must hold, as those say that made them.
async fn must_hold(donors: &mut [NodeProcess], count: usize) -> anyhow::Result<usize> {
    let (others, mut must) = (donors.len(), 0);
    for donor in donors {
        match donor.ask(&Command::OwnedBy { member: NAME.to_owned() }).await? {
            Answer::Count(owned) => must += owned,
            other => bail!("{} answers {other:?}", donor.name()),
        }
    }
    // With two nodes everybody holds everything. Of three, two hold each session: this one two thirds of them, by chance.
    let plausible = if others == 1 { must == count } else { must > count / 2 && must < count };
    ensure!(plausible, "the newcomer must hold {must} of {count} sessions");
    Ok(must)
}

/// Lets the newcomer leave, and waits until all is as it was.
pub(crate) async fn leaves(donors: &mut Processes, count: usize) -> anyhow::Result<()> {
    let deadline_ms = u64::try_from(LEAVES_WITHIN.as_millis())?;
    let newcomer = donors.nodes.last_mut().filter(|node| node.name() == NAME).context("there is no newcomer")?;
    newcomer.ask(&Command::Leave { deadline_ms }).await?;
    donors.nodes.pop();
    all_held(&donors.settled().await?, count)
}

async fn at(node: &mut NodeProcess, command: &Command) -> anyhow::Result<u64> {
    match node.ask(command).await? {
        Answer::At { at_ns } => Ok(at_ns),
        other => bail!("{} answers {other:?}", node.name()),
    }
}
