//! Anti-entropy where nothing differs: what it costs that two nodes compare what they hold.

mod counted;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use sessionmesh::{Ack, Mesh};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use self::counted::Written;
use crate::cluster;
use crate::processor::Threads;
use crate::report::{Chapter, Figures, Table};
use crate::run_args::RunArgs;
use crate::share;

/// Sessions on each node: so few that looking for idle ones takes next to nothing, and many.
const FEW: usize = 10_000;
const MANY: usize = 1_000_000;
const MANY_QUICK: usize = 100_000;
/// Bytes of the value of each session. Audits read digests only, so it does not matter.
const BYTES: usize = 64;
/// Tasks that make sessions.
const MAKERS: usize = 64;
/// The shortest interval that the library admits, and the longest.
const OFTEN: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
/// Every so often each node looks at all sessions for idle ones, whatever the audits do. Windows are multiples of it.
const SWEEP: Duration = Duration::from_secs(5);

/// Pairs that audit all the time beside pairs that never do: the difference is what audits cost.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let counts = [FEW, args.pick(MANY, MANY_QUICK)];
    let rounds = args.rounds(5);
    let window = SWEEP * args.pick(2, 1);
    let mut both = Vec::new();
    for (count, names) in counts.into_iter().zip([["few-often", "few-never"], ["many-often", "many-never"]]) {
        both.push((count, Pair::start(count, OFTEN, names[0])?, Pair::start(count, NEVER, names[1])?));
        println!("audit: {count} sessions are made on each node");
    }
    let spent = || -> anyhow::Result<Vec<(Spent, Spent)>> {
        both.iter().map(|(_, often, never)| Ok((often.spent()?, never.spent()?))).collect()
    };
    for round in 1..=rounds {
        let before = spent()?;
        let began = Instant::now();
        std::thread::sleep(window);
        let after = spent()?;
        let seconds = began.elapsed().as_secs_f64();
        for ((count, ..), (before, after)) in both.iter().zip(before.iter().zip(&after)) {
            note(figures, *count, &after.0.since(&before.0), &after.1.since(&before.1), seconds)?;
        }
        println!("audit: round {round} of {rounds}");
    }
    for pair in both.iter().flat_map(|(_, often, never)| [often, never]) {
        let differences = differed(&pair.nodes) - pair.differed;
        ensure!(differences == 0, "{differences} slots differed, so not the cost of agreement was measured");
    }
    Ok(chapter(figures, counts))
}

/// Two equal nodes on threads of their own.
struct Pair {
    _runtime: Runtime,
    nodes: Vec<Mesh>,
    written: Arc<Written>,
    threads: &'static str,
    /// Slots that audits found different while the sessions were made.
    differed: u64,
}

impl Pair {
    fn start(count: usize, interval: Duration, threads: &'static str) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name(threads).enable_all().build()?;
        let written = Arc::<Written>::default();
        let network = Arc::new(counted::network(&written));
        let nodes = runtime.block_on(async {
            let adjust = |builder: sessionmesh::MeshBuilder| {
                builder.audit_interval(interval).max_sessions(u64::MAX >> 32).network(network.clone())
            };
            let nodes = cluster::start(2, adjust).await?;
            // Sessions are made at home: half of the slots have theirs on either node.
            let halves: Vec<_> = nodes.iter().map(|node| make(node, count / 2)).collect();
            for half in halves {
                half.await?;
            }
            cluster::settled(&nodes).await?;
            for node in &nodes {
                let held = node.stats().owned;
                ensure!(held == count, "a node holds {held} of {count} sessions");
            }
            if interval == OFTEN {
                // An audit that began before all was equal may find it different yet.
                written.wait_for_large(2, OFTEN * 10).await?;
            }
            anyhow::Ok(nodes)
        })?;
        let differed = differed(&nodes);
        Ok(Self { _runtime: runtime, nodes, written, threads, differed })
    }

    fn spent(&self) -> anyhow::Result<Spent> {
        let (bytes, audits) = self.written.now();
        Ok(Spent { threads: Threads::named(std::process::id(), self.threads)?, bytes, audits })
    }
}

fn differed(nodes: &[Mesh]) -> u64 {
    nodes.iter().map(|node| node.stats().audit_differences).sum()
}

