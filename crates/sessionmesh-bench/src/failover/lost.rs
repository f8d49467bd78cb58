//! Is any acknowledged commit lost when a node is killed in the midst of its commits?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{bail, ensure};
use rand::Rng as _;
use rustix::process::Signal;
use sessionmesh::Ack;
use tokio::time::{Instant, sleep, sleep_until};

use super::{BYTES, cluster};
use crate::engine::writers::Work;
use crate::node::{Answer, Command, Found, NodeProcess};
use crate::report::{Figures, Table};
use crate::run_args::RunArgs;

const NODES: usize = 3;
const WRITERS: usize = 16;
/// When the kill comes, in milliseconds after the first acknowledgement.
const KILLED_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=800;
/// How long a survivor may be unable to tell.
const PATIENCE: Duration = Duration::from_secs(10);

/// What commits wait for. `Local` waits for nothing: it shows that the check finds what is lost.
const ACKS: [(&str, Ack); 2] = [("owners", Ack::Owners), ("local", Ack::Local)];

/// All sessions that lost an acknowledged commit, with the default acknowledgement.
pub(super) fn lost(figures: &Figures) -> Option<f64> {
    Some(figures.get("failover/lost/owners/lost")?.sum())
}

/// What was acknowledged: the last number of each session, and how many commits.
#[derive(Debug, Default)]
struct Acknowledged {
    numbers: BTreeMap<String, u64>,
    commits: u64,
}

/// What a survivor says to that.
#[derive(Debug, Default, PartialEq)]
struct CopyState {
    /// Acknowledged sessions that are missing or cannot be told, and those that are older than acknowledged.
    missing: usize,
    older: usize,
}

/// Kills a node that commits, in each round.
pub(super) async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    for round in 0..args.rounds_or(20, 3) {
        for (name, ack) in ACKS {
            if ack == Ack::Owners || round < args.rounds_or(5, 1) {
                once(&format!("failover/lost/{name}"), ack, round as usize, figures).await?;
            }
        }
    }
    println!("failover: acknowledged commits are looked for");
    Ok(())
}

async fn once(name: &str, ack: Ack, round: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let mut cluster = cluster(NODES).await?;
    let mut victim = cluster.nodes.remove(0);
    victim.send(&Command::Stream(Work { writers: WRITERS, bytes: BYTES, ack })).await?;
    let acknowledged = kill_in_midstream(&mut victim).await?;
    let survivor = round % cluster.nodes.len();
    let (verdict, untold) = ask(&mut cluster.nodes[survivor], &acknowledged).await?;
    figures.add(format!("{name}/commits"), "commits", acknowledged.commits as f64);
    figures.add(format!("{name}/sessions"), "sessions", acknowledged.numbers.len() as f64);
    figures.add(format!("{name}/missing"), "sessions", verdict.missing as f64);
    figures.add(format!("{name}/older"), "sessions", verdict.older as f64);
    figures.add(format!("{name}/lost"), "sessions", (verdict.missing + verdict.older) as f64);
    figures.add(format!("{name}/untold"), "reads", untold as f64);
    Ok(())
}

/// Collects what is acknowledged, kills the node some time after the first, and takes what it had said before its end.
async fn kill_in_midstream(victim: &mut NodeProcess) -> anyhow::Result<Acknowledged> {
    let mut acknowledged = Acknowledged::default();
    acknowledged.add(victim.receive().await?)?;
    let kill = sleep_until(Instant::now() + Duration::from_millis(rand::rng().random_range(KILLED_AFTER_MS)));
    tokio::pin!(kill);
    let mut killed = false;
    loop {
        tokio::select! {
            () = &mut kill, if !killed => {
                victim.signal(Signal::KILL)?;
                killed = true;
            }
            answer = victim.next() => match answer? {
                Some(answer) => acknowledged.add(answer)?,
                None => break,
            }
        }
    }
    ensure!(killed, "{} ended by itself", victim.name());
    victim.ended().await?;
    Ok(acknowledged)
}

