//! Several nodes in this process, on real sockets of 127.0.0.1.

use std::time::Duration;

use anyhow::ensure;
use sessionmesh::{Discovery, Mesh, MeshBuilder};
use tokio::time::{Instant, sleep};

/// How long a cluster may take to come together.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// A seed that nobody listens at keeps the first node from multicast.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

/// Starts `count` nodes called `n0`, `n1` and so on, and waits until they know each other and owe each other nothing.
/// All but the first start at once.
pub(crate) async fn start(count: usize, adjust: impl Fn(MeshBuilder) -> MeshBuilder) -> anyhow::Result<Vec<Mesh>> {
    let builder = |number: usize, first: Option<&Mesh>| {
        let seeds = [NOBODY.to_owned()].into_iter().chain(first.map(|node| node.addr().to_string()));
        // Alone for sure: the first need not look around for long.
        let window = Duration::from_millis(if number == 0 { 50 } else { 1_000 });
        let builder = Mesh::builder()
            .cluster("bench")
            .name(format!("n{number}"))
            .discovery(Discovery::seeds(seeds))
            .discovery_window(window);
        adjust(builder)
    };
    let first = builder(0, None).start().await?;
    let others: Vec<_> = (1..count).map(|number| tokio::spawn(builder(number, Some(&first)).start())).collect();
    let mut nodes = vec![first];
    for other in others {
        nodes.push(other.await??);
    }
    settled(&nodes).await?;
    Ok(nodes)
}

/// Waits until all nodes are ready, see each other, and owe each other nothing.
pub(crate) async fn settled(nodes: &[Mesh]) -> anyhow::Result<()> {
    let until = Instant::now() + SETTLES_WITHIN;
    while !nodes.iter().all(|node| node.is_ready() && node.members().len() == nodes.len() && node.stats().outbox == 0) {
        ensure!(Instant::now() < until, "not together within {SETTLES_WITHIN:?}: {}", state(nodes));
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// How far nodes have come.
fn state(nodes: &[Mesh]) -> String {
    let ready = nodes.iter().filter(|node| node.is_ready()).count();
    let seen = || nodes.iter().map(|node| node.members().len());
    let (fewest, most) = (seen().min().unwrap_or_default(), seen().max().unwrap_or_default());
    let stats = || nodes.iter().map(Mesh::stats);
    let outbox: usize = stats().map(|stats| stats.outbox).sum();
    let suspicions: u64 = stats().map(|stats| stats.suspicions).sum();
    format!(
        "{ready} of {} nodes are ready, each sees {fewest} to {most} members, {outbox} sessions wait to be sent, \
         somebody was suspected {suspicions} times",
        nodes.len()
    )
}
