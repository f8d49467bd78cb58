//! The node's side: it does what its input says.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sessionmesh::{Mesh, SessionId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::arrival::Arrival;
use super::protocol::{Answer, Command, NodeStats, Rates, say};
use super::reading::Readers;
use super::watch::Watch;
use super::{NodeArgs, bulk, sessions, stream, visiting};
use crate::engine::ping_pong;
use crate::engine::writers::{self, Work, Writers};
use crate::{memory, monotonic, processor};

/// Runs a node until its input ends.
pub(crate) fn serve(args: &NodeArgs) -> anyhow::Result<()> {
    args.threads.runtime()?.block_on(async {
        let mesh = args.builder().start().await?;
        say(&Answer::Started { addr: mesh.addr() })?;
        let mut node = Serving { mesh, made: Vec::new(), writing: None, watch: None, reading: None, arrival: None };
        let mut lines = lines();
        while let Some(line) = lines.recv().await {
            let answer = match serde_json::from_str(&line?) {
                Ok(command) => node.run(command).await,
                Err(error) => Err(error.into()),
            };
            say(&answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}"))))?;
        }
        Ok(())
    })
}

/// The lines of the standard input, read by a thread that ends with it.
fn lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Serving {
    mesh: Mesh,
    /// The sessions that were made by `Create`.
    made: Vec<SessionId>,
    writing: Option<Writers>,
    watch: Option<Watch>,
    reading: Option<Readers>,
    arrival: Option<Arrival>,
}

impl Serving {
    async fn run(&mut self, command: Command) -> anyhow::Result<Answer> {
        Ok(match command {
            Command::Create { count, bytes, tasks, tell } => self.create(count, bytes, tasks, tell).await?,
            Command::Load { ids, tasks, for_ms } => self.load(&ids, tasks, Duration::from_millis(for_ms)).await?,
            Command::Visit { ids, per_second, bytes, for_ms } => {
                let (ids, window) = (sessions::decode(&ids)?, Duration::from_millis(for_ms));
                Answer::Rates(visiting::visit(&self.mesh, ids, per_second, bytes, window).await?)
            }
            Command::Flood { per_second, forged, for_ms } => {
                Answer::Rates(visiting::flood(&self.mesh, per_second, forged, Duration::from_millis(for_ms)).await?)
            }
            Command::Write { work, for_ms } => {
                let done = writers::run(&self.mesh, work, Duration::from_millis(for_ms)).await?;
                Answer::Rates(Rates::from(&done))
            }
            Command::StartWriting(work) => self.start_writing(work).await?,
            Command::Lap => {
                let writing = self.writing.as_mut().context("nothing is written")?;
                Answer::Rates(Rates::from(&writing.lap()?))
            }
            Command::StopWriting => {
                let writing = self.writing.take().context("nothing is written")?;
                Answer::Rates(Rates::from(&writing.stop().await?))
            }
            Command::Stream(work) => stream::run(&self.mesh, work).await?,
            Command::Update { ids, number, bytes } => {
                sessions::update(&self.mesh, &ids, number, bytes).await?;
                Answer::Done
            }
            Command::Numbers { ids } => Answer::Numbers(sessions::numbers(&self.mesh, &ids).await?),
            Command::Watch { peer, for_ms } => {
                self.watch = Some(Watch::start(self.mesh.clone(), peer, Duration::from_millis(for_ms)).await?);
                Answer::Done
            }
            Command::Seen => self.watch.take().context("nothing is watched")?.seen().await?,
            Command::Echo => echo().await?,
            Command::Ping { addr, for_ms } => ping(addr, for_ms).await?,
            Command::Stats => Answer::Stats(stats(&self.mesh)?),
            Command::Rewrite { times, bytes, tasks } => {
                bulk::rewrite(&self.mesh, &self.made, times, bytes, tasks).await?;
                Answer::Done
            }
            Command::EndAll { tasks } => {
                bulk::end(&self.mesh, std::mem::take(&mut self.made), tasks).await?;
                Answer::Done
            }
            Command::MakeAndEnd { count, bytes, tasks } => {
                bulk::make_and_end(&self.mesh, count, bytes, tasks).await?;
                Answer::Done
            }
            Command::StartReading { tasks, pace } => {
                self.reading = Some(Readers::start(&self.mesh, &self.made, tasks, pace)?);
                Answer::Done
            }
            Command::StopReading => Answer::Reads(self.reading.take().context("nothing is read")?.stop().await?),
            Command::Expect { member } => {
                self.arrival = Some(Arrival::expect(&self.mesh, member)?);
                Answer::Done
            }
            Command::Arrived => self.arrival.take().context("nobody is expected")?.seen().await?,
            Command::Ready => {
                self.mesh.ready().await;
                Answer::At { at_ns: monotonic::now_ns() }
            }
            Command::OwnedBy { member } => Answer::Count(bulk::owned_by(&self.mesh, &self.made, &member)),
            Command::Leave { deadline_ms } => self.leave(Duration::from_millis(deadline_ms)).await?,
        })
    }

    async fn create(&mut self, count: usize, bytes: usize, tasks: usize, tell: bool) -> anyhow::Result<Answer> {
        let began = Instant::now();
        let ids = sessions::create(&self.mesh, count, bytes, tasks).await?;
        let took_us = microseconds(began.elapsed());
        self.made.extend_from_slice(&ids);
        let told = if tell { ids.iter().map(SessionId::encode).collect() } else { Vec::new() };
        Ok(Answer::Created { ids: told, took_us })
    }

    async fn load(&self, ids: &[String], tasks: usize, window: Duration) -> anyhow::Result<Answer> {
        let ids = if ids.is_empty() { self.made.clone() } else { sessions::decode(ids)? };
        Ok(Answer::Rates(sessions::load(&self.mesh, ids, tasks, window).await?))
    }

    async fn start_writing(&mut self, work: Work) -> anyhow::Result<Answer> {
        if self.writing.is_some() {
            bail!("it writes already");
        }
        self.writing = Some(Writers::start(&self.mesh, work).await?);
        Ok(Answer::Done)
    }

    async fn leave(&self, deadline: Duration) -> anyhow::Result<Answer> {
        let began = Instant::now();
        self.mesh.leave(deadline).await?;
        Ok(Answer::Left { took_us: microseconds(began.elapsed()) })
    }
}

async fn echo() -> anyhow::Result<Answer> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(ping_pong::echo(listener));
    Ok(Answer::Echoes { addr })
}

async fn ping(addr: SocketAddr, for_ms: u64) -> anyhow::Result<Answer> {
    let latencies = ping_pong::ping(addr, Duration::from_millis(for_ms)).await?;
    let per_second = latencies.count() as f64 * 1_000.0 / for_ms.max(1) as f64;
    Ok(Answer::Rates(Rates::new(per_second, &latencies)))
}

fn stats(mesh: &Mesh) -> anyhow::Result<NodeStats> {
    let stats = mesh.stats();
    let pid = std::process::id();
    Ok(NodeStats {
        sessions: stats.sessions,
        owned: stats.owned,
        outbox: stats.outbox,
        members: mesh.members().iter().map(|member| member.name.to_string()).collect(),
        ready: mesh.is_ready(),
        suspected: stats.suspected,
        commits: stats.commits,
        timeouts: stats.commit_timeouts,
        rss_bytes: memory::resident(pid)?,
        cpu_ms: microseconds(processor::time()?) / 1_000.0,
        at_ns: monotonic::now_ns(),
    })
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1_000.0
}
