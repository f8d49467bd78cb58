//! What a cluster does within a span of time: nothing, or commits.

use std::time::Duration;

use anyhow::ensure;
use sessionmesh::{Ack, Mesh};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::network::{MemoryNetwork, Traffic};
use crate::engine::writers::{self, KEY, Sessions};
use crate::processor;

/// Tasks that commit, each one commit after the other.
pub(super) const WRITERS: usize = 16;
/// Bytes of the value that each commit writes.
pub(super) const BYTES: usize = 256;

/// What all nodes together took and did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) elapsed: Duration,
    pub(super) cpu: Duration,
    pub(super) traffic: Traffic,
    pub(super) commits: u64,
}

/// What a commit takes, without what the cluster takes anyway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PerCommit {
    pub(super) cpu_us: f64,
    pub(super) stream_bytes: f64,
}

impl Span {
    /// A number of something in this span, as a rate per second.
    pub(super) fn per_second(&self, number: f64) -> f64 {
        number / self.elapsed.as_secs_f64()
    }

    /// What each commit of this span took beyond what an `idle` one, scaled to the same length, took.
    pub(super) fn per_commit(&self, idle: &Self) -> PerCommit {
        let beyond = |mine: f64, idle_one: f64| {
            (mine - idle.per_second(idle_one) * self.elapsed.as_secs_f64()) / self.commits as f64
        };
        PerCommit {
            cpu_us: beyond(self.cpu.as_secs_f64(), idle.cpu.as_secs_f64()) * 1e6,
            stream_bytes: beyond(self.traffic.stream_bytes as f64, idle.traffic.stream_bytes as f64),
        }
    }
}

/// Notes when a span began.
struct Meter<'a> {
    network: &'a MemoryNetwork,
    began: Instant,
    cpu: Duration,
    traffic: Traffic,
}

impl<'a> Meter<'a> {
    fn start(network: &'a MemoryNetwork) -> anyhow::Result<Self> {
        Ok(Self { network, traffic: network.traffic(), cpu: processor::time()?, began: Instant::now() })
    }

    fn stop(self, commits: u64) -> anyhow::Result<Span> {
        let (elapsed, cpu) = (self.began.elapsed(), processor::time()? - self.cpu);
        Ok(Span { elapsed, cpu, traffic: self.network.traffic().since(self.traffic), commits })
    }
}

/// Lets the cluster be for as long as `window`.
pub(super) async fn idle(network: &MemoryNetwork, window: Duration) -> anyhow::Result<Span> {
    let meter = Meter::start(network)?;
    sleep(window).await;
    meter.stop(0)
}

/// Makes the sessions of all writers.
pub(super) async fn prepare(node: &Mesh, ack: Ack) -> anyhow::Result<Vec<Sessions>> {
    let mut all = Vec::new();
    for _ in 0..WRITERS {
        all.push(writers::prepare(node, BYTES, ack).await?);
    }
    Ok(all)
}

/// Lets all writers commit for as long as `window`.
pub(super) async fn busy(
    network: &MemoryNetwork,
    sessions: &[Sessions],
    ack: Ack,
    window: Duration,
) -> anyhow::Result<Span> {
    let meter = Meter::start(network)?;
    let until = meter.began + window;
    let mut running = JoinSet::new();
    for sessions in sessions {
        running.spawn(write(sessions.clone(), ack, until));
    }
    let mut commits = 0;
    while let Some(done) = running.join_next().await {
        commits += done??;
    }
    ensure!(commits > 0, "no commit within {window:?}");
    meter.stop(commits)
}

async fn write(sessions: Sessions, ack: Ack, until: Instant) -> anyhow::Result<u64> {
    let mut value = vec![0; BYTES];
    let mut commits = 0_u64;
    for session in sessions.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        commits += 1;
        value[..8].copy_from_slice(&commits.to_le_bytes());
        session.insert_bytes(KEY, value.as_slice());
        let commit = session.commit_with(ack).await?;
        ensure!(commit.copies >= 1, "a commit has no copy");
    }
    Ok(commits)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::writers::SESSIONS_EACH;

    #[test]
    fn what_an_idle_cluster_takes_is_not_charged_to_commits() {
        let traffic = |stream_bytes| Traffic { stream_bytes, ..Traffic::default() };
        let idle = Span {
            elapsed: Duration::from_secs(2),
            cpu: Duration::from_millis(20),
            traffic: traffic(2_000),
            commits: 0,
        };
        let busy = Span {
            elapsed: Duration::from_secs(1),
            cpu: Duration::from_millis(30),
            traffic: traffic(6_000),
            commits: 10,
        };
        let each = busy.per_commit(&idle);
        assert!((each.cpu_us - 2_000.0).abs() < 1e-6, "{each:?}");
        assert!((each.stream_bytes - 500.0).abs() < 1e-6, "{each:?}");
        assert_eq!(idle.per_second(3.0), 1.5);
    }

    #[tokio::test]
    async fn commits_and_their_bytes_are_counted() {
        let network = MemoryNetwork::default();
        let nodes = crate::cluster::start(2, |builder| builder.network(Arc::new(network.clone()))).await.unwrap();
        let sessions = prepare(&nodes[0], Ack::Owners).await.unwrap();
        let span = busy(&network, &sessions, Ack::Copies(1), Duration::from_millis(50)).await.unwrap();
        assert!(span.traffic.stream_bytes > span.commits * BYTES as u64, "{span:?}");
        let commits: u64 = nodes.iter().map(|node| node.stats().commits).sum();
        assert_eq!(commits, span.commits + (WRITERS * SESSIONS_EACH) as u64);
    }
}
