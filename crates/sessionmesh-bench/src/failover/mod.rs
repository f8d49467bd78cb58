//! What a crash, a hang and a slow peer cost: nodes as processes that are killed and stopped.

mod copies;
mod detection;
mod lost;
mod slow_peer;

use sessionmesh::Mode;
use tokio::runtime::Builder;

use crate::node::{Processes, Threads};
use crate::report::{Bound, Chapter, Figures, Goal};
use crate::run_args::RunArgs;

/// Cluster sizes.
const NODES: [usize; 2] = [3, 5];
/// Bytes of each value.
const BYTES: usize = 256;

const GOALS: [Goal; 6] = [
    Goal {
        what: "3 nodes, SIGKILL: the last survivor acts",
        unit: "ms",
        bound: Bound::AtMost(50.0),
        value: |figures| detection::worst_median(figures, 3),
    },
    Goal {
        what: "5 nodes, SIGKILL: the last survivor acts",
        unit: "ms",
        bound: Bound::AtMost(50.0),
        value: |figures| detection::worst_median(figures, 5),
    },
    Goal {
        what: "3 nodes, SIGSTOP: longest commit of a survivor, to the commit deadline of 500 ms",
        unit: "ms",
        bound: Bound::AtMost(500.0),
        value: |figures| Some(figures.get(&detection::longest_commit(3))?.maximum()),
    },
    Goal {
        what: "reads on a node woken by SIGCONT that are older than what was acknowledged",
        unit: "reads",
        bound: Bound::AtMost(0.0),
        value: detection::stale,
    },
    Goal {
        what: "sessions that lost an acknowledged commit, of all rounds of SIGKILL in mid-stream",
        unit: "sessions",
        bound: Bound::AtMost(0.0),
        value: lost::lost,
    },
    Goal {
        what: "longest commit beside a peer that hangs, to the commit deadline of 500 ms",
        unit: "ms",
        bound: Bound::AtMost(500.0),
        value: |figures| Some(figures.get(slow_peer::LONGEST_MEANWHILE)?.maximum()),
    },
];

/// Measures with the default settings, all but how the nodes find each other.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    // The driver only waits: one thread is enough for it.
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        for &nodes in args.pick(&NODES[..], &NODES[..1]) {
            detection::measure(nodes, args, figures).await?;
            copies::measure(nodes, args, figures).await?;
        }
        lost::measure(args, figures).await?;
        slow_peer::measure(args, figures).await
    })?;
    Ok(chapter(figures))
}

/// A cluster with the default settings.
async fn cluster(nodes: usize) -> anyhow::Result<Processes> {
    Processes::start(nodes, Mode::PrimaryBackup { backups: 1 }, Threads::PerCore).await
}

fn chapter(figures: &Figures) -> Chapter {
    let how = "Nodes as processes on this machine, primary and backup with the default settings (a commit waits for all \
               owners, 500 ms at most). A survivor *acts* on a death when it has the dead node out of its view or \
               suspects it, and commits go on without it; each survivor looks every 0.2 ms, and the last one counts. \
               `SIGKILL` closes the sockets of a process, as its crash does; `SIGSTOP` leaves them open, and nothing \
               answers, as when a host is gone or hangs. The kernel still delivers what a killed process had written, \
               so no host crash is measured here. Medians of the rounds, with the lowest and the highest.";
    let mut chapter =
        Chapter { title: "Failover and slow peers", how: how.to_owned(), goals: GOALS.to_vec(), ..Chapter::default() };
    chapter.tables.extend(detection::tables(figures));
    chapter.tables.extend([copies::table(figures), lost::table(figures), slow_peer::table(figures)]);
    chapter
}

/// A median with its spread.
fn spread(figures: &Figures, name: &str) -> String {
    figures.get(name).map_or_else(String::new, |figure| {
        let unit = figure.unit;
        format!("{:.1} {unit} ({:.1} to {:.1})", figure.median(), figure.minimum(), figure.maximum())
    })
}
