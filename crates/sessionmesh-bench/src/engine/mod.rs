//! The engine without HTTP: commits per second, their latency and what they cost.

pub(crate) mod ping_pong;
mod processes;
pub(crate) mod writers;

use std::time::Duration;

use sessionmesh::{Ack, Mode};
use tokio::runtime::{Builder, Runtime};

use self::writers::{Done, Work};
use crate::cluster;
use crate::report::{Bound, Chapter, Figures, Goal, Plot, Shape, Table};
use crate::run_args::RunArgs;

/// Cluster sizes.
const NODES: [usize; 5] = [2, 3, 4, 5, 8];
/// Bytes of the value that each commit writes.
const BYTES: [usize; 2] = [256, 4_096];
/// Tasks that commit, each one commit after the other.
const WRITERS: [usize; 2] = [1, 64];

/// How long each cluster works before it is measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// How copies are placed, and what a commit waits for.
#[derive(Clone, Copy, Debug)]
struct Placement {
    name: &'static str,
    mode: Mode,
    ack: Ack,
}

const PLACEMENTS: [Placement; 2] = [
    Placement { name: "primary-backup", mode: Mode::PrimaryBackup { backups: 1 }, ack: Ack::Copies(1) },
    Placement { name: "all-to-all", mode: Mode::AllToAll, ack: Ack::Owners },
];

const GOALS: [Goal; 4] = [
    Goal {
        what: "commits, 2 nodes, Copies(1), 256 B, 64 writers",
        unit: "commits/s",
        bound: Bound::AtLeast(200_000.0),
        value: |figures| figures.median("engine/2/primary-backup/256/64/rate"),
    },
    Goal {
        what: "their p99",
        unit: "ms",
        bound: Bound::AtMost(2.0),
        value: |figures| Some(figures.median("engine/2/primary-backup/256/64/p99")? / 1_000.0),
    },
    Goal {
        what: "one writer, p50 to a bare ping-pong",
        unit: "",
        bound: Bound::AtMost(1.5),
        value: |figures| figures.ratio("engine/2/primary-backup/256/1/p50", "engine/ping-pong/p50"),
    },
    Goal {
        what: "4 to 2 nodes: CPU time per commit, primary and backup",
        unit: "",
        bound: Bound::AtMost(1.1),
        value: |figures| figures.ratio("engine/4/primary-backup/256/64/cpu", "engine/2/primary-backup/256/64/cpu"),
    },
];

/// Measures in this process, on as many threads as there are cores, and then with nodes as processes. Each cluster ends
/// before the next one starts, so that no idle ones take part in its work.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let window = Duration::from_millis(args.pick(700, 250));
    let sizes: &[usize] = args.pick(&NODES, &[2, 4]);
    let rounds = args.rounds(5);
    for round in 1..=rounds {
        for placement in &PLACEMENTS {
            for &count in sizes {
                measure(placement, count, window, figures)?;
            }
        }
        let latencies = runtime()?.block_on(ping_pong::run(window))?;
        figures.add("engine/ping-pong/p50", "us", latencies.percentile_us(500));
        processes::Clusters::start()?.measure(window, figures)?;
        println!("engine: round {round} of {rounds}");
    }
    Ok(chapter(figures))
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// One round of one cluster.
fn measure(placement: &Placement, count: usize, window: Duration, figures: &mut Figures) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let nodes = cluster::start(count, |builder| builder.mode(placement.mode)).await?;
        let work = |writers, bytes| Work { writers, bytes, ack: placement.ack };
        writers::run(&nodes[0], work(WRITERS[1], BYTES[0]), WARM_UP).await?;
        for bytes in BYTES {
            for writers in WRITERS {
                let done = writers::run(&nodes[0], work(writers, bytes), window).await?;
                note(figures, &name(count, placement, bytes, writers), &done);
            }
        }
        Ok(())
    })
}

fn name(nodes: usize, placement: &Placement, bytes: usize, writers: usize) -> String {
    format!("engine/{nodes}/{}/{bytes}/{writers}", placement.name)
}

fn note(figures: &mut Figures, name: &str, done: &Done) {
    figures.add(format!("{name}/rate"), "commits/s", done.rate);
    for (percentile, thousandths) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        figures.add(format!("{name}/{percentile}"), "us", done.latencies.percentile_us(thousandths));
    }
    figures.add(format!("{name}/cpu"), "us", done.cpu.as_nanos() as f64 / 1_000.0);
}

fn chapter(figures: &Figures) -> Chapter {
    let how = "All nodes in one process on real sockets, tokio with one thread for each core. Each writer is a task that \
               commits one attribute, waits for the acknowledgement, and commits again; all on the first node. \
               `primary-backup` waits for the one backup, `all-to-all` for every node. CPU time is that of all nodes and \
               writers together.";
    let mut chapter = Chapter { title: "The engine without HTTP", how: how.to_owned(), ..Chapter::default() };
    chapter.goals = [&GOALS[..], &processes::GOALS].concat();
    let head =
        ["placement", "nodes", "bytes", "writers", "commits/s", "lowest to highest", "p50", "p99", "p99.9", "CPU"];
    let mut table = Table::new("", &head);
    for placement in &PLACEMENTS {
        for nodes in NODES {
            for bytes in BYTES {
                let rows = WRITERS.iter().filter_map(|writers| row(figures, nodes, placement, bytes, *writers));
                table.rows.extend(rows);
            }
        }
    }
    chapter.tables.push(table);
    chapter.tables.push(processes::table(figures));
    if let Some(p50) = figures.median("engine/ping-pong/p50") {
        chapter.how.push_str(&format!(" A bare ping-pong of as many bytes as such a commit takes: p50 {p50:.1} us."));
    }
    let line = |placement: &Placement| {
        let at = |nodes: usize| {
            let rate = figures.median(&format!("{}/rate", name(nodes, placement, BYTES[0], WRITERS[1])))?;
            Some((nodes as f64, rate))
        };
        (placement.name.to_owned(), NODES.into_iter().filter_map(at).collect())
    };
    chapter.plots.push(Plot {
        file: "engine",
        title: "Commits on one node, 256 B, 64 writers, all nodes on these cores",
        values: "commits/s",
        shape: Shape::Lines { over: "nodes", lines: PLACEMENTS.iter().map(line).collect() },
    });
    chapter
}

fn row(figures: &Figures, nodes: usize, placement: &Placement, bytes: usize, writers: usize) -> Option<Vec<String>> {
    let name = name(nodes, placement, bytes, writers);
    let rate = figures.get(&format!("{name}/rate"))?;
    let us = |what: &str| {
        let us = figures.median(&format!("{name}/{what}")).unwrap_or_default();
        if us < 1_000.0 { format!("{us:.1} us") } else { format!("{:.2} ms", us / 1_000.0) }
    };
    let mut row = vec![placement.name.to_owned()];
    row.extend([nodes, bytes, writers].map(|number| number.to_string()));
    row.push(format!("{:.0}", rate.median()));
    row.push(rate.spread(0));
    row.extend(["p50", "p99", "p99.9", "cpu"].map(us));
    Some(row)
}
