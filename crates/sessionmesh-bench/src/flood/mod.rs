//! What visitors notice of a flood of forged ids, and what each costs.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sessionmesh::ModeName;

use crate::commands::RunArgs;
use crate::node::{Answer, Command, Processes, Rates, Threads};
use crate::processor;
use crate::report::{Bound, Chapter, Figures, Goal, Table};

const MODES: [(&str, ModeName); 2] = [("primary-backup", ModeName::PrimaryBackup), ("all-to-all", ModeName::AllToAll)];
/// Nodes: the first gets the forged ids, the others the visitors.
const NODES: usize = 3;
const FORGED_PER_SECOND: u32 = 50_000;
/// Requests of visitors on each of the other nodes.
const VISITS_PER_SECOND: u32 = 500;
/// Sessions made on each node, and the bytes that each visit writes.
const SESSIONS: usize = 1_000;
const BYTES: usize = 256;

const GOALS: [Goal; 4] = [
    Goal {
        what: "visitors' p99 in the flood to before it, primary and backup",
        unit: "",
        bound: Bound::AtMost(1.5),
        value: |figures| figures.ratio("flood/primary-backup/flood/p99", "flood/primary-backup/calm/p99"),
    },
    Goal {
        what: "the same, all to all",
        unit: "",
        bound: Bound::AtMost(1.5),
        value: |figures| figures.ratio("flood/all-to-all/flood/p99", "flood/all-to-all/calm/p99"),
    },
    Goal {
        what: "processor time of the cluster for each forged id, primary and backup",
        unit: "us",
        bound: Bound::AtMost(2.0),
        value: |figures| figures.median("flood/primary-backup/cpu"),
    },
    Goal {
        what: "the same, all to all",
        unit: "us",
        bound: Bound::AtMost(2.0),
        value: |figures| figures.median("flood/all-to-all/cpu"),
    },
];

/// Measures calm and flood in turns, on the same cluster.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args, figures))
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let window = Duration::from_secs(args.pick(10, 2));
    let rounds = args.rounds(5);
    for (name, mode) in MODES {
        let mut cluster = Processes::start(NODES, mode, 1, Threads::PerCore).await?;
        let mut ids = Vec::new();
        for node in &mut cluster.nodes {
            let create = Command::Create { count: SESSIONS, bytes: BYTES, tasks: 16, tell: true };
            match node.ask(&create).await? {
                Answer::Created { ids: made, .. } => ids.extend(made),
                other => bail!("{} answers {other:?}", node.name()),
            }
        }
        cluster.settled().await?;
        one(&mut cluster, &ids, false, window / 2).await?;
        for round in 1..=rounds {
            let calm = one(&mut cluster, &ids, false, window).await?;
            let flood = one(&mut cluster, &ids, true, window).await?;
            note(figures, name, &calm, &flood)?;
            println!("flood, {name}: round {round} of {rounds}");
        }
        cluster.settled().await.context("the nodes did not stay together")?;
    }
    Ok(chapter(figures, window))
}

/// What one window gave.
struct Window {
    /// Of the visitors on each of the other nodes.
    visits: Vec<Rates>,
    /// Of the forged ids.
    forged: Option<Rates>,
    /// Processor time of all nodes.
    cpu: Duration,
}

async fn one(cluster: &mut Processes, ids: &[String], flood: bool, window: Duration) -> anyhow::Result<Window> {
    let for_ms = u64::try_from(window.as_millis())?;
    let before = spent(cluster)?;
    let nodes = &mut cluster.nodes;
    for node in &mut nodes[1..] {
        let ids = ids.to_vec();
        node.send(&Command::Visit { ids, per_second: VISITS_PER_SECOND, bytes: BYTES, for_ms }).await?;
    }
    let forged = if flood {
        Some(nodes[0].rates(&Command::Flood { per_second: FORGED_PER_SECOND, for_ms }).await?)
    } else {
        None
    };
    let mut visits = Vec::new();
    for node in &mut nodes[1..] {
        match node.receive().await? {
            Answer::Rates(rates) => visits.push(rates),
            other => bail!("{} answers {other:?}", node.name()),
        }
    }
    let after = spent(cluster)?;
    let cpu = after.iter().zip(&before).map(|(after, before)| after.since(before)).sum();
    Ok(Window { visits, forged, cpu })
}

fn spent(cluster: &Processes) -> anyhow::Result<Vec<processor::Threads>> {
    cluster.nodes.iter().map(|node| processor::Threads::of(node.pid().context("a node has ended")?)).collect()
}

fn note(figures: &mut Figures, name: &str, calm: &Window, flood: &Window) -> anyhow::Result<()> {
    for (state, window) in [("calm", calm), ("flood", flood)] {
        let failed: u64 = window.visits.iter().map(|rates| rates.failed).sum();
        ensure!(failed == 0, "{failed} requests of visitors failed ({name}, {state})");
        for (percentile, of) in [("p50", (|rates| rates.p50_us) as fn(&Rates) -> f64), ("p99", |rates| rates.p99_us)] {
            // The slower of the nodes.
            let slower = window.visits.iter().map(of).fold(0.0, f64::max);
            figures.add(format!("flood/{name}/{state}/{percentile}"), "us", slower);
        }
    }
    let forged = flood.forged.as_ref().context("nothing was forged")?;
    let more = flood.cpu.saturating_sub(calm.cpu).as_nanos() as f64 / 1_000.0;
    figures.add(format!("flood/{name}/cpu"), "us", more / forged.count as f64);
    figures.add(format!("flood/{name}/rate"), "1/s", forged.per_second);
    figures.add(format!("flood/{name}/unsure"), "ids", forged.failed as f64);
    Ok(())
}

fn chapter(figures: &Figures, window: Duration) -> Chapter {
    let how = format!(
        "{NODES} nodes as processes on loopback; {} sessions. Visitors of two of them load and write {VISITS_PER_SECOND} \
         times a second on each, at a fixed pace. The third gets {FORGED_PER_SECOND} ids a second that pass for minted \
         ones and that nobody has, each once (ids of random bytes are known for what they are, and cost less). Windows of \
         {} s with and without, in turns; latencies of the slower node, from when a request was due; the processor time \
         of all three nodes, less what they take without the flood, for each forged id.",
        SESSIONS * NODES,
        window.as_secs()
    );
    let mut chapter = Chapter { title: "A flood of forged ids", how, goals: GOALS.to_vec(), ..Chapter::default() };
    let head = ["placement", "forged a second", "CPU each", "p50 before", "in the flood", "p99 before", "in the flood"];
    let mut table = Table::new("", &head);
    for (name, _) in MODES {
        let of = |what: &str| figures.median(&format!("flood/{name}/{what}")).unwrap_or_default();
        let us = |what: &str| format!("{:.0} us", of(what));
        table.rows.push(vec![
            name.to_owned(),
            format!("{:.0}", of("rate")),
            format!("{:.2} us", of("cpu")),
            us("calm/p50"),
            us("flood/p50"),
            us("calm/p99"),
            us("flood/p99"),
        ]);
    }
    chapter.tables.push(table);
    chapter
}
