//! Clusters of growing size: what a commit costs, and what doing nothing does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use sessionmesh::{Ack, Mesh, Mode};
use tokio::runtime::Builder;
use tokio::time::Instant;

use super::load::{self, Span};
use super::network::MemoryNetwork;
use crate::cluster;
use crate::report::{Chapter, Figures, Plot, Shape, Table};
use crate::run_args::RunArgs;

/// Cluster sizes.
const NODES: [usize; 6] = [2, 4, 8, 16, 32, 64];
/// How long stopped nodes may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How copies are placed, what a commit waits for, and how many nodes that is meant for.
#[derive(Clone, Copy, Debug)]
struct Placement {
    name: &'static str,
    mode: Mode,
    ack: Ack,
    nodes_max: usize,
}

const PLACEMENTS: [Placement; 2] = [
    Placement { name: "primary-backup", mode: Mode::PrimaryBackup { backups: 1 }, ack: Ack::Copies(1), nodes_max: 64 },
    // Every owner, since what is sent after the acknowledgement would not be measured.
    Placement { name: "all-to-all", mode: Mode::AllToAll, ack: Ack::Owners, nodes_max: 16 },
];

/// How long a cluster works and is left alone.
#[derive(Clone, Copy, Debug)]
struct Windows {
    warm_up: Duration,
    idle: Duration,
    busy: Duration,
}

/// What one cluster gave.
struct Measured {
    together: Duration,
    idle: Span,
    busy: Span,
    suspicions: u64,
}

/// Measures all sizes in each round. Only one cluster lives at a time: a large one takes processor time also when it
/// has nothing to do. Says which sizes could not be measured, and why.
pub(super) fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Vec<String>> {
    let windows = Windows {
        warm_up: Duration::from_millis(args.pick(200, 100)),
        idle: Duration::from_millis(args.pick(1_000, 300)),
        busy: Duration::from_millis(args.pick(1_000, 300)),
    };
    let sizes: &[usize] = args.pick(&NODES, &NODES[..3]);
    let rounds = args.rounds(args.pick(3, 1));
    let mut failed = BTreeSet::new();
    let mut left_out = Vec::new();
    for round in 1..=rounds {
        for &count in sizes {
            for placement in PLACEMENTS.iter().filter(|placement| count <= placement.nodes_max) {
                if failed.contains(&(placement.name, count)) {
                    continue;
                }
                match once(placement, count, windows) {
                    Ok(measured) => note(figures, &name(placement, count), count, &measured),
                    Err(error) => {
                        failed.insert((placement.name, count));
                        left_out.push(format!("{}, {count} nodes, round {round}: {error:#}", placement.name));
                    }
                }
            }
        }
        println!("growth: round {round} of {rounds}");
    }
    Ok(left_out)
}

/// One cluster from its start to its end.
fn once(placement: &Placement, count: usize, windows: Windows) -> anyhow::Result<Measured> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        let network = MemoryNetwork::default();
        let began = Instant::now();
        let nodes =
            cluster::start(count, |builder| builder.mode(placement.mode).network(Arc::new(network.clone()))).await?;
        let together = began.elapsed();
        let sessions = load::prepare(&nodes[0], placement.ack).await?;
        load::busy(&network, &sessions, placement.ack, windows.warm_up).await?;
        cluster::settled(&nodes).await?;
        let before = suspicions(&nodes);
        let idle = load::idle(&network, windows.idle).await?;
        let busy = load::busy(&network, &sessions, placement.ack, windows.busy).await?;
        let apart = nodes.iter().filter(|node| node.members().len() < count).count();
        ensure!(apart == 0, "{apart} of {count} nodes lost sight of others while they were measured");
        Ok(Measured { together, idle, busy, suspicions: suspicions(&nodes) - before })
    });
    runtime.shutdown_timeout(ENDS_WITHIN);
    measured
}

fn suspicions(nodes: &[Mesh]) -> u64 {
    nodes.iter().map(|node| node.stats().suspicions).sum()
}

fn name(placement: &Placement, nodes: usize) -> String {
    format!("growth/{nodes}/{}", placement.name)
}

fn note(figures: &mut Figures, name: &str, nodes: usize, measured: &Measured) {
    let Measured { together, idle, busy, suspicions } = measured;
    let each = busy.per_commit(idle);
    let per_node = |number: f64| idle.per_second(number) / nodes as f64;
    let traffic = &idle.traffic;
    for (what, unit, value) in [
        ("together", "s", together.as_secs_f64()),
        ("rate", "commits/s", busy.per_second(busy.commits as f64)),
        ("cpu", "us", each.cpu_us),
        ("bytes", "B", each.stream_bytes),
        ("idle/cpu", "ms/s", per_node(idle.cpu.as_secs_f64() * 1e3)),
        ("idle/stream-bytes", "B/s", per_node(traffic.stream_bytes as f64)),
        ("idle/datagrams", "1/s", per_node(traffic.datagrams as f64)),
        ("idle/datagram-bytes", "B/s", per_node(traffic.datagram_bytes as f64)),
        ("idle/datagrams-lost", "1/s", per_node(traffic.datagrams_lost as f64)),
        ("suspicions", "suspicions", *suspicions as f64),
    ] {
        figures.add(format!("{name}/{what}"), unit, value);
    }
}

/// Adds the table and the plots.
pub(super) fn tell(figures: &Figures, chapter: &mut Chapter) {
    let head = [
        "placement",
        "nodes",
        "commits/s",
        "CPU/commit",
        "lowest to highest",
        "B/commit",
        "idle CPU/node",
        "idle stream B/s/node",
        "datagrams/s/node",
        "datagram B/s/node",
        "together after",
        "suspicions",
    ];
    let mut table = Table::new("", &head);
    for placement in &PLACEMENTS {
        table.rows.extend(NODES.iter().filter_map(|&nodes| row(figures, placement, nodes)));
    }
    chapter.tables.push(table);
    for (file, title, values, what) in [
        ("growth-cpu", "CPU time of all nodes for a commit of 256 B", "us", "cpu"),
        ("growth-bytes", "Bytes on all links for a commit of 256 B", "B", "bytes"),
    ] {
        let line = |placement: &Placement| {
            let at =
                |nodes: usize| Some((nodes as f64, figures.median(&format!("{}/{what}", name(placement, nodes)))?));
            (placement.name.to_owned(), NODES.into_iter().filter_map(at).collect())
        };
        let shape = Shape::Lines { over: "nodes", lines: PLACEMENTS.iter().map(line).collect() };
        chapter.plots.push(Plot { file, title, values, shape });
    }
}

fn row(figures: &Figures, placement: &Placement, nodes: usize) -> Option<Vec<String>> {
    let name = name(placement, nodes);
    let cpu = figures.get(&format!("{name}/cpu"))?;
    let median = |what: &str| figures.median(&format!("{name}/{what}")).unwrap_or_default();
    Some(vec![
        placement.name.to_owned(),
        nodes.to_string(),
        format!("{:.0}", median("rate")),
        format!("{:.1} us", cpu.median()),
        cpu.spread(1),
        format!("{:.0}", median("bytes")),
        format!("{:.2} ms/s", median("idle/cpu")),
        format!("{:.0}", median("idle/stream-bytes")),
        format!("{:.1}", median("idle/datagrams")),
        format!("{:.0}", median("idle/datagram-bytes")),
        format!("{:.1} s", median("together")),
        format!("{:.0}", median("suspicions")),
    ])
}
