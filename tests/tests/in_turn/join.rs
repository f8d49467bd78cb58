//! A node joins a cluster that holds many sessions, while that goes on serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::{Ack, Mesh, SessionId};
use sessionmesh_testkit::cluster::{Cluster, MODES, settled_and_exact};
use sessionmesh_testkit::waiting::Turn;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// In all. A build without optimisation takes fewer: with 50,000 it needs more than half a minute where the machine is shared.
/// `INPROC_JOIN_SESSIONS` overrules.
fn sessions() -> usize {
    let usual = if cfg!(debug_assertions) { 10_000 } else { 50_000 };
    std::env::var("INPROC_JOIN_SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

const BYTES: usize = 4 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_has_all_that_it_owns_when_it_is_ready_and_nobody_waited_for_it() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let mut cluster = Cluster::start(3, mode).await;
        let start = Instant::now();
        let ids = Arc::new(fill(&cluster, sessions()).await);
        cluster.settled().await;
        println!("FIGURE {mode:?}: {} sessions of {BYTES} bytes made and copied in {:?}", ids.len(), start.elapsed());

        let stop = Arc::new(AtomicBool::new(false));
        let slowest = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for (seed, node) in cluster.nodes().iter().enumerate() {
            clients.spawn(client(node.clone(), ids.clone(), seed as u64, stop.clone(), slowest.clone()));
        }
        let start = Instant::now();
        let joiner = cluster.launch("joiner", |builder| builder).await;
        let started = start.elapsed();
        let joining = async { tokio::join!(joiner.ready(), said_while_joining(&joiner)).1 };
        let ready = tokio::time::timeout(Duration::from_secs(60), joining).await;
        let took = start.elapsed();
        for (received, expected) in ready.iter().flatten() {
            // Each of two owners may have a session for it.
            assert!(received < expected && *expected <= 2 * ids.len(), "{mode:?}: {received} of about {expected}");
        }
        assert!(ready.is_ok(), "{mode:?}: not ready after a minute: {:?}", joiner.stats());
        let members = joiner.members().len();
        let owned: Vec<SessionId> =
            ids.iter().filter(|id| joiner.owners(**id).iter().any(|name| **name == *"joiner")).copied().collect();
        let missing = owned.iter().filter(|id| !joiner.holds(**id)).count();
        stop.store(true, Ordering::Release);
        let served: usize = clients.join_all().await.into_iter().sum();
        println!(
            "FIGURE {mode:?}: started in {started:?}, ready after {took:?} with {} sessions; {served} requests meanwhile, \
             the slowest took {} ms",
            owned.len(),
            slowest.load(Ordering::Relaxed)
        );
        assert_eq!(members, 4, "{mode:?}: it knew everybody");
        assert_eq!(missing, 0, "{mode:?}: of {} that it owns", owned.len());
        assert!(owned.len() > ids.len() / 4, "{mode:?}: {}", owned.len());
        assert!(served > 20, "{mode:?}: {served}");
        cluster.settled().await;
        settled_and_exact(&cluster.all(), &ids).await;
    }
}

/// How many sessions of how many it has received, by what a node says of its health until it is ready. Who is quick says neither.
async fn said_while_joining(node: &Mesh) -> Vec<(usize, usize)> {
    let mut said = Vec::new();
    loop {
        let health = node.health_with_progress().await;
        if health.is_ready() {
            return said;
        }
        let text = health.to_string();
        let parts = text.strip_prefix("joining: ").and_then(|text| text.split_once(" of about "));
        let number = |text: &str| text.split(' ').next().unwrap_or_default().parse().expect("a number");
        said.extend(parts.map(|(received, expected)| (number(received), number(expected))));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn fill(cluster: &Cluster, sessions: usize) -> Vec<SessionId> {
    let mut makers = JoinSet::new();
    for node in cluster.nodes() {
        let node = node.clone();
        let share = sessions / cluster.nodes().len() + 1;
        makers.spawn(async move {
            let mut ids = Vec::with_capacity(share);
            for _ in 0..share {
                let session = node.create().await.expect("far from full");
                session.insert_bytes("data", vec![7; BYTES]);
                session.commit_with(Ack::Local).await.expect("nothing to wait for");
                ids.push(session.id());
            }
            ids
        });
    }
    makers.join_all().await.concat()
}

/// Loads and changes sessions on `node` until told to stop. Not one request may fail.
async fn client(
    node: Mesh,
    ids: Arc<Vec<SessionId>>,
    seed: u64,
    stop: Arc<AtomicBool>,
    slowest: Arc<AtomicUsize>,
) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut served = 0;
    while !stop.load(Ordering::Acquire) {
        let id = ids[rng.random_range(0..ids.len())];
        let start = Instant::now();
        let found = node.load(id).await;
        let session = match found {
            Ok(Some(session)) => session,
            other => panic!("load of {id} on {} after {:?}: {other:?}", node.name(), start.elapsed()),
        };
        let read = start.elapsed();
        session.insert("visits", &served).expect("a number is JSON");
        let commit = session.commit().await;
        assert!(
            commit.is_ok(),
            "commit of {id} on {}, read in {read:?}, after {:?}: {commit:?}",
            node.name(),
            start.elapsed()
        );
        let took = usize::try_from(start.elapsed().as_millis()).expect("a test is short");
        slowest.fetch_max(took, Ordering::Relaxed);
        served += 1;
    }
    served
}
