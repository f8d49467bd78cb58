//! Single operations: how long they take, and what they allocate.

mod mesh;
pub(crate) mod pure;
mod timing;

use std::time::Duration;

use self::mesh::Pair;
use self::timing::Timer;
use crate::report::{Chapter, Figures, Table};
use crate::run_args::RunArgs;

/// All operations, and what to call them, in the order of the table.
const OPERATIONS: [(&str, &str); 17] = [
    ("create", "`Mesh::create`"),
    ("load", "`Mesh::load`, local, 8 attributes"),
    ("get", "`Session::get`, a short text of 8 attributes"),
    ("insert", "`Session::insert`, a short text"),
    ("commit-local", "insert 256 B and commit, `Ack::Local`"),
    ("commit-copies-1", "insert 256 B and commit, `Ack::Copies(1)`, both nodes"),
    ("merge-1-of-8", "merge two records of 8 attributes of 256 B, 1 newer"),
    ("merge-8-of-8", "the same, all newer"),
    ("digest", "digest of 8 attributes of 256 B from scratch"),
    ("put", "put one of them: digest updated"),
    ("encode-1", "encode a batch of 1 delta of 256 B"),
    ("decode-1", "decode it"),
    ("encode-100", "encode a batch of 100 deltas of 256 B"),
    ("decode-100", "decode it"),
    ("owners", "`Slots::owners` of an id"),
    ("outbox", "outbox: mark and take 1,000 sessions"),
    ("mint", "mint an id"),
];

/// Measures on one thread.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let budget = Duration::from_millis(args.pick(200, 60));
    let rounds = args.rounds(5);
    let pair = Pair::start()?;
    for round in 0..=rounds {
        let mut unused = Figures::default();
        // The first round only warms up.
        let figures = if round == 0 { &mut unused } else { &mut *figures };
        let mut timer = Timer { figures, budget };
        pair.time(&mut timer)?;
        pure::time(&mut timer)?;
        println!("micro: round {round} of {rounds}{}", if round == 0 { " (to warm up)" } else { "" });
    }
    Ok(chapter(figures))
}

fn chapter(figures: &Figures) -> Chapter {
    let how = "One thread. Of each round the median over batches; the table shows the median, lowest and highest of the \
               rounds. Allocations are counted in a run of their own, and are those of the whole thread: those of a commit \
               with a copy are of both nodes and their links. The nodes are connected by real sockets.";
    let head = ["operation", "ns", "lowest to highest", "allocations", "bytes allocated"];
    let rows = OPERATIONS.iter().filter_map(|(name, what)| row(figures, name, what)).collect();
    let table = Table { rows, ..Table::new("", &head) };
    Chapter { title: "Single operations", how: how.to_owned(), tables: vec![table], ..Chapter::default() }
}

fn row(figures: &Figures, name: &str, what: &str) -> Option<Vec<String>> {
    let time = figures.get(&format!("micro/{name}/time"))?;
    let digits = if time.median() < 100.0 { 1 } else { 0 };
    let median = |what: &str| figures.median(&format!("micro/{name}/{what}")).unwrap_or_default();
    Some(vec![
        what.to_owned(),
        format!("{:.digits$}", time.median()),
        format!("{:.digits$} to {:.digits$}", time.minimum(), time.maximum()),
        format!("{:.1}", median("allocations")),
        format!("{:.0}", median("bytes")),
    ])
}
