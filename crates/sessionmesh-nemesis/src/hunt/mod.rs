//! Rounds of faults, each followed by healing, and by a look at what must be so then.

mod episode;
mod settle;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::episode::Episode;
use crate::checker::{Checker, SUCCEEDS, Violation, World};
use crate::clock::Ms;
use crate::fault::{self, Planned};
use crate::network::Network;
use crate::system::{Kind, System};
use crate::visitor::{Habits, Site, Visitor};

/// In so many of 100 rounds more nodes may crash than there are copies: then only what holds always is judged.
const BEYOND_PERCENT: u32 = 12;
/// For so long nothing happens after all has settled; the last part of it is judged as calm.
const CALM: Duration = Duration::from_millis(4_500);
/// Between two looks at whether this machine runs us.
const WATCH: Duration = Duration::from_millis(10);
/// A look that comes so much too late was no good luck for the nodes either: they tell a freeze from 300 ms on.
const STALL: Duration = Duration::from_millis(100);

/// Settings of a hunt.
#[derive(Clone, Debug, Args)]
pub(crate) struct HuntArgs {
    /// For how long new rounds begin
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Decides the faults, but not how fast this machine is; drawn if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Nodes, 3 to 5
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=5))]
    nodes: u8,
    #[arg(long, value_enum, default_value_t = Copies::PrimaryBackup)]
    mode: Copies,
    /// Copies of a session beside the primary's
    #[arg(long, default_value_t = 1)]
    backups: u8,
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..))]
    visitors: u16,
    /// Go on after a promise was broken
    #[arg(long)]
    keep_going: bool,
    /// Where the logs of the nodes go, and stay
    #[arg(long)]
    logs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Copies {
    PrimaryBackup,
    AllToAll,
}

/// Plays rounds until the time is over, or until a promise is broken.
pub(crate) fn run(args: &HuntArgs) -> anyhow::Result<ExitCode> {
    let network = Network::build(usize::from(args.nodes))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = hunt(args, network) => done,
            _ = interrupt.recv() => Ok(ExitCode::from(130)),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
        }
    })
}

/// A run.
struct Hunt {
    system: System,
    site: Arc<Site>,
    random: StdRng,
    /// Crashes that changes survive.
    copies: usize,
    keeps_going: bool,
    rounds: u64,
    failed: u64,
    faults: usize,
    slowest_settle: Ms,
    /// Rounds after which it took longer than is promised until all had settled.
    late: u64,
}

async fn hunt(args: &HuntArgs, network: Network) -> anyhow::Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(another_seed);
    let nodes = usize::from(args.nodes);
    let backups = (args.mode == Copies::PrimaryBackup).then_some(args.backups);
    let copies = backups.map_or(nodes - 1, |backups| usize::from(backups).min(nodes - 1));
    let kind = Kind::Mesh { backups, refuse_fewer_copies: true };
    println!("seed {seed}: {nodes} nodes, {kind}, {} visitors", args.visitors);
    let mut system = System::new(kind, network, args.logs.as_deref())?;
    system.start_all().await?;
    let addrs = (0..nodes).map(|node| system.http(node)).collect();
    let site = Site::new(addrs, Checker::new(World::new(nodes, copies)), usize::from(args.visitors));
    let mut visits = JoinSet::new();
    for number in 0..usize::from(args.visitors) {
        visits.spawn(Visitor::new(site.clone(), number, Habits { roams: 20, returns: 15 }, seed).run());
    }
    visits.spawn(watch(site.clone()));
    let mut hunt = Hunt {
        system,
        site: site.clone(),
        random: StdRng::seed_from_u64(seed),
        copies,
        keeps_going: args.keep_going,
        rounds: 0,
        failed: 0,
        faults: 0,
        slowest_settle: 0,
        late: 0,
    };
    let until = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let played = hunt.rounds(until).await;
    site.close();
    visits.join_all().await;
    played?;
    Ok(hunt.conclude(seed))
}

