//! System calls and context switches of the nodes for each request over HTTP.

mod watch;

use std::time::Duration;

use anyhow::ensure;

use self::watch::{Seen, Watch};
use crate::http::running::{Peers, Running};
use crate::http::system::System;
use crate::http::workload::{ALONE_OR_NOT, Workload};
use crate::report::{Chapter, Figures, Table};
use crate::run_args::RunArgs;

/// Windows of load before anything is counted.
const WARM_UP: Duration = Duration::from_millis(200);
/// What is asked of whom, and what to call it.
const LOADS: [(System, Workload, &str); 4] = [
    (System::BARE, Workload::READ, "no session"),
    (System::MESH_LAYER, Workload::READ, "read"),
    (System::MESH_LAYER, Workload::WRITE, "write"),
    (System::MESH_LAYER, Workload::NEW, "new"),
];

/// Watches a server without sessions, and two nodes with the own layer.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let mut left_out = Vec::new();
    if watch::is_allowed() {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args, figures))?;
    } else {
        let how = "Debian: apt-get install linux-perf, and root, or kernel.perf_event_paranoid at -1";
        left_out.push(format!("Calls are left out: perf is not installed, or may not watch system calls ({how})."));
    }
    Ok(chapter(figures, left_out))
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let window = Duration::from_millis(args.pick(1_000, 300));
    let rounds = args.rounds(5);
    let peers = Peers::default();
    let mut all = Vec::new();
    for system in [System::BARE, System::MESH_LAYER] {
        let mut running = Running::start(system, &peers).await?;
        running.warm_up(WARM_UP).await?;
        all.push(running);
    }
    for round in 1..=rounds {
        for (system, workload, what) in LOADS {
            for connections in ALONE_OR_NOT {
                let workload = Workload { connections, ..workload };
                let Some(running) = all.iter_mut().find(|running| running.system == system) else { continue };
                let pids = running.sites.pids();
                let watches = pids.iter().map(|pid| Watch::start(*pid)).collect::<anyhow::Result<Vec<_>>>()?;
                let done = running.load(&workload, window).await?;
                running.sites.rest().await?;
                ensure!(done.failed == 0, "{} requests failed", done.failed);
                for (number, watch) in watches.into_iter().enumerate() {
                    note(figures, &name(what, connections, number), watch.end()?, done.total);
                }
            }
        }
        println!("calls: round {round} of {rounds}");
    }
    for running in all {
        running.sites.stop().await?;
    }
    Ok(())
}

fn name(what: &str, connections: u16, node: usize) -> String {
    format!("calls/{connections}/{}/{node}", what.replace(' ', "-"))
}

fn note(figures: &mut Figures, name: &str, seen: Seen, requests: u64) {
    let each = |count: u64| count as f64 / requests as f64;
    figures.add(format!("{name}/calls"), "calls", each(seen.calls));
    figures.add(format!("{name}/switches"), "switches", each(seen.switches));
}

fn chapter(figures: &Figures, left_out: Vec<String>) -> Chapter {
    let how = "For each request: what the node that answers does, and the other one, that has the copies. Counted by perf \
               while the load lasts, with what the nodes do anyway. A thread that waits and is woken is a switch. With one \
               connection each request waits for the answer to the one before; with more of them, calls are shared. \
               Medians of the rounds, with the lowest and the highest.";
    let head = ["request", "connections", "calls", "lowest to highest", "switches", "calls, other", "switches, other"];
    let mut table = Table::new("", &head);
    for (.., what) in LOADS {
        table.rows.extend(ALONE_OR_NOT.iter().filter_map(|connections| row(figures, what, *connections)));
    }
    let tables = if left_out.is_empty() { vec![table] } else { Vec::new() };
    Chapter { title: "System calls", how: how.to_owned(), left_out, tables, ..Chapter::default() }
}

fn row(figures: &Figures, what: &str, connections: u16) -> Option<Vec<String>> {
    let (server, other) = (name(what, connections, 0), name(what, connections, 1));
    let calls = figures.get(&format!("{server}/calls"))?;
    let median = |name: &str, what: &str| {
        figures.median(&format!("{name}/{what}")).map_or_else(|| "-".to_owned(), |median| format!("{median:.2}"))
    };
    Some(vec![
        what.to_owned(),
        connections.to_string(),
        format!("{:.2}", calls.median()),
        calls.spread(2),
        median(&server, "switches"),
        median(&other, "calls"),
        median(&other, "switches"),
    ])
}
