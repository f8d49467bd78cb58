//! The same visitors and the same five faults for this and for other systems, and what each lost.

mod five;
mod page;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::five::Five;
use self::page::Row;
use crate::checker::{Checker, Losses, Op, World};
use crate::clock::Ms;
use crate::network::Network;
use crate::system::{Kind, System};
use crate::tomcat::Manager;
use crate::visitor::{Habits, Site, Try, Visitor};

/// Each system runs on so many hosts.
const NODES: usize = 3;
/// Before the fault.
const WARM: Duration = Duration::from_secs(2);
/// How long a system may take until all its nodes serve again, once the fault is over.
const RETURNS_WITHIN: Duration = Duration::from_secs(90);
/// The visitors go on for so long after that.
const AFTER: Duration = Duration::from_secs(4);
/// Then nobody visits for so long before what is left is looked at.
const SETTLES: Duration = Duration::from_secs(8);
/// Requests at the same time, at that look.
const PARALLEL: usize = 12;
/// A time without success that is shorter is none: visitors pause between requests.
const GAP_MS: Ms = 250;

/// What is compared.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// Which systems, in which order
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Choice::value_variants().to_vec())]
    systems: Vec<Choice>,
    /// Which faults, in which order
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Five::value_variants().to_vec())]
    faults: Vec<Five>,
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..))]
    visitors: u16,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the report goes, as Markdown; its rows are printed, too
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where the logs of the nodes go, and stay
    #[arg(long)]
    logs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    PrimaryBackup,
    AllToAll,
    Redis,
    DeltaManager,
    DeltaManagerAcknowledged,
    BackupManager,
    BackupManagerAcknowledged,
}

impl Choice {
    const fn kind(self) -> Kind {
        match self {
            Self::PrimaryBackup => Kind::Mesh { backups: Some(1), refuse_fewer_copies: false },
            Self::AllToAll => Kind::Mesh { backups: None, refuse_fewer_copies: false },
            Self::Redis => Kind::Redis,
            Self::DeltaManager => Kind::Tomcat(Manager::Delta(8)),
            Self::DeltaManagerAcknowledged => Kind::Tomcat(Manager::Delta(6)),
            Self::BackupManager => Kind::Tomcat(Manager::Backup(8)),
            Self::BackupManagerAcknowledged => Kind::Tomcat(Manager::Backup(6)),
        }
    }
}

/// Plays all, and writes the report.
pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let network = Network::build(NODES)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = compare(args, network) => done,
            _ = interrupt.recv() => Ok(ExitCode::from(130)),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
        }
    })
}

async fn compare(args: &CompareArgs, mut network: Network) -> anyhow::Result<ExitCode> {
    let (mut rows, mut versions, mut loads) = (Vec::new(), Vec::new(), vec![load()]);
    for choice in &args.systems {
        for fault in &args.faults {
            let kind = choice.kind();
            let logs = args.logs.as_ref().map(|logs| logs.join(format!("{choice:?}-{fault:?}")));
            let mut system = System::new(kind.clone(), network, logs.as_deref())?;
            let row = play(args, &mut system, *fault).await.with_context(|| format!("{kind}, {fault}"))?;
            println!("{}", row.line());
            rows.push(row);
            loads.push(load());
            versions.extend(system.version()?);
            versions.sort();
            versions.dedup();
            // After each one: a run takes long, and may be interrupted.
            if let Some(out) = &args.out {
                let page = page::render(args, &rows, &versions, &loads);
                std::fs::write(out, page).with_context(|| format!("cannot write {}", out.display()))?;
            }
            network = system.shut_down().await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How many processes wanted to run in the last minute, also those of others.
fn load() -> f64 {
    let told = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.split(' ').next().and_then(|minute| minute.parse().ok()).unwrap_or_default()
}

/// One system and one fault, from the start of the cluster to the last look.
async fn play(args: &CompareArgs, system: &mut System, fault: Five) -> anyhow::Result<Row> {
    system.start_all().await?;
    let visitors = usize::from(args.visitors);
    let addrs = (0..NODES).map(|node| system.http(node)).collect();
    let site = Site::new(addrs, Checker::new(World::new(NODES, NODES - 1)), visitors);
    let mut visits = JoinSet::new();
    for number in 0..visitors {
        visits.spawn(Visitor::new(site.clone(), number, Habits { roams: 0, returns: 10 }, args.seed).run());
    }
    sleep(WARM).await;
    let begun = site.clock.now();
    fault.play(system).await?;
    let until = Instant::now() + RETURNS_WITHIN;
    while !system.all_ready().await && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
    }
    // A node that is there may still serve nobody.
    let back = site.clock.now();
    while !site.has_served_since(back) && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(AFTER).await;
    let ended = site.clock.now();
    site.close();
    visits.join_all().await;
    sleep(SETTLES).await;
    let sessions = site.checker().sessions.len();
    let looks = futures::stream::iter(0..sessions).map(|session| look(&site, session));
    let answers: Vec<(usize, Vec<Op>)> = looks.buffer_unordered(PARALLEL).collect().await;
    let mut losses = Losses::default();
    for (session, answers) in answers {
        site.checker().count_losses(session, &answers, &mut losses);
    }
    let (site_ms, worst_ms) = unavailable(&site.tries(), begun, ended);
    Ok(Row { system: system.kind.to_string(), fault: fault.to_string(), losses, site_ms, worst_ms })
}

/// What every node says of a session in the end.
async fn look(site: &Site, session: usize) -> (usize, Vec<Op>) {
    let mut answers = Vec::new();
    if site.checker().sessions[session].cookie.is_some() {
        for node in 0..NODES {
            answers.push(site.look(session, node).await);
        }
    }
    (session, answers)
}

/// For how long no visitor had success, and for how long the one that had the least.
fn unavailable(tries: &[Vec<Try>], begun: Ms, ended: Ms) -> (Ms, Ms) {
    let successes = |tries: &[Try]| tries.iter().filter(|(_, _, done)| *done).map(|(_, at, _)| *at).collect::<Vec<_>>();
    let gaps = |mut times: Vec<Ms>| {
        times.retain(|at| (begun..=ended).contains(at));
        times.extend([begun, ended]);
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > GAP_MS).sum::<Ms>()
    };
    let all = gaps(tries.iter().flat_map(|tries| successes(tries)).collect());
    let worst = tries.iter().map(|tries| gaps(successes(tries))).max().unwrap_or_default();
    (all, worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_without_success_are_added_up() {
        let steady = |from: Ms, to: Ms| (from..to).step_by(50).map(|at| (at - 10, at, true)).collect::<Vec<Try>>();
        let one = steady(1_000, 9_000);
        let mut other = steady(1_000, 3_000);
        other.push((3_000, 4_500, false));
        other.extend(steady(5_000, 9_000));
        // 2,950 to 5,000 for the second one; the first one was served all the time.
        assert_eq!(unavailable(&[one, other.clone()], 1_000, 9_000), (0, 2_050));
        assert_eq!(unavailable(&[other], 1_000, 9_000), (2_050, 2_050));
        assert_eq!(unavailable(&[Vec::new()], 1_000, 9_000), (8_000, 8_000));
    }
}
