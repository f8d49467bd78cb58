//! How long after a crash every session has its copies again.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::{BYTES, NODES, cluster, spread};
use crate::node::{Command, NodeStats, are_settled};
use crate::report::{Figures, Table};
use crate::run_args::RunArgs;
use crate::share;

/// Sessions of the whole cluster.
const SESSIONS: usize = 20_000;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(nodes: usize) -> String {
    format!("failover/copies/{nodes}")
}

/// Kills a node of a cluster with sessions, and waits until the survivors hold two copies of each.
pub(super) async fn measure(nodes: usize, args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    for _ in 0..args.rounds_or(4, 1) {
        let mut cluster = cluster(nodes).await?;
        for (number, node) in cluster.nodes.iter_mut().enumerate() {
            let count = share::of(SESSIONS, number, nodes);
            node.ask(&Command::Create { count, bytes: BYTES, tasks: 16, tell: false }).await?;
        }
        let before = cluster.settled().await?;
        ensure!(owned(&before) == 2 * SESSIONS, "not every session has two copies: {before:?}");
        let mut victim = cluster.nodes.pop().context("there is no node")?;
        let missing = before.last().context("there is no node")?.owned;
        let at = victim.signal(Signal::KILL)?;
        let until = Instant::now() + PATIENCE;
        let last = loop {
            let all = cluster.stats().await?;
            if are_settled(&all) && owned(&all) == 2 * SESSIONS {
                break all.iter().map(|node| node.at_ns).max().context("nobody survives")?;
            }
            ensure!(Instant::now() < until, "copies are still missing after {PATIENCE:?}: {all:?}");
            sleep(Duration::from_millis(2)).await;
        };
        let took = Duration::from_nanos(last).saturating_sub(at);
        figures.add(format!("{}/time", name(nodes)), "ms", took.as_secs_f64() * 1_000.0);
        figures.add(format!("{}/missing", name(nodes)), "copies", missing as f64);
        victim.ended().await?;
    }
    println!("failover: {nodes} nodes, {SESSIONS} sessions have their copies again");
    Ok(())
}

fn owned(all: &[NodeStats]) -> usize {
    all.iter().map(|node| node.owned).sum()
}

pub(super) fn table(figures: &Figures) -> Table {
    let title = format!("From SIGKILL until each of {SESSIONS} sessions of {BYTES} bytes has two copies again:");
    let row = |nodes: usize| {
        let missing = figures.median(&format!("{}/missing", name(nodes)))?;
        Some(vec![nodes.to_string(), format!("{missing:.0}"), spread(figures, &format!("{}/time", name(nodes)))])
    };
    let head = ["nodes", "copies to make", "time"];
    Table { rows: NODES.into_iter().filter_map(row).collect(), ..Table::new(title, &head) }
}
