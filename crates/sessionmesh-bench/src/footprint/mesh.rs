//! Sessionmesh's own memory.

use std::time::{Duration, Instant};

use anyhow::ensure;
use sessionmesh::Mode;

use super::{BYTES, REWRITES, at_rest, note, pid_of};
use crate::node::{Answer, Command, Processes, Threads as Workers};
use crate::processor::Threads;
use crate::report::Figures;

/// Tasks that make, write and end sessions.
const TASKS: usize = 64;
/// Tombstones are made in so many parts.
const PARTS: usize = 200;
/// The nodes of a pair: all sessions are made on the first.
const ROLES: [&str; 2] = ["home", "replica"];

/// Two nodes, and their memory before there is any session.
struct Pair {
    nodes: Processes,
    empty: [u64; 2],
}

impl Pair {
    async fn start() -> anyhow::Result<Self> {
        let mut nodes = Processes::start(ROLES.len(), Mode::PrimaryBackup { backups: 1 }, Workers::PerCore).await?;
        let empty = memory(&mut nodes).await?;
        Ok(Self { nodes, empty })
    }

    /// Processor time of the first node within `window`, in percent of one core.
    async fn idle(&self, window: Duration) -> anyhow::Result<f64> {
        let of = || Threads::of(pid_of(self.nodes.nodes[0].pid())?);
        let (before, began) = (of()?, Instant::now());
        tokio::time::sleep(window).await;
        Ok(of()?.since(&before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
    }

    /// Notes what was added for each session since there was none.
    async fn note(&mut self, figures: &mut Figures, what: &str, count: usize) -> anyhow::Result<()> {
        let now = memory(&mut self.nodes).await?;
        for ((role, before), after) in ROLES.iter().zip(self.empty).zip(now) {
            note(figures, &format!("sessionmesh/{role}/{what}"), before, after, count);
        }
        Ok(())
    }
}

/// The memory of both nodes, once they owe each other nothing and are at rest.
async fn memory(nodes: &mut Processes) -> anyhow::Result<[u64; 2]> {
    nodes.settled().await?;
    let pids = [pid_of(nodes.nodes[0].pid())?, pid_of(nodes.nodes[1].pid())?];
    let (home, replica) = tokio::try_join!(at_rest(pids[0]), at_rest(pids[1]))?;
    Ok([home, replica])
}

/// Sessions after they were made, after they were written some times, and after they have ended.
pub(super) async fn made_written_and_ended(figures: &mut Figures, count: usize) -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let create = Command::Create { count, bytes: BYTES, tasks: TASKS, tell: false };
    pair.nodes.nodes[0].ask(&create).await?;
    pair.note(figures, "made", count).await?;
    for node in pair.nodes.settled().await? {
        ensure!(node.owned == count, "a node holds {} of {count} sessions", node.owned);
    }
    pair.nodes.nodes[0].ask(&Command::Rewrite { times: REWRITES, bytes: BYTES, tasks: TASKS }).await?;
    pair.note(figures, "written", count).await?;
    pair.nodes.nodes[0].ask(&Command::EndAll { tasks: TASKS }).await?;
    pair.note(figures, "ended", count).await?;
    for node in pair.nodes.settled().await? {
        ensure!(node.sessions == 0, "{} sessions did not end", node.sessions);
    }
    Ok(())
}

/// Tombstones alone: their memory, and what they cost a node that has nothing to do.
pub(super) async fn tombstones(figures: &mut Figures, count: usize, window: Duration) -> anyhow::Result<()> {
    let mut pair = Pair::start().await?;
    let idle = pair.idle(window).await?;
    figures.add("tombstones/idle/none", "percent", idle);
    make_and_end(&mut pair.nodes, count).await?;
    pair.note(figures, "tombstone", count).await?;
    let idle = pair.idle(window).await?;
    figures.add("tombstones/idle/all", "percent", idle);
    for node in pair.nodes.settled().await? {
        ensure!(node.sessions == 0 && node.owned == count, "{} of {count} tombstones are there", node.owned);
    }
    Ok(())
}

/// How long the primary of so many tombstones takes to leave, when one of two others gets what only the other one had.
pub(super) async fn leaving(figures: &mut Figures, count: usize) -> anyhow::Result<()> {
    let mut nodes = Processes::start(3, Mode::PrimaryBackup { backups: 1 }, Workers::PerCore).await?;
    make_and_end(&mut nodes, count).await?;
    nodes.settled().await?;
    let left = nodes.nodes[0].ask(&Command::Leave { deadline_ms: 60_000 }).await?;
    let Answer::Left { took_us } = left else { anyhow::bail!("it did not leave: {left:?}") };
    figures.add("tombstones/leave", "s", took_us / 1e6);
    let mut owned = Vec::new();
    for node in &mut nodes.nodes[1..] {
        let Answer::Stats(stats) = node.ask(&Command::Stats).await? else { anyhow::bail!("no figures") };
        owned.push(stats.owned);
    }
    ensure!(owned == [count, count], "the others have {owned:?} of {count} tombstones");
    Ok(())
}

/// In parts, each of which is done before a node counts as hung.
async fn make_and_end(nodes: &mut Processes, count: usize) -> anyhow::Result<()> {
    for _ in 0..PARTS {
        nodes.nodes[0].ask(&Command::MakeAndEnd { count: count / PARTS, bytes: BYTES, tasks: TASKS }).await?;
    }
    Ok(())
}
