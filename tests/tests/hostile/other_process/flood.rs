//! Floods on two nodes that copy the sessions of their visitors to each other.

use std::net::Ipv4Addr;
use std::time::Duration;

use sessionmesh::network::{MulticastBind, Network as _, TokioNetwork};
use sessionmesh_testkit::cluster::unique_name;
use sessionmesh_testkit::observed::{forget_memory_peak_of, kib_of};
use sessionmesh_testkit::waiting::Turn;
use sessionmesh_testkit::web::Load;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::alone::{Alone, SecretFile, health, kept_its_memory};
use crate::sealed::{half_open, socket};

/// Connections at once to each node, of which nothing comes; and how often.
const CONNECTIONS: u32 = 600;
const ROUNDS: usize = 3;
/// Datagrams to each node beside it.
const DATAGRAMS: usize = 6_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_on_two_processes_fail_no_request_and_take_little_memory() {
    let _turn = (Turn::in_this_process().await, Turn::wait());
    let (cluster, secret) = (unique_name(), SecretFile::new());
    let dir = tempfile::Builder::new().prefix("meshtest-").tempdir().expect("a temporary directory");
    let port = 15_000 + u16::try_from(std::process::id() % 10_000).expect("it is small");
    let (group, interface) = (Ipv4Addr::new(228, 0, 0, 4), Ipv4Addr::LOCALHOST);
    let group = MulticastBind { group, port, interface, ttl: 0, loopback: true };
    let launch = async |name| Alone::launch(name, &cluster, Some(&secret), group, &dir).await;
    let nodes = [launch("web-1").await, launch("web-2").await];
    for node in &nodes {
        node.sees(2).await;
        forget_memory_peak_of(node.id());
    }
    let before = nodes.each_ref().map(|node| kib_of(node.id(), "VmRSS"));
    let visitors = nodes.each_ref().map(|node| Load::start(node.http(), 4, Duration::from_millis(10), true));
    let targets = nodes.each_ref().map(sessionmesh_testkit::web::WebNode::replication);
    let connections = async {
        for _ in 0..ROUNDS {
            let mut open = JoinSet::new();
            for number in 0..CONNECTIONS {
                for target in targets {
                    open.spawn(half_open(TokioNetwork.connect(target).await.expect("it listens"), number));
                }
            }
            open.join_all().await;
        }
    };
    let datagrams = async {
        let (socket, mut ticks) = (socket().await, interval(Duration::from_millis(2)));
        for number in 0..DATAGRAMS {
            for target in targets {
                // The system may refuse one that is too many.
                let _ = socket.send_to(&vec![0xa5; number % 1_400], target).await;
            }
            if number % 4 == 0 {
                ticks.tick().await;
            }
        }
    };
    tokio::join!(connections, datagrams);
    for (load, (node, before)) in visitors.into_iter().zip(nodes.iter().zip(before)) {
        load.goes_on().await;
        let tally = load.stop().await;
        println!("FIGURE visitors of {}: {tally}", node.name());
        assert!(tally.mishaps.is_empty(), "{:?}", tally.mishaps);
        kept_its_memory(node, before);
        let health = health(node).await.expect("it is well");
        println!("FIGURE {health:?}");
        let flood = health.refused("too_many_unproven") + health.refused("too_often");
        assert!(flood > u64::from(CONNECTIONS), "{health:?}");
        assert!(health.refused("plain_datagram") > 0 && health.members == 2, "{health:?}");
    }
}
