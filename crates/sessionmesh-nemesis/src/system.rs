//! What is tested: a cluster of nodes, each on a host of its own, with what it needs beside them.

mod redis;

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hyper::Method;
use rustix::process::Signal;
use sessionmesh::Secret;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::ask::{Reply, ask, word};
use crate::host::Process;
use crate::network::Network;
use crate::tomcat::{Manager, Tomcat};

pub(crate) use self::redis::{SENTINEL_SETTINGS as REDIS_SENTINEL_SETTINGS, SETTINGS as REDIS_SETTINGS};

/// Where visitors come.
const HTTP_PORT: u16 = 8_080;
/// Where nodes of a mesh come.
const MESH_PORT: u16 = 7_400;
/// How long a cluster may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(90);
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// What keeps the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sessionmesh: copies on other nodes, or on all.
    Mesh {
        backups: Option<u8>,
        refuse_fewer_copies: bool,
    },
    Redis,
    Tomcat(Manager),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh { backups: Some(backups), .. } => write!(f, "Sessionmesh, primary-backup, {backups} backup"),
            Self::Mesh { backups: None, .. } => f.write_str("Sessionmesh, all-to-all"),
            Self::Redis => f.write_str("tower-sessions on Redis with Sentinel"),
            Self::Tomcat(manager) => manager.fmt(f),
        }
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) ready: bool,
    pub(crate) members: usize,
    pub(crate) outbox: usize,
    pub(crate) suspected: usize,
    pub(crate) suspicions: u64,
}

/// A cluster. Its processes end with this value.
pub(crate) struct System {
    pub(crate) kind: Kind,
    nodes: Vec<Option<Process>>,
    /// What else runs on each host.
    beside: Vec<Vec<Process>>,
    tomcat: Option<Tomcat>,
    folder: PathBuf,
    _kept: Option<TempDir>,
    /// After the processes.
    pub(crate) network: Network,
}

impl System {
    /// A cluster on the hosts of the network, of which nothing runs yet. `logs`: where files go that should stay.
    pub(crate) fn new(kind: Kind, network: Network, logs: Option<&Path>) -> anyhow::Result<Self> {
        let kept = if logs.is_none() { Some(tempfile::tempdir()?) } else { None };
        let folder = logs.unwrap_or_else(|| kept.as_ref().expect("one was made").path()).to_owned();
        std::fs::create_dir_all(&folder)?;
        // Nobody else may read it, or no node takes it.
        let mut secret =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(folder.join("secret"))?;
        secret.write_all(Secret::generate().to_text().as_bytes())?;
        let tomcat = match kind {
            Kind::Tomcat(_) => Some(Tomcat::find(&folder)?),
            _ => None,
        };
        let nodes = (0..network.hosts()).map(|_| None).collect();
        let beside = (0..network.hosts()).map(|_| Vec::new()).collect();
        Ok(Self { kind, nodes, beside, tomcat, folder, _kept: kept, network })
    }

    pub(crate) const fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Where visitors find a node.
    pub(crate) fn http(&self, node: usize) -> SocketAddr {
        SocketAddr::from((self.network.addr(node), HTTP_PORT))
    }

