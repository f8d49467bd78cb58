//! Several node processes of one cluster.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::ensure;
use sessionmesh::ModeName;
use tokio::time::{Instant, sleep};

use super::{NodeArgs, NodeProcess, NodeStats, Threads};

/// How long a cluster may take to come together.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// Nodes called `n0`, `n1` and so on. They end with this value.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(crate) nodes: Vec<NodeProcess>,
    cluster: String,
    mode: ModeName,
    backups: u8,
    threads: Threads,
}

impl Processes {
    /// Starts them, and waits until they know each other and owe each other nothing.
    pub(crate) async fn start(count: usize, mode: ModeName, backups: u8, threads: Threads) -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Ports are taken again by others, and gossip goes on for a while: no two clusters have the same name.
        let cluster = format!("bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut processes = Self { nodes: Vec::new(), cluster, mode, backups, threads };
        for number in 0..count {
            processes.add(format!("n{number}")).await?;
        }
        processes.settled().await?;
        Ok(processes)
    }

    /// Starts one more node, without waiting until the others know it.
    pub(crate) async fn add(&mut self, name: String) -> anyhow::Result<&mut NodeProcess> {
        let seeds: Vec<SocketAddr> = self.nodes.iter().map(NodeProcess::addr).collect();
        let (cluster, mode, backups, threads) = (self.cluster.clone(), self.mode, self.backups, self.threads);
        let node = NodeProcess::start(NodeArgs { name, cluster, seeds, mode, backups, threads }).await?;
        self.nodes.push(node);
        Ok(self.nodes.last_mut().expect("it was just added"))
    }

    /// Waits until all nodes are ready, see each other and nobody else, suspect nobody, and owe each other nothing. What
    /// they said then, in their order.
    pub(crate) async fn settled(&mut self) -> anyhow::Result<Vec<NodeStats>> {
        let until = Instant::now() + SETTLES_WITHIN;
        loop {
            let all = self.stats().await?;
            if are_settled(&all) {
                return Ok(all);
            }
            ensure!(Instant::now() < until, "the nodes do not come together within {SETTLES_WITHIN:?}: {all:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The figures of all nodes.
    pub(crate) async fn stats(&mut self) -> anyhow::Result<Vec<NodeStats>> {
        let mut all = Vec::with_capacity(self.nodes.len());
        for node in &mut self.nodes {
            all.push(node.stats().await?);
        }
        Ok(all)
    }
}

/// Whether these are all members of one cluster that has nothing left to do.
pub(crate) fn are_settled(all: &[NodeStats]) -> bool {
    let one = |node: &NodeStats| {
        node.ready && node.outbox == 0 && node.suspected.is_empty() && node.members.len() == all.len()
    };
    all.iter().all(one)
}
