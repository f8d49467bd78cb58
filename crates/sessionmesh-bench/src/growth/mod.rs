//! What more nodes cost: a commit, an idle node, a join.

mod clusters;
mod join;
mod load;
mod network;

use crate::report::{Bound, Chapter, Figures, Goal};
use crate::run_args::RunArgs;

const GOALS: [Goal; 2] = [
    Goal {
        what: "4 to 2 nodes: CPU time per commit, primary and backup, in memory",
        unit: "",
        bound: Bound::AtMost(1.10),
        value: |figures| figures.ratio("growth/4/primary-backup/cpu", "growth/2/primary-backup/cpu"),
    },
    Goal {
        what: "64 to 2 nodes: bytes per commit, primary and backup",
        unit: "",
        bound: Bound::AtMost(1.05),
        value: |figures| figures.ratio("growth/64/primary-backup/bytes", "growth/2/primary-backup/bytes"),
    },
];

/// Measures clusters in this process on a network in memory, and then what a join costs a node of a large cluster.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let left_out = clusters::measure(args, figures)?;
    join::measure(args, figures);
    let how = format!(
        "All nodes in one process, on a network in memory that counts what is written to it; tokio with one thread for \
         each core. {} tasks on the first node each commit {} B, wait for the acknowledgement, and commit again; \
         `primary-backup` waits for the one backup, `all-to-all` for every node. Every size in every round is a new \
         cluster, alone in the process. CPU time is that of all nodes and writers together; of it and of the bytes, what \
         the same cluster took just before with nothing to do is subtracted.",
        load::WRITERS,
        load::BYTES
    );
    let mut chapter = Chapter { title: "More nodes", how, left_out, ..Chapter::default() };
    chapter.goals = GOALS.to_vec();
    clusters::tell(figures, &mut chapter);
    join::tell(figures, &mut chapter);
    Ok(chapter)
}
