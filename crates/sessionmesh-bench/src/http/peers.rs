//! The processes that are measured.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sessionmesh::Secret;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, make_sessions};
use super::request::request;
use super::site::Variant;
use crate::processor;

/// How long a process may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// How long the nodes of a cluster may take to find each other.
const MEETS_WITHIN: Duration = Duration::from_secs(60);
/// Processes that use less than [`REST_CPU`] in this time are at rest.
const REST_WINDOW: Duration = Duration::from_millis(50);
/// Two ticks of the clock that counts it.
const REST_CPU: Duration = Duration::from_millis(20);
/// How long they may take to come to rest.
const RESTS_WITHIN: Duration = Duration::from_secs(5);

/// A Redis of our own, without persistence. It ends with this value.
pub(crate) struct Redis {
    process: Child,
    _dir: TempDir,
    port: u16,
}

impl Redis {
    /// What the report says where there is none.
    pub(crate) const MISSING: &str =
        "Redis is left out: redis-server is not installed (Debian: apt-get install redis-server).";

    /// Starts one on a free port; none if it is not installed.
    pub(crate) async fn start() -> anyhow::Result<Option<Self>> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let dir = tempfile::tempdir()?;
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let process = match process {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("cannot start redis-server"),
        };
        let until = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if Instant::now() >= until {
                bail!("redis-server does not answer");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Some(Self { process, _dir: dir, port }))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Its process; none once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Its processor time.
    fn cpu(&self) -> anyhow::Result<Duration> {
        processor::time_of(self.process.id().context("redis-server has ended")?)
    }
}

/// What is measured: its nodes, of which the first gets the load. They end with this value.
#[derive(Default)]
pub(crate) struct Sites {
    processes: Vec<Child>,
    addrs: Vec<SocketAddr>,
    /// They are removed after the processes.
    folders: Vec<TempDir>,
}

impl Sites {
    /// Starts so many servers of the variant, a cluster if it can be one.
    pub(crate) async fn start(variant: Variant, nodes: usize, redis: Option<&Redis>) -> anyhow::Result<Self> {
        Self::start_with(variant, nodes, redis, Extras::default()).await
    }

    /// The same with what not every cluster has.
    pub(crate) async fn start_with(
        variant: Variant,
        nodes: usize,
        redis: Option<&Redis>,
        extras: Extras<'_>,
    ) -> anyhow::Result<Self> {
        let mut sites = Self::default();
        let mut seed = None;
        for number in 0..nodes {
            let (process, ready) = start_one(variant, &format!("n{number}"), seed, redis, extras).await?;
            sites.add(process, ready.http, None);
            seed = seed.or(ready.replication);
        }
        Ok(sites)
    }

    /// The process that gets the load; none once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.processes.first()?.id()
    }

    /// All its processes that run, the one that gets the load first.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().filter_map(Child::id).collect()
    }

    /// Adds a node that answers.
    pub(crate) fn add(&mut self, process: Child, addr: SocketAddr, folder: Option<TempDir>) {
        self.processes.push(process);
        self.addrs.push(addr);
        self.folders.extend(folder);
    }

    /// Where requests go.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// Another node of the same cluster.
    pub(crate) fn other(&self) -> Option<SocketAddr> {
        self.addrs.get(1).copied()
    }

    /// Processor time of all nodes, and of what they share.
    pub(crate) fn cpu(&self, shared: Option<&Redis>) -> anyhow::Result<Duration> {
        let mut all = shared.map_or(Ok(Duration::ZERO), Redis::cpu)?;
        for process in &self.processes {
            all += processor::time_of(process.id().context("a node has ended")?)?;
        }
        Ok(all)
    }

    /// Waits until every node serves a session that the first one has just made.
    pub(crate) async fn meet(&self) -> anyhow::Result<()> {
        let until = Instant::now() + MEETS_WITHIN;
        while !self.has_met().await? {
            ensure!(Instant::now() < until, "{} nodes do not meet within {MEETS_WITHIN:?}", self.addrs.len());
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn has_met(&self) -> anyhow::Result<bool> {
        let members = request("/members", None);
        let session = make_sessions(self.addr(), 64, 1).await?;
        let read = request("/read", session.first().map(String::as_str));
        for addr in &self.addrs {
            let mut connection = Connection::open(*addr).await?;
            // Whoever has this page counts its members by itself.
            let counts = connection.ask(&members).await?.status == 200;
            if counts && connection.number() != u64::try_from(self.addrs.len()).ok() {
                return Ok(false);
            }
            if connection.ask(&read).await?.status != 200 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until the nodes have nothing left to do, so that whoever is measured next has the machine.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        let until = Instant::now() + RESTS_WITHIN;
        loop {
            let before = self.cpu(None)?;
            sleep(REST_WINDOW).await;
            if self.cpu(None)? - before < REST_CPU || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Ends all nodes, and waits until they have ended.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.kill().await?;
        }
        Ok(())
    }
}

/// What not every cluster has.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extras<'a> {
    pub(crate) secret: Option<&'a Secret>,
    /// Metrics and the admin API.
    pub(crate) observed: bool,
    /// Another build of this program; none: this one.
    pub(crate) program: Option<&'a Path>,
}

struct Ready {
    http: SocketAddr,
    replication: Option<SocketAddr>,
}

async fn start_one(
    variant: Variant,
    name: &str,
    seed: Option<SocketAddr>,
    redis: Option<&Redis>,
    extras: Extras<'_>,
) -> anyhow::Result<(Child, Ready)> {
    let program = extras.program.map_or_else(std::env::current_exe, |program| Ok(program.to_owned()))?;
    let mut command = Command::new(program);
    command.args(["site", variant.name(), "--name", name, "--attended"]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(redis) = redis {
        command.args(["--redis", &format!("redis://127.0.0.1:{}", redis.port)]);
    }
    if let Some(secret) = extras.secret {
        command.args(["--secret", &secret.to_text()]);
    }
    if extras.observed {
        command.arg("--observed");
    }
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = process.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(output).lines();
    let line = timeout(STARTS_WITHIN, lines.next_line()).await.context("it takes too long to start")??;
    let line = line.with_context(|| format!("{} ended before it was ready", variant.name()))?;
    let mut words = line.split(' ').skip(1);
    let http = words.next().context("no address")?.parse()?;
    let replication = words.next().map(str::parse).transpose()?;
    Ok((process, Ready { http, replication }))
}
