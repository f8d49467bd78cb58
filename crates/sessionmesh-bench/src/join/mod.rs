//! A newcomer: how long until it has all that it must hold, and what readers notice of it meanwhile.

mod chapter;
pub(crate) mod newcomer;
mod readers;

use anyhow::ensure;
use sessionmesh::{Mode, Secret};

use self::newcomer::Joined;
use self::readers::Readers;
use crate::node::{Command, NodeStats, Processes, Threads};
use crate::pinned::Pinned;
use crate::report::{Chapter, Figures};
use crate::run_args::RunArgs;

/// Bytes of the value of each session.
pub(crate) const BYTES: usize = 1 << 10;
/// Tasks that make sessions, and how many are asked for at once.
const TASKS: usize = 64;
const MADE_AT_ONCE: usize = 50_000;
/// How many sessions the nodes hold: usually, in a quick run, and once more in a usual one.
pub(crate) const SESSIONS: usize = 100_000;
const SESSIONS_QUICK: usize = 20_000;
const SESSIONS_MANY: usize = 1_000_000;
/// Rounds with many sessions.
const ROUNDS_MANY: u32 = 2;

/// Who holds the sessions before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Donors {
    /// Two nodes, primary and backup: the newcomer is the third.
    Two,
    /// One node, all-to-all: the newcomer must get everything.
    One,
}

impl Donors {
    const ALL: [Self; 2] = [Self::Two, Self::One];

    const fn name(self) -> &'static str {
        match self {
            Self::Two => "primary-backup",
            Self::One => "all-to-all",
        }
    }

    /// Starts them, and makes `count` sessions.
    async fn start(self, count: usize) -> anyhow::Result<Processes> {
        self.start_with(count, None).await
    }

    /// The same with a secret, if there is one.
    pub(crate) async fn start_with(self, count: usize, secret: Option<Secret>) -> anyhow::Result<Processes> {
        let (nodes, mode) = match self {
            Self::Two => (2, Mode::PrimaryBackup { backups: 1 }),
            Self::One => (1, Mode::AllToAll),
        };
        let mut donors = Processes::start_with(nodes, mode, Threads::PerCore, secret).await?;
        for node in &mut donors.nodes {
            let mut left = count / nodes;
            while left > 0 {
                let now = left.min(MADE_AT_ONCE);
                node.ask(&Command::Create { count: now, bytes: BYTES, tasks: TASKS, tell: false }).await?;
                left -= now;
            }
        }
        all_held(&donors.settled().await?, count)?;
        Ok(donors)
    }
}

/// That every node holds everything, as it must when there are no more nodes than copies.
fn all_held(nodes: &[NodeStats], count: usize) -> anyhow::Result<()> {
    for node in nodes {
        ensure!(node.owned == count && node.sessions == count, "a node holds {} of {count} sessions", node.owned);
    }
    Ok(())
}

/// Measures all kinds of joins in turns.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(args, figures))
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let count = args.pick(SESSIONS, SESSIONS_QUICK);
    let mut left_out = Vec::new();
    usual(args, figures, count, &mut left_out).await?;
    if !args.quick {
        many(args, figures).await?;
    }
    Ok(chapter::chapter(figures, left_out))
}

/// Joins with and without readers.
async fn usual(args: &RunArgs, figures: &mut Figures, count: usize, left_out: &mut Vec<String>) -> anyhow::Result<()> {
    let mut two = Donors::Two.start(count).await?;
    let mut one = Donors::One.start(count).await?;
    let mut alone = None;
    // Both cores are there, or neither is used.
    if Pinned::to(1)?.is_some() {
        let _pinned = Pinned::to(0)?;
        alone = Some(Donors::One.start(count).await?);
    } else {
        left_out.push("A core for each node is left out: this machine has only one.".to_owned());
    }
    let rounds = args.rounds(5);
    for round in 1..=rounds {
        for (kind, donors) in [(Donors::Two, &mut two), (Donors::One, &mut one)] {
            let joined = newcomer::joins(donors, count, None).await?;
            note(figures, kind, count, &joined);
            newcomer::leaves(donors, count).await?;
        }
        for readers in Readers::ALL {
            let donors = if readers.on_own_core() { alone.as_mut() } else { Some(&mut one) };
            let Some(donors) = donors else { continue };
            readers::measure(figures, readers, donors, count).await?;
            newcomer::leaves(donors, count).await?;
        }
        println!("join: round {round} of {rounds}");
    }
    Ok(())
}

/// Joins of a newcomer that gets very many.
async fn many(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let rounds = args.rounds(ROUNDS_MANY).min(ROUNDS_MANY);
    for kind in Donors::ALL {
        let mut donors = kind.start(SESSIONS_MANY).await?;
        for round in 1..=rounds {
            let joined = newcomer::joins(&mut donors, SESSIONS_MANY, None).await?;
            note(figures, kind, SESSIONS_MANY, &joined);
            newcomer::leaves(&mut donors, SESSIONS_MANY).await?;
            println!("join: {SESSIONS_MANY} sessions, {}, round {round} of {rounds}", kind.name());
        }
    }
    Ok(())
}

fn note(figures: &mut Figures, kind: Donors, count: usize, joined: &Joined) {
    let name = |what: &str| format!("join/{count}/{}/{what}", kind.name());
    figures.add(name("received"), "sessions", joined.received as f64);
    figures.add(name("donors-cpu"), "ms", joined.donors_cpu.as_secs_f64() * 1e3);
    figures.add(name("newcomer-cpu"), "ms", joined.newcomer_cpu.as_secs_f64() * 1e3);
    for (what, from, to) in [
        ("start-to-ready", joined.started_ns, joined.ready_ns),
        ("start-to-all", joined.started_ns, joined.all_ns),
        ("seen-to-ready", joined.seen_ns, joined.ready_ns),
    ] {
        figures.add(name(what), "ms", (to as f64 - from as f64) / 1e6);
    }
}
