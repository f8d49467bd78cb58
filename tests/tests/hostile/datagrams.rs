//! Datagrams of strangers, and forged gossip.

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use sessionmesh::network::{DatagramBind, Network as _, TokioNetwork};
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::waiting::Turn;
use tokio::time::{Instant, interval};

use crate::mutation::mutate;
use crate::target::{Target, under_load};
use crate::{DEADLINE, SEED};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_of_strangers_do_not_end_the_gossip() {
    let _turn = Turn::in_this_process().await;
    let mut target = Target::new().await;
    let other = Target::new().await;
    under_load(&target, async {
        let foreign = other.gossip(20).await;
        datagrams(&target, SEED + 2, |rng| match rng.random_range(0..3) {
            // Of another cluster, or noise, or nothing.
            0 => foreign[rng.random_range(0..foreign.len())].clone(),
            1 => {
                let mut bytes = vec![0; rng.random_range(0..2_000)];
                rng.fill_bytes(&mut bytes);
                bytes
            }
            _ => Vec::new(),
        })
        .await;
    })
    .await;
    // A newcomer is heard of, by gossip alone.
    target.cluster.join("late").await;
    target.is_well(64).await;
}

/// Without a secret, what looks like gossip is believed, so nothing is promised of the view here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_gossip_neither_panics_nor_takes_memory() {
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    let corpus = target.gossip(40).await;
    datagrams(&target, SEED + 3, |rng| {
        let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
        mutate(rng, &mut bytes);
        bytes.truncate(60_000);
        bytes
    })
    .await;
    for node in target.cluster.nodes() {
        let session = node.create().await.expect("far from full");
        let (start, lag) = (Instant::now(), Lag::watch());
        let commit = session.commit().await;
        let took = lag.take_off(start.elapsed());
        assert!(took < DEADLINE * 2, "{commit:?} after {took:?}");
    }
    target.kept_calm(64);
}

/// Sends 4,000 datagrams to each node.
async fn datagrams(target: &Target, seed: u64, mut next: impl FnMut(&mut StdRng) -> Vec<u8>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = TokioNetwork.datagrams(DatagramBind::Unicast(loopback)).await.expect("a free port");
    let mut ticks = interval(Duration::from_millis(1));
    for round in 0..4_000 {
        let bytes = next(&mut rng);
        for node in target.cluster.nodes() {
            // The system may refuse one that is too many.
            let _ = socket.send_to(&bytes, node.addr()).await;
        }
        if round % 4 == 0 {
            ticks.tick().await;
        }
    }
}
