//! What a secret costs: the same nodes with one and without, in turns.

mod chapter;

use std::time::Duration;

use anyhow::Context as _;
use sessionmesh::{Ack, Mode, Secret};

use crate::engine::writers::Work;
use crate::http::running::{Peers, Running};
use crate::http::system::System;
use crate::http::workload::Workload;
use crate::join::{self, Donors, newcomer};
use crate::node::{Command, Processes, Threads};
use crate::report::{Chapter, Figures};
use crate::run_args::RunArgs;
use crate::{idle, processor};

/// What is measured beside each other, as figures name it: nodes without a secret, and with one.
const VARIANTS: [&str; 2] = ["without-secret", "with-secret"];
/// Bytes of the value that each commit writes, and tasks that commit.
const BYTES: usize = 256;
const WRITERS: [usize; 2] = [64, 1];
/// Nodes that idle.
const IDLE_NODES: usize = idle::NODES[1];

/// Measures one kind of work after the other, each with both variants in turns. What is not measured is not running, but for
/// the other variant, which idles.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        commits(args, figures).await.context("commits")?;
        http(args, figures).await.context("writes over HTTP")?;
        joins(args, figures).await.context("joins")?;
        idle(args, figures).await.context("idle nodes")?;
        Ok(chapter::of(figures))
    })
}

fn secrets() -> [Option<Secret>; 2] {
    [None, Some(Secret::generate())]
}

/// Both, with their names. Who is the first changes from round to round.
fn turns<T>(round: u32, both: &mut [T; 2]) -> impl Iterator<Item = (&'static str, &mut T)> {
    let mut turns: Vec<_> = VARIANTS.into_iter().zip(both).collect();
    if round.is_multiple_of(2) {
        turns.reverse();
    }
    turns.into_iter()
}

/// The name of a figure of one variant.
fn name(figure: &str, variant: &str) -> String {
    format!("sealed/{figure}/{variant}")
}

/// In many short windows: what disturbs one of two that follow each other seldom lasts for half of all.
async fn commits(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let (rounds, for_ms) = (args.rounds_or(120, 24), 100);
    let start = |secret| Processes::start_with(2, Mode::PrimaryBackup { backups: 1 }, Threads::PerCore, secret);
    let [without, with] = secrets();
    let mut clusters = [start(without).await?, start(with).await?];
    // The first round warms up.
    for round in 0..=rounds {
        for writers in WRITERS {
            for (variant, cluster) in turns(round, &mut clusters) {
                let before = cluster.threads()?;
                let work = Work { writers, bytes: BYTES, ack: Ack::Copies(1) };
                let rates = cluster.nodes[0].rates(&Command::Write { work, for_ms }).await?;
                let cpu = spent(cluster, &before)?;
                if round > 0 {
                    let name = |what: &str| name(&format!("commits/{writers}/{what}"), variant);
                    figures.add(name("rate"), "commits/s", rates.per_second);
                    figures.add(name("p50"), "us", rates.p50_us);
                    figures.add(name("cpu"), "us", cpu.as_secs_f64() * 1e6 / rates.count as f64);
                }
            }
        }
    }
    println!("sealed: commits, {rounds} rounds");
    Ok(())
}

/// Processor time of all nodes since `before`.
fn spent(cluster: &Processes, before: &[processor::Threads]) -> anyhow::Result<Duration> {
    Ok(cluster.threads()?.iter().zip(before).map(|(now, before)| now.since(before)).sum())
}

async fn http(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let (rounds, window) = (args.rounds_or(60, 12), Duration::from_millis(200));
    let (peers, mut sites) = (Peers::default(), Vec::new());
    for (name, sealed) in VARIANTS.into_iter().zip([false, true]) {
        let mut running = Running::start(System { name, sealed, ..System::MESH_LAYER }, &peers).await?;
        running.warm_up(Duration::from_millis(50)).await?;
        sites.push(running);
    }
    let mut sites: [Running; 2] = sites.try_into().ok().context("there are two variants")?;
    for round in 1..=rounds {
        for (_, running) in turns(round, &mut sites) {
            running.measure(&Workload::WRITE, window, &peers, figures).await?;
        }
    }
    println!("sealed: writes over HTTP, {rounds} rounds");
    for running in sites {
        running.sites.stop().await?;
    }
    Ok(())
}

async fn joins(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let (rounds, count) = (args.rounds_or(16, 4), join::SESSIONS);
    let [without, with] = secrets();
    let start = |secret| Donors::One.start_with(count, secret);
    let mut donors = [start(without).await?, start(with).await?];
    for round in 1..=rounds {
        for (variant, donors) in turns(round, &mut donors) {
            let joined = newcomer::joins(donors, count, None).await?;
            let seconds = joined.ready_ns.saturating_sub(joined.seen_ns) as f64 / 1e9;
            let cpu = joined.donors_cpu + joined.newcomer_cpu;
            figures.add(name("join/rate", variant), "sessions/s", joined.received as f64 / seconds);
            figures.add(name("join/cpu", variant), "ms", cpu.as_secs_f64() * 1e3);
            newcomer::leaves(donors, count).await?;
        }
    }
    println!("sealed: joins, {rounds} rounds");
    Ok(())
}

/// Both within the same windows: each process has its own account.
async fn idle(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let (rounds, window) = (args.rounds_or(10, 3), Duration::from_secs(args.pick(10, 4)));
    let [without, with] = secrets();
    let mut clusters = [idle::start(IDLE_NODES, without).await?, idle::start(IDLE_NODES, with).await?];
    for _ in 1..=rounds {
        for (percents, variant) in idle::percents(&clusters, window).await?.iter().zip(VARIANTS) {
            figures.add(name("idle/median", variant), "percent", idle::median(percents));
        }
    }
    println!("sealed: idle nodes, {rounds} rounds");
    for cluster in &mut clusters {
        cluster.settled().await.context("the nodes did not stay together")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_is_the_first_in_every_other_round() {
        let mut both = [false, true];
        let mut order = |round| turns(round, &mut both).map(|(variant, sealed)| (variant, *sealed)).collect::<Vec<_>>();
        assert_eq!(order(1), [("without-secret", false), ("with-secret", true)]);
        assert_eq!(order(2), [("with-secret", true), ("without-secret", false)]);
    }
}
