//! What nodes take that have nothing to do.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sessionmesh::{Mode, Secret};

use crate::node::{Command, Processes, Threads};
use crate::processor;
use crate::report::{Bound, Chapter, Figures, Goal, Table};
use crate::run_args::RunArgs;
use crate::share;

/// Cluster sizes.
pub(crate) const NODES: [usize; 2] = [3, 10];
/// Sessions in all, and the bytes of each.
const SESSIONS: usize = 1_000;
const BYTES: usize = 256;

const GOALS: [Goal; 1] = [Goal {
    what: "idle, 10 nodes, processor time of a node at the median",
    unit: "% of a core",
    bound: Bound::AtMost(0.5),
    value: |figures| figures.median("idle/10/median"),
}];

/// Measures all clusters within the same windows: each process has its own account.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args, figures))
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let window = Duration::from_secs(args.pick(20, 4));
    let rounds = args.rounds(3);
    let mut clusters = Vec::new();
    for count in NODES {
        clusters.push(start(count, None).await?);
    }
    for round in 1..=rounds {
        for percents in percents(&clusters, window).await? {
            note(figures, &percents);
        }
        println!("idle: round {round} of {rounds}");
    }
    for cluster in &mut clusters {
        cluster.settled().await.context("the nodes did not stay together")?;
    }
    Ok(chapter(figures, window))
}

/// Nodes that have made their share of the sessions, and owe each other nothing.
pub(crate) async fn start(count: usize, secret: Option<Secret>) -> anyhow::Result<Processes> {
    let mode = Mode::PrimaryBackup { backups: 1 };
    let mut cluster = Processes::start_with(count, mode, Threads::PerCore, secret).await?;
    for (number, node) in cluster.nodes.iter_mut().enumerate() {
        let share = share::of(SESSIONS, number, count);
        node.ask(&Command::Create { count: share, bytes: BYTES, tasks: 16, tell: false }).await?;
    }
    cluster.settled().await?;
    Ok(cluster)
}

/// What the nodes of each cluster take of a core within the same window, in percent, ascending.
pub(crate) async fn percents(clusters: &[Processes], window: Duration) -> anyhow::Result<Vec<Vec<f64>>> {
    let spent = || clusters.iter().map(Processes::threads).collect::<anyhow::Result<Vec<_>>>();
    let before = spent()?;
    let began = Instant::now();
    tokio::time::sleep(window).await;
    let after = spent()?;
    let elapsed = began.elapsed();
    let of_cluster = |(after, before): (&Vec<processor::Threads>, &Vec<processor::Threads>)| {
        let nodes = after.iter().zip(before);
        let percent = nodes.map(|(after, before)| after.since(before).as_secs_f64() / elapsed.as_secs_f64() * 100.0);
        let mut percents: Vec<f64> = percent.collect();
        percents.sort_by(f64::total_cmp);
        percents
    };
    Ok(after.iter().zip(&before).map(of_cluster).collect())
}

/// What the node in the middle takes.
pub(crate) fn median(percents: &[f64]) -> f64 {
    let count = percents.len();
    f64::midpoint(percents[(count - 1) / 2], percents[count / 2])
}

/// Notes what the nodes of one cluster took, ascending.
fn note(figures: &mut Figures, percents: &[f64]) {
    let count = percents.len();
    figures.add(format!("idle/{count}/median"), "percent", median(percents));
    figures.add(format!("idle/{count}/maximum"), "percent", percents[count - 1]);
}

fn chapter(figures: &Figures, window: Duration) -> Chapter {
    let how = format!(
        "Nodes as processes on loopback, with default settings but for seeds in place of multicast; {SESSIONS} sessions \
         of {BYTES} B in all; nobody reads or writes. Processor time of all threads of each process within {} s, as the \
         kernel's scheduler counts it, in percent of one core.",
        window.as_secs()
    );
    let mut chapter = Chapter { title: "Idle nodes", how, goals: GOALS.to_vec(), ..Chapter::default() };
    let head = ["nodes", "median node", "lowest to highest round", "busiest node", "lowest to highest round"];
    let mut table = Table::new("", &head);
    for count in NODES {
        let mut row = vec![count.to_string()];
        for what in ["median", "maximum"] {
            let Some(figure) = figures.get(&format!("idle/{count}/{what}")) else { continue };
            row.push(format!("{:.2} %", figure.median()));
            row.push(figure.spread(2));
        }
        table.rows.push(row);
    }
    chapter.tables.push(table);
    chapter
}
