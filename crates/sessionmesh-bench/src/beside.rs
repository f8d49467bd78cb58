//! Another build of this program beside this one: requests over HTTP in turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use crate::http::running::{Peers, Running};
use crate::http::system::System;
use crate::http::workload::{ALONE_OR_NOT, Workload};
use crate::report::{Chapter, Figures, Table};
use crate::run_args::RunArgs;

/// The name of the program in its folder.
const PROGRAM: &str = env!("CARGO_PKG_NAME");
/// So short that what disturbs one of a pair of windows disturbs the other, too.
const WINDOW: Duration = Duration::from_millis(400);
/// What is measured, from the other build, as figures name it, and from this one.
const PAIRS: [[System; 2]; 3] = [
    [System { name: "bare-before", ..System::BARE }, System::BARE],
    [System { name: "mesh-layer-before", ..System::MESH_LAYER }, System::MESH_LAYER],
    [System { name: "mesh-store-before", ..System::MESH_STORE }, System::MESH_STORE],
];
const OPERATIONS: [Workload; 3] = [Workload::READ, Workload::WRITE, Workload::NEW];

#[derive(Clone, Debug, Args)]
pub(crate) struct BesideArgs {
    /// The folder with the other build, as `cargo build --release` leaves it: target/release
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Measures each workload of each system in windows of the one build and the other, each the first in every other round.
pub(crate) fn run(baseline: &Path, args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let program = baseline.join(PROGRAM);
    ensure!(program.is_file(), "there is no {}: build it with `cargo build --release`", program.display());
    let rounds = args.rounds_or(20, 6);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let peers = Peers::default();
        for systems in PAIRS {
            let mut pair = Vec::new();
            for (system, program) in systems.into_iter().zip([Some(&*program), None]) {
                let mut running = Running::start_from(program, system, &peers).await?;
                running.warm_up(Duration::from_millis(100)).await?;
                pair.push(running);
            }
            for _ in 0..rounds {
                pair.reverse();
                for workload in workloads() {
                    for running in &mut pair {
                        running.measure(&workload, WINDOW, &peers, figures).await?;
                    }
                }
            }
            for running in pair {
                running.sites.stop().await?;
            }
            println!("beside: {rounds} rounds of {}", systems[0].what);
        }
        Ok(chapter(figures))
    })
}

fn workloads() -> impl Iterator<Item = Workload> {
    OPERATIONS.into_iter().flat_map(|workload| ALONE_OR_NOT.map(|connections| Workload { connections, ..workload }))
}

fn chapter(figures: &Figures) -> Chapter {
    let how = format!(
        "The same application from another build of this program, and from this one, as in the chapter on HTTP: all nodes run at once, \
         and are loaded in turns, in windows of {WINDOW:?}. The load comes from this build. {}",
        Table::HOW_TWO_ARE_COMPARED
    );
    let mut tables = Vec::new();
    for systems in PAIRS {
        let mut table =
            Table { title: format!("{}:", systems[0].what), ..Table::of_two(["other build", "this build"]) };
        for workload in workloads() {
            for (figure, unit, digits) in [("rate", "requests/s", 0), ("p50", "us", 0), ("cpu", "us", 2)] {
                let what = format!("{}, {}: {figure}", workload.what(), workload.connections);
                table.compare(figures, [&what, unit], digits, systems.map(|system| workload.figure(&system, figure)));
            }
        }
        tables.push(table);
    }
    Chapter { title: "Beside another build", how, tables, ..Chapter::default() }
}
