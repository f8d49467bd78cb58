//! Tasks that commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use sessionmesh::{Ack, CommitError, Mesh, Session};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};

use crate::latencies::Latencies;
use crate::payload::Payload;
use crate::processor;

/// Sessions of each writer, so that no two commits of one session follow each other closely.
pub(crate) const SESSIONS_EACH: usize = 8;
/// The attribute that is written.
pub(crate) const KEY: &str = "a";

/// What is written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Tasks, each with one commit after the other.
    pub(crate) writers: usize,
    /// Of the value that each commit writes.
    pub(crate) bytes: usize,
    /// What a commit waits for.
    pub(crate) ack: Ack,
}

/// What was done within some time.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Commits per second.
    pub(crate) rate: f64,
    pub(crate) latencies: Latencies,
    /// Commits that were not confirmed before their deadline.
    pub(crate) timed_out: u64,
    /// Commits that returned without a copy on another node, though not by a time-out.
    pub(crate) without_copy: u64,
    /// Processor time of the whole process for each commit.
    pub(crate) cpu: Duration,
}

/// Writers at work.
#[derive(Debug)]
pub(crate) struct Writers {
    running: JoinSet<anyhow::Result<()>>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    sessions: Vec<Sessions>,
    stop: Arc<AtomicBool>,
    since: Instant,
    cpu: Duration,
}

/// What one writer did since it was last asked.
#[derive(Debug, Default)]
struct Tally {
    nanoseconds: Vec<u32>,
    timed_out: u64,
    without_copy: u64,
}

/// The sessions of one writer.
pub(crate) type Sessions = Arc<[Session]>;

impl Writers {
    /// Makes the sessions, and lets the writers begin.
    pub(crate) async fn start(node: &Mesh, work: Work) -> anyhow::Result<Self> {
        let mut sessions = Vec::new();
        for _ in 0..work.writers {
            sessions.push(prepare(node, work.bytes, Ack::Owners).await?);
        }
        let (since, cpu) = (Instant::now(), processor::time()?);
        let (stop, mut running, mut tallies) = (Arc::new(AtomicBool::new(false)), JoinSet::new(), Vec::new());
        for sessions in &sessions {
            let tally = Arc::new(Mutex::new(Tally { nanoseconds: Vec::with_capacity(1 << 16), ..Tally::default() }));
            running.spawn(write(sessions.clone(), work, tally.clone(), stop.clone()));
            tallies.push(tally);
        }
        Ok(Self { running, tallies, sessions, stop, since, cpu })
    }

    /// What was done since the last lap. A commit counts when it returns.
    pub(crate) fn lap(&mut self) -> anyhow::Result<Done> {
        let (now, cpu) = (Instant::now(), processor::time()?);
        let (elapsed, cpu_used) = (now - self.since, cpu.saturating_sub(self.cpu));
        (self.since, self.cpu) = (now, cpu);
        let mut all = Tally::default();
        for tally in &self.tallies {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            all.nanoseconds.append(&mut tally.nanoseconds);
            all.timed_out += std::mem::take(&mut tally.timed_out);
            all.without_copy += std::mem::take(&mut tally.without_copy);
        }
        let count = u32::try_from(all.nanoseconds.len())?;
        Ok(Done {
            rate: f64::from(count) / elapsed.as_secs_f64(),
            latencies: Latencies::of(all.nanoseconds),
            timed_out: all.timed_out,
            without_copy: all.without_copy,
            cpu: cpu_used / count.max(1),
        })
    }

    /// Waits for the commits under way, and ends the sessions. What was done since the last lap.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Done> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.running.join_next().await {
            done??;
        }
        let done = self.lap()?;
        for session in self.sessions.iter().flat_map(|sessions| sessions.iter()) {
            match session.invalidate().await {
                Err(error) if !error.was_made() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(done)
    }
}

/// Writes on a node for as long as `window`. Only calm counts: a commit that has no copy is an error.
pub(crate) async fn run(node: &Mesh, work: Work, window: Duration) -> anyhow::Result<Done> {
    let writers = Writers::start(node, work).await?;
    sleep(window).await;
    let done = writers.stop().await?;
    ensure!(done.latencies.count() > 0, "no commit within {window:?}");
    ensure!(done.timed_out == 0, "{} commits timed out", done.timed_out);
    ensure!(done.without_copy == 0, "{} commits have no copy", done.without_copy);
    Ok(done)
}

/// Makes the sessions of one writer.
pub(crate) async fn prepare(node: &Mesh, bytes: usize, ack: Ack) -> anyhow::Result<Sessions> {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS_EACH {
        let session = node.create().await?;
        session.insert_bytes(KEY, Payload::random(bytes).numbered(0));
        session.commit_with(ack).await?;
        sessions.push(session);
    }
    Ok(sessions.into())
}

async fn write(sessions: Sessions, work: Work, tally: Arc<Mutex<Tally>>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut values: Vec<Payload> = sessions.iter().map(|_| Payload::random(work.bytes)).collect();
    for number in 1.. {
        for (session, value) in sessions.iter().zip(&mut values) {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            // A commit that waits for nothing must not keep the threads from what else the node does.
            consume_budget().await;
            let began = Instant::now();
            session.insert_bytes(KEY, value.numbered(number));
            let committed = session.commit_with(work.ack).await;
            let took = u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX);
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.nanoseconds.push(took);
            match committed {
                Ok(commit) => tally.without_copy += u64::from(commit.copies == 0),
                Err(CommitError::TimedOut { .. }) => tally.timed_out += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
