//! How soon survivors act on the death of a node, and on its hanging.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use sessionmesh::Ack;
use tokio::time::{Instant, sleep, sleep_until};

use super::{BYTES, NODES, cluster, spread};
use crate::engine::writers::Work;
use crate::monotonic;
use crate::node::{Answer, Command, Found, NodeProcess, Processes};
use crate::report::{Figures, Table};
use crate::run_args::RunArgs;

/// How long survivors are watched, and the woken node is asked.
const PATIENCE: Duration = Duration::from_secs(20);
/// A node is stopped for at least so long, twice the commit deadline: no commit may take longer.
const STOPPED: Duration = Duration::from_secs(1);
/// Sessions that the woken node is asked for.
const SESSIONS: usize = 16;
/// What each survivor does meanwhile.
const WORK: Work = Work { writers: 1, bytes: BYTES, ack: Ack::Owners };

/// What the survivors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survivors {
    Idle,
    /// Each commits, one commit after the other.
    Writing,
}

impl Survivors {
    const ALL: [Self; 2] = [Self::Idle, Self::Writing];

    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Writing => "writing",
        }
    }
}

fn name(signal: &str, nodes: usize, survivors: Survivors) -> String {
    format!("failover/{signal}/{nodes}/{}", survivors.name())
}

/// The median time until the last survivor acts on a kill: of idle or of writing survivors, whichever is worse.
pub(super) fn worst_median(figures: &Figures, nodes: usize) -> Option<f64> {
    let median = |survivors| figures.median(&format!("{}/last", name("kill", nodes, survivors)));
    Some(median(Survivors::Idle)?.max(median(Survivors::Writing)?))
}

/// The figure of the longest commit while a node was stopped.
pub(super) fn longest_commit(nodes: usize) -> String {
    format!("{}/longest-commit", name("stop", nodes, Survivors::Writing))
}