/// One that nobody has tried.
fn another_seed() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// Notes when this machine is too busy to run its processes in time.
async fn watch(site: Arc<Site>) {
    while site.is_open() {
        let before = Instant::now();
        sleep(WATCH).await;
        if before.elapsed() > WATCH + STALL {
            site.checker().world.stalled(site.clock.now());
        }
    }
}

impl Hunt {
    async fn rounds(&mut self, until: Instant) -> anyhow::Result<()> {
        // The first look, before any fault.
        self.settle().await?;
        while Instant::now() < until {
            let crashes_max = match self.random.random_range(0..100) {
                roll if roll < BEYOND_PERCENT => self.system.nodes(),
                _ => self.copies.min(self.system.nodes() - 1),
            };
            let planned = fault::draw(&mut self.random, self.system.nodes(), crashes_max);
            self.rounds += 1;
            self.faults += planned.len();
            let broken = self.round(&planned).await.with_context(|| described(self.rounds, &planned))?;
            if broken.is_empty() {
                continue;
            }
            self.failed += 1;
            report(self.rounds, &planned, &broken);
            if !self.keeps_going {
                break;
            }
        }
        Ok(())
    }

    /// One round, and the promises that it broke.
    async fn round(&mut self, planned: &[Planned]) -> anyhow::Result<Vec<Violation>> {
        let known = self.site.checker().violations.len();
        self.calm(known).await;
        Episode::new(self, planned).play().await?;
        let settled = self.settle().await?;
        self.slowest_settle = self.slowest_settle.max(settled);
        if settled > settle::SETTLES_WITHIN_MS {
            self.late += 1;
            println!("LATE: it took {settled} ms until all had settled");
        }
        println!("round {}: {}; settled after {settled} ms", self.rounds, listed(planned));
        Ok(self.site.checker().violations.split_off(known))
    }

    /// Nothing happens, and every request succeeds.
    async fn calm(&self, known: usize) {
        let before = self.suspicions().await;
        sleep(CALM).await;
        let after = self.suspicions().await;
        let mut checker = self.site.checker();
        checker.world.not_calm();
        // A machine that is too busy may make nodes suspect each other: that is no calm.
        if before != after {
            let mut at = 0;
            checker.violations.retain(|violation| {
                at += 1;
                at <= known || violation.promise != SUCCEEDS
            });
        }
    }

    async fn suspicions(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for node in 0..self.system.nodes() {
            all.push(self.system.status(node).await.suspicions);
        }
        all
    }

    fn conclude(&self, seed: u64) -> ExitCode {
        let checker = self.site.checker();
        println!("how often each promise was judged:");
        for (promise, count) in &checker.judged {
            println!("  {count:>9}  {promise}");
        }
        if self.failed > 0 {
            println!("logs of the nodes: {} (kept with --logs DIR)", self.system.folder().display());
        }
        println!(
            "rounds {} failed {} faults {} requests {} sessions {} slowest-settle-ms {} late {} stalls {} seed {seed}",
            self.rounds,
            self.failed,
            self.faults,
            checker.requests,
            checker.sessions.len(),
            self.slowest_settle,
            self.late,
            checker.world.stalls()
        );
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn listed(planned: &[Planned]) -> String {
    planned.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn described(round: u64, planned: &[Planned]) -> String {
    format!("round {round} ({})", listed(planned))
}

fn report(round: u64, planned: &[Planned], broken: &[Violation]) {
    /// The same cause mostly shows in many sessions.
    const SHOWN: usize = 3;
    println!("BROKEN PROMISE in {}", described(round, planned));
    for violation in broken.iter().take(SHOWN) {
        println!("  {}\n    {}", violation.promise, violation.detail);
        for line in &violation.history {
            println!("      {line}");
        }
    }
    if broken.len() > SHOWN {
        println!("  and {} more", broken.len() - SHOWN);
    }
}