/// What a pair has used so far.
struct Spent {
    threads: Threads,
    bytes: u64,
    audits: u64,
}

/// What it used within a window.
struct Used {
    cpu: Duration,
    bytes: u64,
    audits: u64,
}

impl Spent {
    fn since(&self, before: &Self) -> Used {
        Used {
            cpu: self.threads.since(&before.threads),
            bytes: self.bytes - before.bytes,
            audits: self.audits - before.audits,
        }
    }
}

/// Makes sessions without waiting for their copies.
async fn make(node: &Mesh, count: usize) -> anyhow::Result<()> {
    let mut running = JoinSet::new();
    for maker in 0..MAKERS {
        let node = node.clone();
        let share = share::of(count, maker, MAKERS);
        running.spawn(async move {
            let mut rng = StdRng::seed_from_u64(maker as u64);
            let mut value = [0; BYTES];
            for _ in 0..share {
                rng.fill_bytes(&mut value);
                let session = node.create().await?;
                session.insert_bytes("a", value.to_vec());
                session.commit_with(Ack::Local).await?;
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        });
    }
    while let Some(made) = running.join_next().await {
        made??;
    }
    Ok(())
}

fn note(figures: &mut Figures, count: usize, often: &Used, never: &Used, seconds: f64) -> anyhow::Result<()> {
    // The library takes up to a tenth off the interval, and looks 20 times in a second whether it is over.
    let expected = seconds / OFTEN.as_secs_f64();
    let audits = often.audits as f64;
    ensure!(
        (expected * 0.8..expected * 1.25 + 1.0).contains(&audits) && never.audits == 0,
        "{audits} and {} audits within {seconds:.1} s: they are not told from other writes",
        never.audits
    );
    let name = |what: &str| format!("audit/{count}/{what}");
    let us = |used: &Used| used.cpu.as_nanos() as f64 / 1_000.0;
    figures.add(name("cpu"), "us", (us(often) - us(never)) / audits);
    figures.add(name("bytes"), "bytes", (often.bytes as f64 - never.bytes as f64) / audits);
    figures.add(name("audits"), "", audits);
    let per_node = |used: &Used| us(used) / 1e6 / seconds / 2.0 * 100.0;
    figures.add(name("idle"), "percent", per_node(never));
    figures.add(name("idle-auditing"), "percent", per_node(often));
    Ok(())
}

fn chapter(figures: &Figures, counts: [usize; 2]) -> Chapter {
    let how = format!(
        "Pairs of nodes in this process, each pair on threads of its own; each node holds the same sessions as its \
         partner, and nothing differs. Of each size one pair compares its copies every second, which is the most that \
         `audit_interval` admits (the default is a minute), and one never within this run. Processor time and bytes \
         written to streams of one comparison: the difference between the two pairs within the same time, divided by \
         the comparisons. A comparison reads one digest for each of 4096 slots and no session. What an idle node takes \
         all the same is the sweep for idle sessions, which looks at each session every {} s: with many sessions it \
         takes so much more that the processor time of comparisons is lost in its variation (and may come out \
         negative), so the figure to trust is that of few sessions. Bringing copies back together is not measured here: \
         nothing that an application can do makes copies differ in a way that only an audit would find.",
        SWEEP.as_secs()
    );
    let mut chapter = Chapter { title: "Anti-entropy", how, ..Chapter::default() };
    let head = ["", "sessions", "median", "lowest to highest"];
    let mut table = Table::new("", &head);
    for (what, label, unit, digits) in [
        ("cpu", "processor time of one comparison, both nodes", "us", 0),
        ("bytes", "bytes of one comparison, to and fro", "B", 0),
        ("idle", "an idle node that does not audit", "% of a core", 2),
        ("idle-auditing", "an idle node that audits every second", "% of a core", 2),
    ] {
        for count in counts {
            let Some(figure) = figures.get(&format!("audit/{count}/{what}")) else { continue };
            let (median, low, high) = (figure.median(), figure.minimum(), figure.maximum());
            let (median, spread) = (format!("{median:.digits$} {unit}"), format!("{low:.digits$} to {high:.digits$}"));
            table.rows.push(vec![label.to_owned(), count.to_string(), median, spread]);
        }
    }
    chapter.tables.push(table);
    chapter
}
