//! What visitors notice of a flood of forged ids, and what each costs; and of an [`attack`] on the ports of nodes.

mod attack;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sessionmesh::Mode;

use crate::node::{Answer, Command, Forged, NodeProcess, Processes, Rates, Threads};
use crate::processor;
use crate::report::{Bound, Chapter, Figures, Goal, Table};
use crate::run_args::RunArgs;

const MODES: [(&str, Mode); 2] =
    [("primary-backup", Mode::PrimaryBackup { backups: 1 }), ("all-to-all", Mode::AllToAll)];
const KINDS: [(&str, Forged); 2] = [("random", Forged::Random), ("minted", Forged::Minted)];
/// Nodes: the first gets the forged ids, the others the visitors.
const NODES: usize = 3;
const FORGED_PER_SECOND: u32 = 50_000;
/// Requests of visitors on each of the other nodes.
const VISITS_PER_SECOND: u32 = 500;
/// Sessions made on each node, and the bytes that each visit writes.
const SESSIONS: usize = 1_000;
const BYTES: usize = 256;

const GOALS: [Goal; 6] = [
    Goal {
        what: "visitors' p99 in the worst flood to before it, primary and backup",
        unit: "",
        bound: Bound::AtMost(1.5),
        value: |figures| worst(figures, "primary-backup"),
    },
    Goal {
        what: "the same, all to all",
        unit: "",
        bound: Bound::AtMost(1.5),
        value: |figures| worst(figures, "all-to-all"),
    },
    Goal {
        what: "processor time of the cluster for a forged id of random bytes, primary and backup",
        unit: "us",
        bound: Bound::AtMost(2.0),
        value: |figures| figures.median("flood/primary-backup/random/cpu"),
    },
    Goal {
        what: "the same for one that passes for minted",
        unit: "us",
        bound: Bound::AtMost(2.0),
        value: |figures| figures.median("flood/primary-backup/minted/cpu"),
    },
    Goal {
        what: "visitors' p99 under an attack on the ports of all nodes to before it",
        unit: "",
        bound: Bound::AtMost(3.0),
        value: |figures| figures.ratio("flood/attack/attacked/p99", "flood/attack/calm/p99"),
    },
    Goal {
        what: "memory that an attacked node takes more than before it",
        unit: "MiB",
        bound: Bound::AtMost(64.0),
        value: |figures| figures.median("flood/attack/attacked/memory"),
    },
];

fn worst(figures: &Figures, mode: &str) -> Option<f64> {
    let ratio = |kind| figures.ratio(&format!("flood/{mode}/{kind}/p99"), &format!("flood/{mode}/calm/p99"));
    Some(ratio("random")?.max(ratio("minted")?))
}

/// Measures calm and floods in turns, on the same cluster.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args, figures))
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let window = Duration::from_secs(args.pick(10, 2));
    let rounds = args.rounds(5);
    for (mode, placement) in MODES {
        let mut cluster = Processes::start(NODES, placement, Threads::PerCore).await?;
        let ids = with_sessions(&mut cluster).await?;
        one(&mut cluster, &ids, None, window / 2).await?;
        for round in 1..=rounds {
            let calm = one(&mut cluster, &ids, None, window).await?;
            note(figures, mode, "calm", &calm)?;
            for (kind, forged) in KINDS {
                let flood = one(&mut cluster, &ids, Some(forged), window).await?;
                note(figures, mode, kind, &flood)?;
                let more = flood.cpu.saturating_sub(calm.cpu).as_nanos() as f64 / 1_000.0;
                figures.add(format!("flood/{mode}/{kind}/cpu"), "us", more / flood.forged.count as f64);
            }
            println!("flood, {mode}: round {round} of {rounds}");
        }
        cluster.settled().await.context("the nodes did not stay together")?;
    }
    attack::measure(args, window, figures).await?;
    Ok(chapter(figures, window))
}