    /// Starts all nodes, and waits until they serve.
    pub(crate) async fn start_all(&mut self) -> anyhow::Result<()> {
        for node in 0..self.nodes() {
            self.start_beside(node)?;
        }
        let until = Instant::now() + STARTS_WITHIN;
        while self.kind == Kind::Redis && !redis::knows_itself(&self.network)? {
            self.patient(until)?;
            sleep(Duration::from_millis(200)).await;
        }
        for node in 0..self.nodes() {
            self.start(node)?;
            // One after the other: Tomcats that start together ask each other for the sessions, and wait a minute.
            while matches!(self.kind, Kind::Tomcat(_)) && !self.status(node).await.ready {
                self.patient(until)?;
                sleep(Duration::from_millis(50)).await;
            }
        }
        while !self.all_ready().await {
            self.patient(until)?;
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn patient(&mut self, until: Instant) -> anyhow::Result<()> {
        for node in 0..self.nodes() {
            if let Some(status) = self.ended(node)? {
                bail!("node {} ended with {status}: {}", Network::name(node), self.last_lines(node));
            }
        }
        ensure!(Instant::now() < until, "{} does not start within {STARTS_WITHIN:?}", self.kind);
        Ok(())
    }

    /// Whether every node serves, and sees all others.
    pub(crate) async fn all_ready(&self) -> bool {
        for node in 0..self.nodes() {
            let status = self.status(node).await;
            let sees_all = !matches!(self.kind, Kind::Mesh { .. }) || status.members == self.nodes();
            if !status.ready || !sees_all {
                return false;
            }
        }
        true
    }

    pub(crate) async fn status(&self, node: usize) -> Status {
        let Reply::Answer { status: 200, body, .. } =
            ask(self.http(node), Method::GET, "/status", None, STATUS_WITHIN).await
        else {
            return Status::default();
        };
        let number = |name| word(&body, name).and_then(|text| text.parse().ok()).unwrap_or_default();
        Status {
            ready: word(&body, "ready") == Some("true"),
            members: number("members"),
            outbox: number("outbox"),
            suspected: number("suspected"),
            suspicions: word(&body, "suspicions").and_then(|text| text.parse().ok()).unwrap_or_default(),
        }
    }

    /// Starts one node. It may not serve yet.
    pub(crate) fn start(&mut self, node: usize) -> anyhow::Result<()> {
        ensure!(self.nodes[node].is_none(), "node {} runs", Network::name(node));
        let space = self.network.space(node);
        let command = match &self.kind {
            Kind::Tomcat(manager) => {
                let tomcat = self.tomcat.as_ref().context("Tomcat was found")?;
                tomcat.prepare(*manager, &self.folder, Network::name(node), self.network.addr(node), HTTP_PORT)?
            }
            _ => self.serve(node)?,
        };
        let log = self.log(node);
        self.nodes[node] = Some(Process::start(&space, &command, &self.folder, &log)?);
        Ok(())
    }

    /// Starts what a node needs on its host.
    pub(crate) fn start_beside(&mut self, node: usize) -> anyhow::Result<()> {
        if self.kind == Kind::Redis {
            self.beside[node] = redis::start(&self.network, &self.folder, node)?;
        }
        Ok(())
    }

    fn serve(&self, node: usize) -> anyhow::Result<Vec<String>> {
        let at = |host: usize, port: u16| SocketAddr::from((self.network.addr(host), port)).to_string();
        let program = std::env::current_exe()?.to_string_lossy().into_owned();
        let mut words = vec![program, "serve".to_owned(), "--name".to_owned(), Network::name(node).to_owned()];
        let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        option("http", at(node, HTTP_PORT));
        option("bind", at(node, MESH_PORT));
        match &self.kind {
            Kind::Redis => option("redis", redis::url(&self.network)),
            Kind::Mesh { backups, refuse_fewer_copies } => {
                let seeds: Vec<String> = (0..self.nodes()).map(|host| at(host, MESH_PORT)).collect();
                option("seeds", seeds.join(","));
                option("secret-file", self.folder.join("secret").to_string_lossy().into_owned());
                if let Some(backups) = backups {
                    option("backups", backups.to_string());
                }
                if *refuse_fewer_copies {
                    words.push("--refuse-fewer-copies".to_owned());
                }
            }
            Kind::Tomcat(_) => unreachable!("it is no program of ours"),
        }
        Ok(words)
    }

    fn log(&self, node: usize) -> PathBuf {
        self.folder.join(format!("{}.log", Network::name(node)))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last lines that a node has said.
    pub(crate) fn last_lines(&self, node: usize) -> String {
        let log = std::fs::read(self.log(node)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// How a node ended that was not told to; none while it runs.
    pub(crate) fn ended(&mut self, node: usize) -> anyhow::Result<Option<ExitStatus>> {
        let Some(process) = &mut self.nodes[node] else { return Ok(None) };
        let ended = process.ended()?;
        if ended.is_some() {
            self.nodes[node] = None;
        }
        Ok(ended)
    }

    pub(crate) fn runs(&self, node: usize) -> bool {
        self.nodes[node].is_some()
    }

    /// Signals the node alone.
    pub(crate) fn signal(&self, node: usize, signal: Signal) {
        if let Some(process) = &self.nodes[node] {
            process.signal(signal);
        }
    }

    /// Signals all that runs on a host.
    pub(crate) fn signal_host(&self, node: usize, signal: Signal) {
        self.signal(node, signal);
        for process in &self.beside[node] {
            process.signal(signal);
        }
    }

    /// Kills all that runs on a host.
    pub(crate) async fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.signal_host(node, Signal::KILL);
        if let Some(mut process) = self.nodes[node].take() {
            process.kill().await?;
        }
        for mut process in self.beside[node].drain(..) {
            process.kill().await?;
        }
        Ok(())
    }

    /// Ends all processes. What is left is the network, healed.
    pub(crate) async fn shut_down(mut self) -> anyhow::Result<Network> {
        for node in 0..self.nodes() {
            self.kill(node).await?;
        }
        self.network.heal()?;
        Ok(self.network)
    }

    /// What it is, with versions.
    pub(crate) fn version(&self) -> anyhow::Result<Vec<String>> {
        Ok(match &self.kind {
            Kind::Mesh { .. } => vec![format!("Sessionmesh {}, axum {}", locked("sessionmesh"), locked("axum"))],
            Kind::Redis => {
                let (store, fred) = (locked("tower-sessions-redis-store"), locked("fred"));
                vec![redis::version()?, format!("tower-sessions-redis-store {store}, fred {fred}")]
            }
            Kind::Tomcat(_) => vec![self.tomcat.as_ref().context("Tomcat was found")?.version()?],
        })
    }
}

/// The version of a package that this program was built with.
fn locked(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let entry = LOCK.split_once(&format!("name = \"{package}\"\nversion = \""));
    entry.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?")
}
