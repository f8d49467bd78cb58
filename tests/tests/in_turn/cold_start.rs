//! Nodes that start at the same moment, on a machine that has other things to do, all become ready.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use sessionmesh::network::{Network as _, TokioNetwork};
use sessionmesh::{Discovery, Mesh, Mode};
use sessionmesh_testkit::cluster::{PATIENCE, unique_name};
use sessionmesh_testkit::rounds::rounds;
use sessionmesh_testkit::waiting::Turn;
use tokio::time::{Instant, timeout};

/// So many nodes start at the same moment.
const SIZES: [usize; 3] = [3, 5, 9];
/// So many clusters do so beside each other, to keep the machine busy.
const CLUSTERS_AT_ONCE: usize = 4;

/// Addresses at which nobody listens, to be taken at once. Nothing else of this process runs meanwhile, but other clusters.
async fn free(number: usize) -> Vec<SocketAddr> {
    let listen = || TokioNetwork.listen((Ipv4Addr::LOCALHOST, 0).into());
    // All at the same time, or two would be the same.
    let listeners = join_all((0..number).map(|_| listen())).await;
    listeners.into_iter().map(|listener| listener.expect("a free port").local_addr().expect("it has one")).collect()
}

/// Starts a cluster, each node with the addresses of all as its seeds and none before the others, and says how long it took until
/// all were ready.
async fn start_at_once(addrs: Vec<SocketAddr>, mode: Mode) -> Result<Duration, String> {
    let cluster = unique_name();
    let seeds = Discovery::seeds(addrs.iter().map(ToString::to_string));
    let start = |number: usize, bind: SocketAddr| {
        let builder = Mesh::builder().name(format!("n{number}")).cluster(cluster.as_str()).mode(mode).bind(bind);
        builder.discovery(seeds.clone()).start()
    };
    let began = Instant::now();
    let started = join_all(addrs.iter().enumerate().map(|(number, bind)| start(number, *bind))).await;
    let running = started.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let ready = timeout(PATIENCE, join_all(running.iter().map(Mesh::ready))).await;
    let state = || running.iter().map(|node| (node.is_ready(), node.members())).collect::<Vec<_>>();
    ready.map_err(|_| format!("not all of {} are ready: {:?}", addrs.len(), state()))?;
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
        let addrs = free(CLUSTERS_AT_ONCE * nodes).await;
        for took in join_all(addrs.chunks(nodes).map(|addrs| start_at_once(addrs.to_vec(), mode))).await {
            let took = took.unwrap_or_else(|why| panic!("batch {batch}: {why}"));
            slowest = slowest.max(took);
            sum += took;
        }
    }
    let starts = u32::try_from(all.div_ceil(CLUSTERS_AT_ONCE) * CLUSTERS_AT_ONCE).expect("few");
    println!("{starts} cold starts: {:?} on average, the slowest took {slowest:?}", sum / starts);
}
