//! Several node processes of one cluster.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::ensure;
use sessionmesh::{Mode, Secret};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{NodeArgs, NodeProcess, NodeStats, Threads};
use crate::processor;

/// How long a cluster may take to come together.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// Nodes called `n0`, `n1` and so on. They end with this value.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(crate) nodes: Vec<NodeProcess>,
    cluster: String,
    mode: Mode,
    threads: Threads,
    secret: Option<Secret>,
}

impl Processes {
    /// Starts them, and waits until they know each other and owe each other nothing.
    pub(crate) async fn start(count: usize, mode: Mode, threads: Threads) -> anyhow::Result<Self> {
        Self::start_with(count, mode, threads, None).await
    }

    /// The same with a secret, if there is one.
    pub(crate) async fn start_with(
        count: usize,
        mode: Mode,
        threads: Threads,
        secret: Option<Secret>,
    ) -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Ports are taken again by others, and gossip goes on for a while: no two clusters have the same name.
        let cluster = format!("bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut processes = Self { nodes: Vec::new(), cluster, mode, threads, secret };
        processes.add("n0".to_owned()).await?;
        // The others start at once: each takes a while to look for a node of its name.
        let mut starting = JoinSet::new();
        for number in 1..count {
            starting.spawn(NodeProcess::start(processes.arguments(format!("n{number}"))));
        }
        while let Some(node) = starting.join_next().await {
            processes.nodes.push(node??);
        }
        processes.nodes.sort_by_key(|node| node.name()[1..].parse::<usize>().ok());
        processes.settled().await?;
        Ok(processes)
    }

    /// Starts one more node, without waiting until the others know it.
    pub(crate) async fn add(&mut self, name: String) -> anyhow::Result<&mut NodeProcess> {
        let node = NodeProcess::start(self.arguments(name)).await?;
        self.nodes.push(node);
        Ok(self.nodes.last_mut().expect("it was just added"))
    }

    /// The name of the cluster.
    pub(crate) fn name(&self) -> &str {
        &self.cluster
    }

    fn arguments(&self, name: String) -> NodeArgs {
        NodeArgs {
            name,
            cluster: self.cluster.clone(),
            seeds: self.nodes.iter().map(NodeProcess::addr).collect(),
            mode: self.mode,
            threads: self.threads,
            secret: self.secret.clone(),
        }
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

    /// What the threads of each node have run so far.
    pub(crate) fn threads(&self) -> anyhow::Result<Vec<processor::Threads>> {
        self.nodes.iter().map(NodeProcess::threads).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_settled_when_no_node_has_anything_left_to_do() {
        let node = NodeStats {
            sessions: 0,
            owned: 0,
            outbox: 0,
            members: vec!["n0".into(), "n1".into()],
            ready: true,
            suspected: Vec::new(),
            commits: 0,
            timeouts: 0,
            rss_bytes: 0,
            cpu_ms: 0.0,
            at_ns: 0,
        };
        assert!(are_settled(&[node.clone(), node.clone()]));
        assert!(!are_settled(std::slice::from_ref(&node)), "a node that is gone is still in the view");
        for other in [
            NodeStats { outbox: 1, ..node.clone() },
            NodeStats { ready: false, ..node.clone() },
            NodeStats { suspected: vec!["n0".into()], ..node.clone() },
            NodeStats { members: vec!["n1".into()], ..node.clone() },
        ] {
            assert!(!are_settled(&[node.clone(), other]));
        }
    }
}
