//! The figures, as a chapter of the report.

use super::goals::GOALS;
use super::running::HELD;
use super::system::System;
use super::workload::{BYTES, CONNECTIONS, Operation, SESSIONS, Workload};
use crate::report::{Chapter, Figures, Plot, Shape, Table};

/// The operations, in the order of the tables.
const OPERATIONS: [Operation; 3] = [Operation::Read, Operation::Write, Operation::New];

pub(crate) fn of(figures: &Figures, left_out: Vec<String>) -> Chapter {
    let how = how(figures);
    let mut chapter = Chapter { title: "Whole requests over HTTP", how, left_out, ..Chapter::default() };
    chapter.goals = GOALS.to_vec();
    chapter.tables = CONNECTIONS.map(|connections| rates(figures, connections)).to_vec();
    chapter.tables.push(four_nodes(figures));
    chapter.tables.push(lags(figures));
    let bars = |workload: Workload| {
        let rate = |system: &System| {
            let rate = figures.median(&workload.figure(system, "rate"))?;
            Some((system.what.to_owned(), rate))
        };
        Shape::Bars(System::ALL.iter().filter_map(rate).collect())
    };
    let plot = |file, title, workload| Plot { file, title, values: "requests/s", shape: bars(workload) };
    chapter.plots = vec![
        plot("http-read", "Reads, 16 connections", Workload::READ),
        plot("http-write", "Writes, 16 connections", Workload::WRITE),
        plot("http-new", "New sessions, 16 connections", Workload::NEW),
    ];
    chapter
}

fn how(figures: &Figures) -> String {
    let mut how = format!(
        "The same application in each variant, with axum and as a servlet, as processes on this machine, the load to the \
         first node beside them from one thread. {SESSIONS} sessions with one attribute of {BYTES} bytes; a read answers a \
         few bytes of it. Each Sessionmesh variant has two nodes where nothing else is said, and a write is answered when \
         another node has it (`Copies(1)`). Redis persists nothing. Tomcat's clusters have two nodes where nothing else is \
         said; `async` waits for no other node, `ack` until others have applied the change. CPU time is that of all nodes \
         (and of Redis) for each request, until they are at rest. Medians of the rounds, with the lowest and the highest."
    );
    let held = |system: &System| figures.median(&Workload::NEW.figure(system, "held"));
    if let Some((theirs, ours)) = held(&System::BACKUP_ACK).zip(held(&System::MESH_LAYER)) {
        how.push_str(&format!(
            " Each variant holds at least {HELD} sessions from the start, and new ones come on top: at 16 connections the \
             own layer held {ours:.0}, Tomcat's BackupManager {theirs:.0} (median). The latter counts all it holds for \
             each new one (`ManagerBase.add` asks for the size of the map), so its rate falls with their number."
        ));
    }
    how
}

fn rates(figures: &Figures, connections: u16) -> Table {
    let head = ["", "variant", "requests/s", "lowest to highest", "to no session", "p50", "p99", "CPU", "failed"];
    let mut rows = Vec::new();
    for operation in OPERATIONS {
        let fits = |workload: &&Workload| workload.connections == connections && workload.operation == operation;
        for workload in Workload::ALL.iter().filter(fits) {
            rows.extend(System::ALL.iter().filter_map(|system| row(figures, workload, system)));
        }
    }
    Table { rows, ..Table::new(format!("{connections} connections:"), &head) }
}

fn row(figures: &Figures, workload: &Workload, system: &System) -> Option<Vec<String>> {
    let name = |what: &str| workload.figure(system, what);
    let rate = figures.get(&name("rate"))?;
    let median = |what: &str| figures.median(&name(what)).unwrap_or_default();
    let failed: f64 = figures.get(&name("failed"))?.rounds.iter().sum();
    Some(vec![
        workload.what().to_owned(),
        system.what.to_owned(),
        format!("{:.0}", rate.median()),
        rate.spread(0),
        format!("{:.2}", figures.ratio(&name("rate"), &workload.figure(&System::BARE, "rate"))?),
        milliseconds(median("p50")),
        milliseconds(median("p99")),
        format!("{:.1} us", median("cpu")),
        format!("{failed:.0}"),
    ])
}

fn milliseconds(us: f64) -> String {
    format!("{:.2} ms", us / 1_000.0)
}

/// What two more nodes cost who writes.
fn four_nodes(figures: &Figures) -> Table {
    let head = ["", "requests/s, 2 nodes", "4 nodes", "ratio", "CPU, 2 nodes", "4 nodes", "ratio"];
    let row = |(two, four): (System, System)| {
        let mut row = vec![two.what.to_owned()];
        for (what, digits) in [("rate", 0), ("cpu", 1)] {
            let (two, four) = (Workload::WRITE.figure(&two, what), Workload::WRITE.figure(&four, what));
            let unit = if what == "cpu" { " us" } else { "" };
            row.extend(
                [&two, &four]
                    .map(|name| figures.median(name))
                    .map(|value| value.map_or_else(String::new, |value| format!("{value:.digits$}{unit}"))),
            );
            row.push(format!("{:.2}", figures.ratio(&four, &two)?));
        }
        Some(row)
    };
    let pairs = [(System::MESH_LAYER, System::MESH_LAYER_4), (System::BACKUP_ACK, System::BACKUP_ACK_4)];
    let rows = pairs.into_iter().filter_map(row).collect();
    Table { rows, ..Table::new("Writes with 2 and with 4 nodes, 16 connections:", &head) }
}

fn lags(figures: &Figures) -> Table {
    let head = ["variant", "p50", "p99", "seen at the first read", "never seen", "writes"];
    let row = |system: &System| {
        let name = |what: &str| format!("http/lag/{}/{what}", system.name);
        let median = |what: &str| figures.median(&name(what));
        let lag = |what: &str| median(what).map_or_else(|| "-".to_owned(), milliseconds);
        let writes: f64 = figures.get(&name("samples"))?.rounds.iter().sum();
        let percent = |what: &str| median(what).map_or_else(String::new, |share| format!("{:.1} %", share * 100.0));
        Some(vec![
            system.what.to_owned(),
            lag("p50"),
            lag("p99"),
            percent("first"),
            percent("never"),
            format!("{writes:.0}"),
        ])
    };
    let title = "Replication lag without load, from the answer to a write at the first node until a read at the second one \
                 has shown it, that read included; of the writes that were seen within 2 s. Each is of another session, \
                 which both nodes had served before; Tomcat asks for a balancer that sends visitors to one node:";
    Table { rows: System::ALL.iter().filter_map(row).collect(), ..Table::new(title, &head) }
}
