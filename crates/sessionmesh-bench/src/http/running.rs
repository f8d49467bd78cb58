//! A system that runs, its sessions, and what one window of load gives.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sessionmesh::Secret;

use super::connection::make_sessions;
use super::load::{Done, Load};
use super::peers::{Extras, Redis, Sites};
use super::site::Variant;
use super::system::{Server, System};
use super::tomcat::Tomcat;
use super::workload::{BYTES, Operation, SESSIONS, Workload};
use crate::report::Figures;

/// Sessions that a system holds at least while it is measured: some get slower the more there are.
pub(crate) const HELD: u64 = 10_000;
/// Sessions that warm up the other node.
const OTHER_SESSIONS: usize = 100;

/// What the systems share, if it is installed.
#[derive(Default)]
pub(crate) struct Peers {
    pub(crate) redis: Option<Redis>,
    pub(crate) tomcat: Option<Tomcat>,
}

impl Peers {
    /// Whether all that a system needs is there.
    pub(crate) const fn offer(&self, system: &System) -> bool {
        match system.server {
            Server::Axum(Variant::Redis) => self.redis.is_some(),
            Server::Axum(_) => true,
            Server::Tomcat(_) => self.tomcat.is_some(),
        }
    }
}

/// One system under load.
pub(crate) struct Running {
    pub(crate) system: System,
    pub(crate) sites: Sites,
    /// Of the sessions that are read and written.
    cookies: Vec<String>,
    /// Sessions that were made until now.
    held: u64,
}

impl Running {
    /// Starts it, lets its nodes meet, and makes the sessions.
    pub(crate) async fn start(system: System, peers: &Peers) -> anyhow::Result<Self> {
        Self::start_from(None, system, peers).await
    }

    /// The same from another build of this program, if one is named.
    pub(crate) async fn start_from(program: Option<&Path>, system: System, peers: &Peers) -> anyhow::Result<Self> {
        let sites = match system.server {
            Server::Axum(variant) => {
                let secret = system.sealed.then(Secret::generate);
                let extras = Extras { secret: secret.as_ref(), observed: system.observed, program };
                Sites::start_with(variant, system.nodes, peers.redis.as_ref(), extras).await?
            }
            Server::Tomcat(manager) => {
                peers.tomcat.as_ref().context("there is no Tomcat")?.start(manager, system.nodes).await?
            }
        };
        if system.nodes > 1 {
            sites.meet().await?;
        }
        let cookies = if system.has_sessions() {
            make_sessions(sites.addr(), BYTES, SESSIONS).await.context("it makes no sessions")?
        } else {
            Vec::new()
        };
        Ok(Self { system, sites, held: cookies.len() as u64, cookies })
    }

    /// Everything twice, for so long each: what a virtual machine compiles after the first time gets used in the second,
    /// and compiled once more. At the other node only reads. Then it holds [`HELD`] sessions.
    pub(crate) async fn warm_up(&mut self, window: Duration) -> anyhow::Result<()> {
        for _ in 0..2 {
            for workload in Workload::ALL {
                self.load(&workload, window).await?;
            }
            self.sites.rest().await?;
        }
        if let Some(addr) = self.sites.other() {
            let cookies = make_sessions(addr, BYTES, OTHER_SESSIONS).await?;
            let load = Load { addr, connections: Workload::READ.connections, window };
            load.run(&Workload::READ.requests(&cookies)).await?;
        }
        while self.held < HELD {
            self.load(&Workload::NEW, window).await?;
        }
        self.sites.rest().await
    }

    /// One window of load. Fails if requests do, unless it is Tomcat that fails some of them.
    pub(crate) async fn load(&mut self, workload: &Workload, window: Duration) -> anyhow::Result<Done> {
        let load = Load { addr: self.sites.addr(), connections: workload.connections, window };
        let done = load.run(&workload.requests(&self.cookies)).await?;
        if workload.operation == Operation::New {
            self.held += done.total - done.failed;
        }
        if done.total == done.failed {
            bail!("all {} {} requests failed: {}", done.total, workload.what(), done.failure.unwrap_or_default());
        }
        // What Tomcat does is told in the table; all others are expected to work.
        if done.failed > 0 && !self.system.is_tomcat() {
            let failure = done.failure.unwrap_or_default();
            bail!("{} of {} {} requests failed: {failure}", done.failed, done.total, workload.what());
        }
        Ok(done)
    }

    /// Measures one window, and waits until all that follows from it is done, too: that is part of its processor time.
    pub(crate) async fn measure(
        &mut self,
        workload: &Workload,
        window: Duration,
        peers: &Peers,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let shared = peers.redis.as_ref().filter(|_| self.system == System::REDIS);
        let (held, before) = (self.held, self.sites.cpu(shared)?);
        let done = self.load(workload, window).await?;
        self.sites.rest().await?;
        let cpu = self.sites.cpu(shared)? - before;
        let mut latencies = done.latencies_us.clone();
        latencies.sort_unstable();
        let percentile = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
        let name = |what: &str| workload.figure(&self.system, what);
        figures.add(name("rate"), "requests/s", done.rate());
        figures.add(name("p50"), "us", percentile(50).into());
        figures.add(name("p99"), "us", percentile(99).into());
        figures.add(name("cpu"), "us", cpu.as_secs_f64() * 1e6 / (done.total - done.failed) as f64);
        figures.add(name("failed"), "requests", done.failed as f64);
        if workload.operation == Operation::New && self.system.has_sessions() {
            figures.add(name("held"), "sessions", held as f64);
        }
        Ok(())
    }
}
