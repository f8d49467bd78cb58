//! Tasks that commit.

use std::time::Duration;

use anyhow::ensure;
use sessionmesh::{Ack, Mesh, Session};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::processor;

/// Sessions of each writer, so that no two commits of one session follow each other closely.
const SESSIONS_EACH: usize = 8;
/// The attribute that is written.
const KEY: &str = "a";

/// What was done within one window.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Commits per second.
    pub(crate) rate: f64,
    /// Of each commit, in nanoseconds, ascending.
    pub(crate) latencies_ns: Vec<u32>,
    /// Processor time of the whole process for each commit.
    pub(crate) cpu: Duration,
}

impl Done {
    /// A percentile in nanoseconds; `thousandths` 990 is p99.
    pub(crate) fn percentile(&self, thousandths: usize) -> f64 {
        let at = (self.latencies_ns.len() * thousandths / 1_000).min(self.latencies_ns.len().saturating_sub(1));
        self.latencies_ns.get(at).copied().unwrap_or_default().into()
    }
}

/// Lets `writers` tasks commit on the first node, each one commit after the other, for as long as `window`.
pub(crate) async fn run(
    nodes: &[Mesh],
    ack: Ack,
    bytes: usize,
    writers: usize,
    window: Duration,
) -> anyhow::Result<Done> {
    let mut sessions = Vec::new();
    for _ in 0..writers {
        sessions.push(prepare(&nodes[0], bytes).await?);
    }
    let (began, cpu) = (Instant::now(), processor::time()?);
    let mut running = JoinSet::new();
    for sessions in &sessions {
        running.spawn(write(sessions.clone(), ack, bytes, began + window));
    }
    let mut latencies_ns = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies_ns.extend(done??);
    }
    let (elapsed, cpu) = (began.elapsed(), processor::time()? - cpu);
    for session in sessions.iter().flat_map(|sessions| sessions.iter()) {
        session.invalidate().await?;
    }
    let count = u32::try_from(latencies_ns.len())?;
    ensure!(count > 0, "no commit within {window:?}");
    latencies_ns.sort_unstable();
    Ok(Done { rate: f64::from(count) / elapsed.as_secs_f64(), latencies_ns, cpu: cpu / count })
}

type Sessions = std::sync::Arc<[Session]>;

async fn prepare(node: &Mesh, bytes: usize) -> anyhow::Result<Sessions> {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS_EACH {
        let session = node.create().await?;
        session.insert_bytes(KEY, vec![0; bytes]);
        session.commit().await?;
        sessions.push(session);
    }
    Ok(sessions.into())
}

async fn write(sessions: Sessions, ack: Ack, bytes: usize, until: Instant) -> anyhow::Result<Vec<u32>> {
    let mut latencies = Vec::with_capacity(1 << 16);
    let mut value = vec![0; bytes];
    for (number, session) in sessions.iter().cycle().enumerate() {
        let began = Instant::now();
        if began >= until {
            break;
        }
        value[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        session.insert_bytes(KEY, value.as_slice());
        let commit = session.commit_with(ack).await?;
        ensure!(commit.copies >= 1, "a commit has no copy");
        latencies.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    Ok(latencies)
}