/// Reads all that was acknowledged on a survivor, again where it cannot tell. With the count of reads that could not.
async fn ask(survivor: &mut NodeProcess, acknowledged: &Acknowledged) -> anyhow::Result<(CopyState, usize)> {
    let mut open: Vec<String> = acknowledged.numbers.keys().cloned().collect();
    let (mut told, mut untold) = (BTreeMap::new(), 0);
    let until = Instant::now() + PATIENCE;
    while !open.is_empty() && Instant::now() < until {
        let Answer::Numbers(found) = survivor.ask(&Command::Numbers { ids: open.clone() }).await? else {
            bail!("no answer to that");
        };
        ensure!(found.len() == open.len(), "{} of {} sessions were answered", found.len(), open.len());
        let (unclear, clear): (Vec<_>, Vec<_>) =
            open.into_iter().zip(found).partition(|(_, found)| *found == Found::CannotTell);
        told.extend(clear);
        untold += unclear.len();
        open = unclear.into_iter().map(|(id, _)| id).collect();
        if !open.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    }
    Ok((acknowledged.verdict(&told), untold))
}

impl Acknowledged {
    fn add(&mut self, answer: Answer) -> anyhow::Result<()> {
        match answer {
            Answer::Acknowledged { id, number } => {
                let last = self.numbers.entry(id).or_default();
                *last = number.max(*last);
                self.commits += 1;
                Ok(())
            }
            other => bail!("it answers {other:?} in the midst of its commits"),
        }
    }

    fn verdict(&self, told: &BTreeMap<String, Found>) -> CopyState {
        let mut verdict = CopyState::default();
        for (id, acknowledged) in &self.numbers {
            match told.get(id) {
                Some(Found::Number(number)) => verdict.older += usize::from(number < acknowledged),
                Some(Found::Nothing | Found::CannotTell) | None => verdict.missing += 1,
            }
        }
        verdict
    }
}

pub(super) fn table(figures: &Figures) -> Table {
    let title = format!(
        "{WRITERS} writers on one of {NODES} nodes, creations and updates mixed; it is killed in their midst, and each \
         session of which a commit was acknowledged is read on a survivor. Numbers in a session only grow, so what holds \
         the last one that was acknowledged has lost none. `local` waits for no copy, and shows that the \
         check finds losses. Sums of all rounds:"
    );
    let columns = ["commits", "sessions", "missing", "older", "untold"];
    let head = ["waits for", "rounds", "commits acknowledged", "sessions", "missing", "older", "asked again"];
    let row = |(name, _): (&str, Ack)| {
        let figure = |column: &str| figures.get(&format!("failover/lost/{name}/{column}"));
        let mut row = vec![name.to_owned(), figure("commits")?.rounds.len().to_string()];
        for column in columns {
            row.push(format!("{:.0}", figure(column)?.sum()));
        }
        Some(row)
    };
    Table { rows: ACKS.into_iter().filter_map(row).collect(), ..Table::new(title, &head) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_older_is_lost() -> anyhow::Result<()> {
        let mut acknowledged = Acknowledged::default();
        for (id, number) in
            [("same", 2), ("same", 1), ("newer", 1), ("older", 3), ("gone", 1), ("untold", 1), ("unread", 1)]
        {
            acknowledged.add(Answer::Acknowledged { id: id.to_owned(), number })?;
        }
        assert!(acknowledged.add(Answer::Done).is_err());
        assert_eq!((acknowledged.commits, acknowledged.numbers.len()), (7, 6));
        let told = [
            ("same", Found::Number(2)),
            ("newer", Found::Number(9)),
            ("older", Found::Number(2)),
            ("gone", Found::Nothing),
            ("untold", Found::CannotTell),
        ];
        let told = told.map(|(id, found)| (id.to_owned(), found)).into();
        assert_eq!(acknowledged.verdict(&told), CopyState { missing: 3, older: 1 });
        Ok(())
    }
}
