//! The same as processes: each node has its own threads, as it has in production.

use std::time::Duration;

use anyhow::bail;
use sessionmesh::{Ack, Mode};
use tokio::runtime::{Builder, Runtime};

use super::writers::Work;
use crate::node::{Answer, Command, Processes, Rates, Threads};
use crate::report::{Bound, Figures, Goal, Table};

/// Cluster sizes, and the kind of runtime that each node has.
const CLUSTERS: [(usize, Threads); 3] = [(2, Threads::PerCore), (3, Threads::PerCore), (2, Threads::Current)];
/// Kinds of runtimes that the bare ping-pong is measured with.
const KINDS: [Threads; 2] = [Threads::PerCore, Threads::Current];
/// Bytes of the value that each commit writes: the ping-pong sends as many as such a commit.
const BYTES: usize = 256;
const WRITERS: [usize; 2] = [1, 64];

pub(super) const GOALS: [Goal; 1] = [Goal {
    what: "nodes as processes: one writer, p50 to a bare ping-pong between processes",
    unit: "",
    bound: Bound::AtMost(1.5),
    value: |figures| to_ping_pong(figures, 2, Threads::PerCore),
}];

fn to_ping_pong(figures: &Figures, nodes: usize, threads: Threads) -> Option<f64> {
    figures.ratio(&format!("{}/p50", name(nodes, threads, 1)), &ping_pong_name(threads))
}

fn name(nodes: usize, threads: Threads, writers: usize) -> String {
    format!("engine/processes/{nodes}/{threads}/{BYTES}/{writers}")
}

fn ping_pong_name(threads: Threads) -> String {
    format!("engine/processes/ping-pong/{threads}/p50")
}

/// All clusters, started. They end with this value.
pub(super) struct Clusters {
    clusters: Vec<(Threads, Processes)>,
    driver: Runtime,
}

impl Clusters {
    pub(super) fn start() -> anyhow::Result<Self> {
        let driver = Builder::new_current_thread().enable_all().build()?;
        let clusters = driver.block_on(async {
            let mut clusters = Vec::new();
            for (nodes, threads) in CLUSTERS {
                clusters.push((threads, Processes::start(nodes, Mode::PrimaryBackup { backups: 1 }, threads).await?));
            }
            anyhow::Ok(clusters)
        })?;
        Ok(Self { clusters, driver })
    }

    /// One round.
    pub(super) fn measure(&mut self, window: Duration, figures: &mut Figures) -> anyhow::Result<()> {
        let for_ms = u64::try_from(window.as_millis())?;
        for (threads, processes) in &mut self.clusters {
            for writers in WRITERS {
                let name = name(processes.nodes.len(), *threads, writers);
                let work = Work { writers, bytes: BYTES, ack: Ack::Copies(1) };
                let command = Command::Write { work, for_ms };
                note(figures, &name, &self.driver.block_on(processes.nodes[0].rates(&command))?);
            }
            if processes.nodes.len() == 2 {
                let rates = self.driver.block_on(ping_pong(processes, for_ms))?;
                figures.add(ping_pong_name(*threads), "us", rates.p50_us);
            }
        }
        Ok(())
    }
}

/// Between the processes that commit, on the same threads: what else they are, whoever wakes whom, is alike.
async fn ping_pong(processes: &mut Processes, for_ms: u64) -> anyhow::Result<Rates> {
    let Answer::Echoes { addr } = processes.nodes[1].ask(&Command::Echo).await? else { bail!("nothing echoes") };
    processes.nodes[0].rates(&Command::Ping { addr, for_ms }).await
}

fn note(figures: &mut Figures, name: &str, rates: &Rates) {
    figures.add(format!("{name}/rate"), "commits/s", rates.per_second);
    figures.add(format!("{name}/p50"), "us", rates.p50_us);
    figures.add(format!("{name}/p99"), "us", rates.p99_us);
    figures.add(format!("{name}/cpu"), "us", rates.cpu_us);
}

/// Commits of nodes that are processes, and the ping-pong between two.
pub(super) fn table(figures: &Figures) -> Table {
    let title = "Nodes as processes, `primary-backup`, `Copies(1)`, 256 bytes; the ping-pong goes between the same \
                 processes, on the same threads, with as many bytes as such a commit takes. CPU time is that of the writing node alone:";
    let head =
        ["nodes", "threads", "writers", "commits/s", "lowest to highest", "p50", "p99", "CPU", "p50 to ping-pong"];
    let mut table = Table::new(title, &head);
    for (nodes, threads) in CLUSTERS {
        table.rows.extend(WRITERS.iter().filter_map(|writers| row(figures, nodes, threads, *writers)));
    }
    for threads in KINDS {
        if let Some(p50) = figures.median(&ping_pong_name(threads)) {
            let cells = ["ping-pong", &threads.to_string(), "", "", "", &format!("{p50:.1} us"), "", "", "1.00"];
            table.rows.push(cells.map(str::to_owned).to_vec());
        }
    }
    table
}

fn row(figures: &Figures, nodes: usize, threads: Threads, writers: usize) -> Option<Vec<String>> {
    let name = name(nodes, threads, writers);
    let rate = figures.get(&format!("{name}/rate"))?;
    let us = |what: &str| Some(format!("{:.1} us", figures.median(&format!("{name}/{what}"))?));
    let ratio = to_ping_pong(figures, nodes, threads).filter(|_| writers == 1);
    Some(vec![
        nodes.to_string(),
        threads.to_string(),
        writers.to_string(),
        format!("{:.0}", rate.median()),
        rate.spread(0),
        us("p50")?,
        us("p99")?,
        us("cpu")?,
        ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
    ])
}