/// Makes sessions on each node, and waits until all is quiet. Their ids.
async fn with_sessions(cluster: &mut Processes) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for node in &mut cluster.nodes {
        let create = Command::Create { count: SESSIONS, bytes: BYTES, tasks: 16, tell: true };
        match node.ask(&create).await? {
            Answer::Created { ids: made, .. } => ids.extend(made),
            other => bail!("{} answers {other:?}", node.name()),
        }
    }
    cluster.settled().await?;
    Ok(ids)
}

/// What one window gave.
struct Window {
    /// Of the visitors on each of the other nodes.
    visits: Vec<Rates>,
    /// Of the forged ids.
    forged: Rates,
    /// Processor time of all nodes.
    cpu: Duration,
}

async fn one(
    cluster: &mut Processes,
    ids: &[String],
    forged: Option<Forged>,
    window: Duration,
) -> anyhow::Result<Window> {
    let for_ms = u64::try_from(window.as_millis())?;
    let before = spent(cluster)?;
    let nodes = &mut cluster.nodes;
    for node in &mut nodes[1..] {
        let ids = ids.to_vec();
        node.send(&Command::Visit { ids, per_second: VISITS_PER_SECOND, bytes: BYTES, for_ms }).await?;
    }
    let forged = nodes[0].rates(&Command::Flood { per_second: FORGED_PER_SECOND, forged, for_ms }).await?;
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
    cluster.nodes.iter().map(NodeProcess::threads).collect()
}

fn note(figures: &mut Figures, mode: &str, state: &str, window: &Window) -> anyhow::Result<()> {
    let failed: u64 = window.visits.iter().map(|rates| rates.failed).sum();
    ensure!(failed == 0, "{failed} requests of visitors failed ({mode}, {state})");
    for (percentile, of) in [("p50", (|rates| rates.p50_us) as fn(&Rates) -> f64), ("p99", |rates| rates.p99_us)] {
        // The slower of the nodes.
        let slower = window.visits.iter().map(of).fold(0.0, f64::max);
        figures.add(format!("flood/{mode}/{state}/{percentile}"), "us", slower);
    }
    figures.add(format!("flood/{mode}/{state}/rate"), "1/s", window.forged.per_second);
    Ok(())
}

fn chapter(figures: &Figures, window: Duration) -> Chapter {
    let how = format!(
        "{NODES} nodes as processes on loopback; {} sessions. Visitors of two of them load and write {VISITS_PER_SECOND} \
         times a second on each, at a fixed pace. The third gets {FORGED_PER_SECOND} ids a second that nobody has, each \
         once: of random bytes, or such as pass for minted ones, as somebody makes them who has read how. Windows of {} s, \
         in turns; in calm the ids are made just as fast, but not loaded. Latencies of the slower node, from when a request \
         was due; the processor time of all three nodes, less what they take in calm, for each forged id.\n\n{}",
        SESSIONS * NODES,
        window.as_secs(),
        attack::HOW
    );
    let mut chapter = Chapter { title: "A flood of forged ids", how, goals: GOALS.to_vec(), ..Chapter::default() };
    let head = ["placement", "ids", "a second", "CPU each", "visitors' p50", "p99"];
    let mut table = Table::new("", &head);
    for (mode, _) in MODES {
        for state in ["calm", "random", "minted"] {
            let of = |what: &str| figures.median(&format!("flood/{mode}/{state}/{what}"));
            let us = |what: &str| format!("{:.0} us", of(what).unwrap_or_default());
            let cpu = of("cpu").map_or_else(|| "not loaded".to_owned(), |cpu| format!("{cpu:.2} us"));
            let rate = format!("{:.0}", of("rate").unwrap_or_default());
            table.rows.push(vec![mode.to_owned(), state.to_owned(), rate, cpu, us("p50"), us("p99")]);
        }
    }
    chapter.tables.push(table);
    chapter.tables.push(attack::table(figures));
    chapter
}
