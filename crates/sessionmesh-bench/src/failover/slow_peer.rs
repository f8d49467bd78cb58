//! What a peer that hangs costs a node that goes on writing.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use sessionmesh::Ack;
use tokio::time::{Instant, sleep};

use super::{BYTES, cluster, spread};
use crate::engine::writers::Work;
use crate::memory;
use crate::node::{Command, NodeProcess};
use crate::report::{Figures, Table};
use crate::run_args::RunArgs;

const NODES: usize = 3;
const WORK: Work = Work { writers: 16, bytes: BYTES, ack: Ack::Owners };
/// Between two looks at the memory of the writing process.
const LOOK: Duration = Duration::from_millis(20);

const PHASES: [&str; 3] = ["before", "meanwhile", "after"];
const GROWTH: &str = "failover/slow-peer/memory-growth";
pub(super) const LONGEST_MEANWHILE: &str = "failover/slow-peer/meanwhile/longest-commit";

/// Stops a peer while another node writes.
pub(super) async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let stopped = Duration::from_millis(args.pick(3_000, 1_000));
    let calm = Duration::from_millis(args.pick(2_000, 400));
    for _ in 0..args.rounds_or(3, 1) {
        let mut cluster = cluster(NODES).await?;
        let peer = cluster.nodes.pop().context("there is no peer")?;
        let writer = &mut cluster.nodes[0];
        writer.ask(&Command::StartWriting(WORK)).await?;
        // Memory and connections first take the size that they need.
        observe(writer, calm).await?;
        writer.rates(&Command::Lap).await?;
        let before = phase(writer, PHASES[0], calm, figures).await?;
        peer.signal(Signal::STOP)?;
        let meanwhile = phase(writer, PHASES[1], stopped, figures).await?;
        peer.signal(Signal::CONT)?;
        phase(writer, PHASES[2], calm, figures).await?;
        let growth = meanwhile.saturating_sub(before);
        figures.add(GROWTH, "MiB", growth as f64 / f64::from(1 << 20));
        writer.rates(&Command::StopWriting).await?;
    }
    println!("failover: a peer that hangs for {stopped:?}");
    Ok(())
}

/// Notes what was committed during this time. The most memory that was seen in use.
async fn phase(writer: &mut NodeProcess, name: &str, time: Duration, figures: &mut Figures) -> anyhow::Result<u64> {
    let most = observe(writer, time).await?;
    let rates = writer.rates(&Command::Lap).await?;
    let name = format!("failover/slow-peer/{name}");
    figures.add(format!("{name}/rate"), "commits/s", rates.per_second);
    figures.add(format!("{name}/p99"), "ms", rates.p99_us / 1_000.0);
    figures.add(format!("{name}/longest-commit"), "ms", rates.longest_us / 1_000.0);
    figures.add(format!("{name}/timed-out"), "commits", rates.failed as f64);
    Ok(most)
}

/// The most memory that the process uses at any look within this time.
async fn observe(writer: &NodeProcess, time: Duration) -> anyhow::Result<u64> {
    let pid = writer.pid().context("the writer has ended")?;
    let (until, mut most) = (Instant::now() + time, memory::resident(pid)?);
    while Instant::now() < until {
        sleep(LOOK).await;
        most = most.max(memory::resident(pid)?);
    }
    Ok(most)
}

pub(super) fn table(figures: &Figures) -> Table {
    let growth = spread(figures, GROWTH);
    let title = format!(
        "A peer hangs (SIGSTOP) while another of {NODES} nodes commits with {} writers, each on eight sessions in turns. \
         The memory of the writing process grows by {growth} meanwhile, with four bytes for each commit that the \
         measuring takes. A stopped process leaves its share of these cores to the others, so the rate can rise:",
        WORK.writers
    );
    let head = ["", "commits/s", "p99", "longest commit", "timed out"];
    let row = |phase: &str| {
        let name = format!("failover/slow-peer/{phase}");
        let mut row = vec![phase.to_owned(), format!("{:.0}", figures.median(&format!("{name}/rate"))?)];
        row.extend(["p99", "longest-commit", "timed-out"].map(|what| spread(figures, &format!("{name}/{what}"))));
        Some(row)
    };
    Table { rows: PHASES.into_iter().filter_map(row).collect(), ..Table::new(title, &head) }
}
