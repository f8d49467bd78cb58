//! Whole requests over HTTP, all systems in turns.

mod chapter;
pub(crate) mod connection;
mod goals;
mod lag;
pub(crate) mod load;
pub(crate) mod peers;
mod request;
pub(crate) mod running;
pub(crate) mod site;
pub(crate) mod system;
mod tomcat;
pub(crate) mod workload;

use std::time::Duration;

use anyhow::{Context as _, bail};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::signal::unix::{SignalKind, signal};

use self::peers::Redis;
use self::running::{Peers, Running};
use self::system::System;
use self::tomcat::Tomcat;
use self::workload::Workload;
use crate::report::{Chapter, Figures};
use crate::run_args::RunArgs;

/// Rounds of the replication lag, of which each has many samples.
const LAG_ROUNDS: u32 = 3;

/// Measures all systems that can be had here.
pub(crate) fn run(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    // The load comes from one thread: the servers get what it leaves.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // Who ends the run must not leave its servers behind: they end when they are dropped.
        tokio::select! {
            chapter = measure(args, figures) => chapter,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

/// What is measured now, and what is not, with the reason.
#[derive(Default)]
struct Field {
    running: Vec<Running>,
    left_out: Vec<String>,
}

async fn measure(args: &RunArgs, figures: &mut Figures) -> anyhow::Result<Chapter> {
    let mut field = Field::default();
    let peers = find_peers(&mut field.left_out).await?;
    for system in System::ALL.into_iter().filter(|system| peers.offer(system)) {
        if args.quick && system.is_tomcat() && system != System::BACKUP_ACK {
            continue;
        }
        field.start(system, &peers, args).await?;
    }
    // A dozen systems share the time; without Tomcat it is half of them.
    let window = Duration::from_millis(args.pick(if peers.tomcat.is_some() { 400 } else { 1_000 }, 180));
    let rounds = args.rounds(5);
    let mut rng = StdRng::seed_from_u64(1);
    for round in 1..=rounds {
        for workload in Workload::ALL {
            for system in field.order(&mut rng) {
                let Some(running) = field.find(&system) else { continue };
                let measured = running.measure(&workload, window, &peers, figures).await;
                field.settle(&system, measured).await?;
            }
        }
        println!("http: round {round} of {rounds}");
    }
    let rounds = rounds.min(LAG_ROUNDS);
    for round in 1..=rounds {
        for system in field.order(&mut rng) {
            if system.nodes == 1 {
                continue;
            }
            let Some(running) = field.find(&system) else { continue };
            let measured = lag::run(&system, &running.sites, args.pick(200, 100), figures).await;
            field.settle(&system, measured).await?;
        }
        println!("http: replication lag, round {round} of {rounds}");
    }
    for running in field.running {
        running.sites.stop().await?;
    }
    Ok(chapter::of(figures, field.left_out))
}

async fn find_peers(left_out: &mut Vec<String>) -> anyhow::Result<Peers> {
    let peers = Peers { redis: Redis::start().await?, tomcat: Tomcat::find().await? };
    if peers.redis.is_none() {
        left_out.push(Redis::MISSING.to_owned());
    }
    if peers.tomcat.is_none() {
        let how = "Debian: apt-get install tomcat10 default-jdk-headless; elsewhere set CATALINA_HOME";
        left_out.push(format!("Tomcat is left out: Tomcat 10, java or javac is not installed ({how})."));
    }
    Ok(peers)
}

impl Field {
    async fn start(&mut self, system: System, peers: &Peers, args: &RunArgs) -> anyhow::Result<()> {
        // A virtual machine compiles what it has seen often enough.
        let warm_up = if system.is_tomcat() { args.pick(1_000, 350) } else { 50 };
        let started = async {
            let mut running = Running::start(system, peers).await?;
            running.warm_up(Duration::from_millis(warm_up)).await?;
            anyhow::Ok(running)
        };
        match started.await {
            Ok(running) => {
                self.running.push(running);
                println!("http: {} runs", system.what);
                Ok(())
            }
            Err(error) => self.settle(&system, Err(error)).await,
        }
    }

    fn find(&mut self, system: &System) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.system == *system)
    }

    /// All systems, from a random one on: nobody is always the first after the same one.
    fn order(&self, rng: &mut StdRng) -> Vec<System> {
        let mut order: Vec<System> = self.running.iter().map(|running| running.system).collect();
        let start = rng.random_range(0..order.len());
        order.rotate_left(start);
        order
    }

    /// A Tomcat that fails is left out from then on; the run goes on without it.
    async fn settle(&mut self, system: &System, measured: anyhow::Result<()>) -> anyhow::Result<()> {
        let Err(error) = measured else { return Ok(()) };
        if !system.is_tomcat() {
            return Err(error).context(system.what);
        }
        println!("http: {} fails: {error:#}", system.what);
        self.left_out.push(format!("{} was left out when it failed: {error:#}.", system.what));
        if let Some(at) = self.running.iter().position(|running| running.system == *system) {
            self.running.remove(at).sites.stop().await?;
        }
        Ok(())
    }
}
