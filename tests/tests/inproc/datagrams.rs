//! Networks that drop datagrams: the large ones, as firewalls do that drop fragments, or all of them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sessionmesh::network::{Network as _, TokioNetwork};
use sessionmesh::{Discovery, Mesh};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, create_sessions, eventually, unique_name};
use sessionmesh_testkit::network::TestNetwork;
use tokio::time::timeout;

/// What passes everywhere.
const DATAGRAM_BYTES_MAX: usize = 1_200;
/// Restarts of one node. With the names of nodes below, the digest of so many lives takes far more than one datagram.
const LIVES: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lives_are_known_where_large_datagrams_are_dropped() {
    let largest = Arc::new(AtomicUsize::new(0));
    let seen = largest.clone();
    let network = Arc::new(TestNetwork::default().sending(move |bytes, _| {
        seen.fetch_max(bytes, Ordering::Relaxed);
        bytes <= DATAGRAM_BYTES_MAX
    }));
    let mut cluster = Cluster::start_with(2, move |builder| builder.network(network.clone())).await;
    for _ in 0..LIVES {
        let mesh = cluster.launch("a-name-that-is-rather-long-as-those-of-pods-are", |builder| builder).await;
        eventually(PATIENCE, || check(cluster[0].members().len() == 3, || format!("{:?}", cluster[0].members()))).await;
        drop(mesh);
        cluster.crash("a-name-that-is-rather-long-as-those-of-pods-are");
    }
    // Who knows of none of them must be told of all.
    let id = create_sessions(&cluster[0], 1).await[0];
    let newcomer = cluster.join("newcomer").await;
    assert_eq!(newcomer.members().len(), 3);
    assert!(newcomer.load(id).await.expect("it can tell").is_some());
    let largest = largest.load(Ordering::Relaxed);
    assert!(largest <= DATAGRAM_BYTES_MAX, "a datagram of {largest} bytes");
    println!("FIGURE after {LIVES} lives the largest datagram had {largest} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_where_no_datagram_passes_and_lose_each_other_nowhere() {
    let passes = Arc::new(AtomicBool::new(false));
    let open = passes.clone();
    let network = Arc::new(TestNetwork::default().sending(move |_, _| open.load(Ordering::Relaxed)));
    let mut cluster = Cluster::start_with(2, move |builder| builder.network(network.clone())).await;
    let ids = create_sessions(&cluster[0], 20).await;
    let third = cluster.launch("third", |builder| builder).await;
    while !third.is_ready() {
        let found = third.load(ids[0]).await;
        assert!(!matches!(found, Ok(None)), "it has heard nobody, and cannot tell");
    }
    cluster.settled().await;
    for id in &ids {
        assert!(third.load(*id).await.expect("it can tell").is_some());
    }
    // They stay together for far longer than it takes to miss somebody,
    let mut events = cluster.listen();
    let quiet = Duration::from_secs(4);
    tokio::time::sleep(quiet).await;
    // also when datagrams pass again, and when they stop to.
    passes.store(true, Ordering::Relaxed);
    tokio::time::sleep(quiet).await;
    passes.store(false, Ordering::Relaxed);
    tokio::time::sleep(quiet).await;
    assert_eq!(events.of_members(), [], "nobody came or went");
    cluster.settled().await;

    // A planned stop and a crash are noticed, too.
    cluster.leave("third").await;
    cluster.settled().await;
    cluster.crash("n1");
    cluster.settled().await;
}

#[tokio::test]
async fn nodes_of_different_families_find_each_other_over_tcp() {
    if let Err(error) = TokioNetwork.listen((Ipv6Addr::LOCALHOST, 0).into()).await {
        return eprintln!("SKIPPED: no IPv6 here: {error}");
    }
    let cluster = unique_name();
    let start = async |name: &str, bind: SocketAddr, seed: String| -> Mesh {
        let builder = Mesh::builder().cluster(cluster.as_str()).name(name).bind(bind);
        builder.discovery(Discovery::seeds([seed])).start().await.expect("it starts")
    };
    let four = start("four", (Ipv4Addr::LOCALHOST, 0).into(), "127.0.0.1:1".to_owned()).await;
    let six = start("six", (Ipv6Addr::LOCALHOST, 0).into(), four.addr().to_string()).await;
    for mesh in [&four, &six] {
        timeout(PATIENCE, mesh.ready()).await.expect("it becomes ready");
        eventually(PATIENCE, || check(mesh.members().len() == 2, || format!("{:?}", mesh.members()))).await;
    }
    let id = create_sessions(&six, 1).await[0];
    assert!(four.load(id).await.expect("it can tell").is_some());
}