/// All reads that were older than what was acknowledged, of all cluster sizes that were measured.
pub(super) fn stale(figures: &Figures) -> Option<f64> {
    let names = NODES.iter().flat_map(|nodes| Survivors::ALL.map(|survivors| name("stop", *nodes, survivors)));
    let counts: Vec<f64> = names.filter_map(|name| Some(figures.get(&format!("{name}/stale"))?.sum())).collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

/// Kills and stops the last node, again and again.
pub(super) async fn measure(nodes: usize, args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let mut cluster = cluster(nodes).await?;
    let (kills, stops) = (args.rounds_or(20, 4), args.rounds_or(4, 1));
    for round in 1..=kills {
        for survivors in Survivors::ALL {
            kill(&mut cluster, survivors, figures).await?;
            if round <= stops {
                stop(&mut cluster, survivors, u64::from(round), figures).await?;
            }
        }
    }
    println!("failover: {nodes} nodes, {kills} rounds of SIGKILL and {stops} of SIGSTOP");
    Ok(())
}

async fn kill(cluster: &mut Processes, survivors: Survivors, figures: &mut Figures) -> anyhow::Result<()> {
    let name = name("kill", cluster.nodes.len(), survivors);
    let mut victim = cluster.nodes.pop().context("there is no node")?;
    begin(&mut cluster.nodes, victim.name(), survivors).await?;
    let at = victim.signal(Signal::KILL)?;
    note_acts(&mut cluster.nodes, at, &name, figures).await?;
    victim.ended().await?;
    end(&mut cluster.nodes, survivors, &name, figures).await?;
    restart(cluster, &victim).await
}

async fn stop(cluster: &mut Processes, survivors: Survivors, round: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let name = name("stop", cluster.nodes.len(), survivors);
    let mut victim = cluster.nodes.pop().context("there is no node")?;
    let create = Command::Create { count: SESSIONS, bytes: BYTES, tasks: 1, tell: true };
    let Answer::Created { ids, .. } = cluster.nodes[0].ask(&create).await? else { bail!("no sessions were made") };
    begin(&mut cluster.nodes, victim.name(), survivors).await?;
    let until = Instant::now() + STOPPED;
    let at = victim.signal(Signal::STOP)?;
    note_acts(&mut cluster.nodes, at, &name, figures).await?;
    cluster.nodes[0].ask(&Command::Update { ids: ids.clone(), number: round, bytes: BYTES }).await?;
    sleep_until(until).await;
    end(&mut cluster.nodes, survivors, &name, figures).await?;
    let at = victim.signal(Signal::CONT)?;
    let stale = serves(&mut victim, &ids, round).await?;
    figures.add(format!("{name}/serves-again"), "ms", milliseconds(monotonic::now() - at));
    figures.add(format!("{name}/stale"), "reads", stale as f64);
    // Suspicion has a back-off that grows, so the next round takes another incarnation.
    victim.signal(Signal::KILL)?;
    victim.ended().await?;
    restart(cluster, &victim).await
}

/// Lets the survivors watch the victim, and write if they shall.
async fn begin(survivors: &mut [NodeProcess], victim: &str, kind: Survivors) -> anyhow::Result<()> {
    for node in survivors.iter_mut() {
        if kind == Survivors::Writing {
            node.ask(&Command::StartWriting(WORK)).await?;
        }
        let for_ms = u64::try_from(PATIENCE.as_millis())?;
        node.ask(&Command::Watch { peer: victim.to_owned(), for_ms }).await?;
    }
    for node in survivors.iter_mut().filter(|_| kind == Survivors::Writing) {
        // Only what is committed from now on counts.
        node.rates(&Command::Lap).await?;
    }
    Ok(())
}

/// Notes when the first and the last survivor acted, and how many had it out of their view, not only suspected.
async fn note_acts(
    survivors: &mut [NodeProcess],
    at: Duration,
    name: &str,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (mut acted, mut out_of_view) = (Vec::new(), 0);
    for node in survivors {
        let Answer::Seen { at_ns, removed } = node.ask(&Command::Seen).await? else { bail!("no answer to that") };
        let seen = at_ns.with_context(|| format!("{} does not act within {PATIENCE:?}", node.name()))?;
        out_of_view += usize::from(removed);
        let took = Duration::from_nanos(seen).checked_sub(at);
        acted.push(took.with_context(|| format!("{} acted before anything happened", node.name()))?);
    }
    let first = acted.iter().min().context("nobody survives")?;
    let last = acted.iter().max().context("nobody survives")?;
    figures.add(format!("{name}/out-of-view"), "survivors", out_of_view as f64);
    figures.add(format!("{name}/first"), "ms", milliseconds(*first));
    figures.add(format!("{name}/last"), "ms", milliseconds(*last));
    Ok(())
}

/// Ends the writing, and notes the longest commit.
async fn end(survivors: &mut [NodeProcess], kind: Survivors, name: &str, figures: &mut Figures) -> anyhow::Result<()> {
    if kind == Survivors::Idle {
        return Ok(());
    }
    let (mut longest_us, mut timed_out) = (0.0_f64, 0);
    for node in survivors {
        let rates = node.rates(&Command::StopWriting).await?;
        longest_us = longest_us.max(rates.longest_us);
        timed_out += rates.failed;
    }
    figures.add(format!("{name}/longest-commit"), "ms", longest_us / 1_000.0);
    figures.add(format!("{name}/timed-out"), "commits", timed_out as f64);
    Ok(())
}

/// Waits until the node reads at least `number` in all these sessions. How many of its reads were older.
async fn serves(node: &mut NodeProcess, ids: &[String], number: u64) -> anyhow::Result<usize> {
    let (until, mut stale) = (Instant::now() + PATIENCE, 0);
    loop {
        let Answer::Numbers(found) = node.ask(&Command::Numbers { ids: ids.to_vec() }).await? else {
            bail!("no answer to that");
        };
        let is_right = |found: &Found| matches!(found, Found::Number(read) if *read >= number);
        if found.iter().all(is_right) {
            return Ok(stale);
        }
        stale += found.iter().filter(|found| !is_right(found) && **found != Found::CannotTell).count();
        ensure!(Instant::now() < until, "{} does not serve again within {PATIENCE:?}", node.name());
        sleep(Duration::from_millis(1)).await;
    }
}

/// Starts the node anew under its name.
async fn restart(cluster: &mut Processes, victim: &NodeProcess) -> anyhow::Result<()> {
    cluster.add(victim.name().to_owned()).await?;
    cluster.settled().await.map(drop)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

pub(super) fn tables(figures: &Figures) -> [Table; 2] {
    let each = || NODES.into_iter().flat_map(|nodes| Survivors::ALL.map(|survivors| (nodes, survivors)));
    let table = |title: &str, signal: &str, columns: &[(&str, &str)]| {
        let mut head = vec!["nodes".to_owned(), "survivors".to_owned()];
        head.extend(columns.iter().map(|(column, _)| (*column).to_owned()));
        let row = |(nodes, survivors): (usize, Survivors)| {
            let name = name(signal, nodes, survivors);
            figures.get(&format!("{name}/last"))?;
            let mut row = vec![nodes.to_string(), survivors.name().to_owned()];
            row.extend(columns.iter().map(|(_, figure)| spread(figures, &format!("{name}/{figure}"))));
            Some(row)
        };
        Table { title: title.to_owned(), head, rows: each().filter_map(row).collect() }
    };
    let out_of_view = ("of them out of view", "out-of-view");
    let longest = ("longest commit", "longest-commit");
    let kill = [("first acts", "first"), ("last acts", "last"), out_of_view, longest];
    let stop = [
        ("last acts", "last"),
        out_of_view,
        longest,
        ("timed out", "timed-out"),
        ("SIGCONT to serving", "serves-again"),
    ];
    [table("A node is killed (SIGKILL):", "kill", &kill), table("A node hangs (SIGSTOP):", "stop", &stop)]
}
