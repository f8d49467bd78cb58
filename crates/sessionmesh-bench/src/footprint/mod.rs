//! Memory: how much a session takes on the node that made it, on its replica, and elsewhere.

mod mesh;
mod peers;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use crate::http::peers::{Redis, Sites};
use crate::http::site::Variant;
use crate::memory::resident;
use crate::report::{Bound, Chapter, Figures, Goal, Table};
use crate::run_args::RunArgs;

/// Bytes of the value of each session.
const BYTES: usize = 1 << 10;
/// How often each is written again.
const REWRITES: u32 = 5;
/// A process is at rest when its memory has not changed for so long, and must come to rest within so much.
const CALM: Duration = Duration::from_millis(700);
const RESTS_WITHIN: Duration = Duration::from_secs(60);
/// Memory that has changed by less has not changed: some pages come and go with every timer.
const NOISE_BYTES: u64 = 128 << 10;

const GOALS: [Goal; 3] = [
    Goal {
        what: "memory of a session of 1 KiB on a replica",
        unit: "B",
        bound: Bound::AtMost(1_280.0),
        value: |figures| figures.median("memory/sessionmesh/replica/made"),
    },
    Goal {
        what: "memory of a tombstone on a replica",
        unit: "B",
        bound: Bound::AtMost(48.0),
        value: |figures| figures.median("memory/sessionmesh/replica/tombstone"),
    },
    Goal {
        what: "leaving with 1,000,000 tombstones",
        unit: "s",
        bound: Bound::AtMost(2.0),
        value: |figures| figures.median("tombstones/leave"),
    },
];

/// Measures Sessionmesh and what people use instead, in turns.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args, figures))
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let count = args.pick(100_000, 20_000);
    let rounds = if args.quick { args.rounds(1) } else { args.rounds(3) };
    let mut left_out = Vec::new();
    for round in 1..=rounds {
        mesh::made_written_and_ended(figures, count).await?;
        let ended = args.pick(1_000_000, 20_000);
        mesh::tombstones(figures, ended, Duration::from_secs(args.pick(20, 4))).await?;
        mesh::leaving(figures, ended).await?;
        let sites = Sites::start(Variant::Memory, 1, None).await?;
        peers::memory_store(figures, &sites, count).await?;
        match Redis::start().await? {
            Some(redis) => peers::redis(figures, &redis, count).await?,
            None if left_out.is_empty() => left_out.push(Redis::MISSING.to_owned()),
            None => {}
        }
        println!("memory: round {round} of {rounds}");
    }
    Ok(chapter(figures, count, left_out))
}

/// Resident memory of a process, once it has come to rest.
async fn at_rest(pid: u32) -> anyhow::Result<u64> {
    let until = Instant::now() + RESTS_WITHIN;
    let (mut bytes, mut since) = (resident(pid)?, Instant::now());
    while since.elapsed() < CALM {
        ensure!(Instant::now() < until, "the memory of process {pid} does not come to rest within {RESTS_WITHIN:?}");
        sleep(Duration::from_millis(50)).await;
        let now = resident(pid)?;
        if now.abs_diff(bytes) > NOISE_BYTES {
            (bytes, since) = (now, Instant::now());
        }
    }
    resident(pid)
}

/// Notes by how much memory has grown for each session.
fn note(figures: &mut Figures, name: &str, before: u64, after: u64, count: usize) {
    figures.add(format!("memory/{name}"), "B", (after as f64 - before as f64) / count as f64);
}

fn pid_of(pid: Option<u32>) -> anyhow::Result<u32> {
    pid.context("a process has ended")
}

fn chapter(figures: &Figures, count: usize, left_out: Vec<String>) -> Chapter {
    let how = format!(
        "{count} sessions with one value of {BYTES} B. By how much the resident memory (RSS) of a process grew, for \
         each session: before the first session, and once nothing is under way and the memory is at rest. Sessionmesh: \
         two nodes as processes, primary and backup, random bytes; all sessions are made on one node, so that it is the \
         primary and the other one the replica of all. The node that made them also keeps a list of their ids for this \
         measurement, 16 B each. The peers get theirs over HTTP, as tower-sessions stores them. Freed memory stays with \
         a process until its allocator (glibc's) gives it back: what was written {REWRITES} times shows fragmentation, \
         and what is left after all have ended is mostly such memory. A tombstone's own size shows where each session \
         is ended before the next is made."
    );
    let mut chapter = Chapter { title: "Memory", how, left_out, goals: GOALS.to_vec(), ..Chapter::default() };
    let written = format!("Sessionmesh, {REWRITES} times written");
    let rows = [
        ("Sessionmesh, node that made it", "sessionmesh/home/made"),
        ("Sessionmesh, replica", "sessionmesh/replica/made"),
        (&written, "sessionmesh/home/written"),
        ("the same, replica", "sessionmesh/replica/written"),
        ("Sessionmesh, all ended", "sessionmesh/home/ended"),
        ("the same, replica", "sessionmesh/replica/ended"),
        ("Sessionmesh, tombstone", "sessionmesh/home/tombstone"),
        ("the same, replica", "sessionmesh/replica/tombstone"),
        ("tower-sessions MemoryStore", "memory-store"),
        ("Redis, RSS", "redis/resident"),
        ("Redis, used_memory", "redis/used"),
    ];
    let head = ["for each session", "bytes", "lowest to highest"];
    let mut table = Table::new("", &head);
    for (label, name) in rows {
        let Some(figure) = figures.get(&format!("memory/{name}")) else { continue };
        let spread = figure.spread(0);
        table.rows.push(vec![label.to_owned(), format!("{:.0}", figure.median()), spread]);
    }
    chapter.tables.push(table);
    let mut table = Table::new("Tombstones", &["of a node with many tombstones", "", "lowest to highest"]);
    for (label, name, unit) in [
        ("processor time before there was one, idle", "tombstones/idle/none", "% of a core"),
        ("the same with all of them", "tombstones/idle/all", "% of a core"),
        ("leaving with all of them", "tombstones/leave", "s"),
    ] {
        let Some(figure) = figures.get(name) else { continue };
        table.rows.push(vec![label.to_owned(), format!("{:.2} {unit}", figure.median()), figure.spread(2)]);
    }
    chapter.tables.push(table);
    chapter
}
