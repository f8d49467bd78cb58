//! Nodes that start at the same moment, on a machine that has other things to do, all become ready.

use std::time::Duration;

use futures::future::join_all;
use sessionmesh::{Discovery, Mesh, Mode};
use sessionmesh_testkit::cluster::{PATIENCE, unique_name};
use sessionmesh_testkit::rounds::rounds;
use sessionmesh_testkit::waiting::Turn;
use tokio::time::{Instant, timeout};

/// So many nodes start at the same moment.
const SIZES: [usize; 3] = [3, 5, 9];
/// So many clusters do so beside each other, to keep the machine busy.
const CLUSTERS_AT_ONCE: usize = 4;

/// Starts a cluster, each node with the address of the first as its seed, and says how long it took until all were ready.
async fn start_at_once(nodes: usize, mode: Mode) -> Result<Duration, String> {
    let cluster = unique_name();
    let builder = |number: usize| Mesh::builder().name(format!("n{number}")).cluster(cluster.as_str()).mode(mode);
    let began = Instant::now();
    // Nobody listens at the first node's own seed.
    let first = builder(0).discovery(Discovery::seeds(["127.0.0.1:1"])).start().await;
    let first = first.map_err(|error| error.to_string())?;
    let seed = first.addr().to_string();
    let others = (1..nodes).map(|number| builder(number).discovery(Discovery::seeds([seed.clone()])).start());
    let mut running = vec![first];
    for started in join_all(others).await {
        running.push(started.map_err(|error| error.to_string())?);
    }
    let ready = timeout(PATIENCE, join_all(running.iter().map(Mesh::ready))).await;
    let state = || running.iter().map(|node| (node.is_ready(), node.members())).collect::<Vec<_>>();
    ready.map_err(|_| format!("not all of {nodes} are ready: {:?}", state()))?;
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_the_same_moment_all_become_ready() {
    let _turn = Turn::in_this_process().await;
    let all = rounds(CLUSTERS_AT_ONCE * SIZES.len());
    let (mut slowest, mut sum) = (Duration::ZERO, Duration::ZERO);
    for batch in 0..all.div_ceil(CLUSTERS_AT_ONCE) {
        let nodes = SIZES[batch % SIZES.len()];
        let mode = if batch % 2 == 0 { Mode::PrimaryBackup { backups: 1 } } else { Mode::AllToAll };
        for took in join_all((0..CLUSTERS_AT_ONCE).map(|_| start_at_once(nodes, mode))).await {
            let took = took.unwrap_or_else(|why| panic!("batch {batch}: {why}"));
            slowest = slowest.max(took);
            sum += took;
        }
    }
    let starts = u32::try_from(all.div_ceil(CLUSTERS_AT_ONCE) * CLUSTERS_AT_ONCE).expect("few");
    println!("{starts} cold starts: {:?} on average, the slowest took {slowest:?}", sum / starts);
}
