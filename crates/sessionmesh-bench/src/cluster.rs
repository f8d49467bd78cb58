//! Several nodes in this process, on real sockets of 127.0.0.1.

use std::time::Duration;

use anyhow::ensure;
use sessionmesh::{Discovery, Mesh, MeshBuilder};
use tokio::time::{Instant, sleep};

/// How long a cluster may take to come together.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// A seed that nobody listens at keeps the first node from multicast.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

/// Starts `count` nodes called `n0`, `n1` and so on, and waits until they know each other and owe each other nothing.
pub(crate) async fn start(count: usize, adjust: impl Fn(MeshBuilder) -> MeshBuilder) -> anyhow::Result<Vec<Mesh>> {
    let mut nodes: Vec<Mesh> = Vec::new();
    for number in 0..count {
        let seeds = [NOBODY.to_owned()].into_iter().chain(nodes.first().map(|node| node.addr().to_string()));
        // Alone for sure: the first need not look around for long.
        let window = Duration::from_millis(if number == 0 { 50 } else { 1_000 });
        let builder = Mesh::builder()
            .cluster("bench")
            .name(format!("n{number}"))
            .discovery(Discovery::seeds(seeds))
            .discovery_window(window);
        nodes.push(adjust(builder).start().await?);
    }
    settled(&nodes).await?;
    Ok(nodes)
}

/// Waits until all nodes are ready, see each other, and owe each other nothing.
pub(crate) async fn settled(nodes: &[Mesh]) -> anyhow::Result<()> {
    let until = Instant::now() + SETTLES_WITHIN;
    while !nodes.iter().all(|node| node.is_ready() && node.members().len() == nodes.len() && node.stats().outbox == 0) {
        ensure!(Instant::now() < until, "{} nodes do not come together within {SETTLES_WITHIN:?}", nodes.len());
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
