//! The processes that are measured.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::site::Variant;

/// How long a process may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// A Redis of our own, without persistence. It ends with this value.
pub(crate) struct Redis {
    process: Child,
    _dir: TempDir,
    port: u16,
}

impl Redis {
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
}

/// One variant: its nodes, of which the first gets the load. They end with this value.
pub(crate) struct Sites {
    processes: Vec<Child>,
    addr: SocketAddr,
}

impl Sites {
    pub(crate) async fn start(variant: Variant, redis: Option<&Redis>) -> anyhow::Result<Self> {
        let (first, ready) = start_one(variant, "a", None, redis).await?;
        let mut processes = vec![first];
        if let Some(replication) = ready.replication {
            let (second, _) = start_one(variant, "b", Some(replication), redis).await?;
            processes.push(second);
        }
        Ok(Self { processes, addr: ready.http })
    }

    /// The process that gets the load; none once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.processes.first()?.id()
    }

    /// Where requests go.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }
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
) -> anyhow::Result<(Child, Ready)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["site", variant.name(), "--name", name]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(redis) = redis {
        command.args(["--redis", &format!("redis://127.0.0.1:{}", redis.port)]);
    }
    let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = process.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(output).lines();
    let line = timeout(STARTS_WITHIN, lines.next_line()).await.context("it takes too long to start")??;
    let line = line.with_context(|| format!("{} ended before it was ready", variant.name()))?;
    let mut words = line.split(' ').skip(1);
    let http = words.next().context("no address")?.parse()?;
    let replication = words.next().map(str::parse).transpose()?;
    Ok((process, Ready { http, replication }))
}
