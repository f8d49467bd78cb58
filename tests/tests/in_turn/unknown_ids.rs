//! Ids that nobody has, as forged cookies have them, cost the cluster little, however many come.

use futures::stream::{self, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use sessionmesh::{Mesh, Mode, SessionId};
use sessionmesh_core::id::Slot;
use sessionmesh_testkit::cluster::{Cluster, MODES, PATIENCE, check, create_sessions, eventually_async};
use sessionmesh_testkit::waiting::Turn;

/// Ids that pass for minted ones, as somebody makes them who knows how.
fn forged(count: usize, seed: u64) -> Vec<SessionId> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count)
        .map(|number| SessionId::mint(&mut rng, Slot::masked(u16::try_from(number % 4096).expect("12 bits"))))
        .collect()
}

/// Ids of random bytes.
fn made_up(count: usize) -> Vec<SessionId> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut bytes = [0; 16];
    let mut next = || {
        rng.fill_bytes(&mut bytes);
        SessionId::from_bytes(bytes)
    };
    (0..count).map(|_| next()).collect()
}

async fn load_all(node: &Mesh, ids: &[SessionId]) {
    let load = async |id: &SessionId| {
        eventually_async(PATIENCE, async || {
            let found = node.load(*id).await;
            check(matches!(found, Ok(None)), || format!("{found:?}"))
        })
        .await;
    };
    stream::iter(ids).for_each_concurrent(64, load).await;
}

fn asked(node: &Mesh) -> u64 {
    node.stats().remote_reads
}

/// CPU time that this process has used, in microseconds.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells of each process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("the name is in brackets").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
    // Linux counts in hundredths of a second.
    ticks * 10_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_made_up_asks_nobody_and_an_unknown_one_again_and_again_asks_no_more_than_a_flood() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        for node in cluster.nodes() {
            let before = asked(node);
            load_all(node, &made_up(10_000)).await;
            let questions = asked(node) - before;
            assert!(questions < 20, "{mode:?}: {questions} questions");
        }
        // One id again and again, as a browser sends it with each picture of a page, or somebody in bad faith.
        let (node, id) = (&cluster[0], forged(1, 1)[0]);
        load_all(node, &[id]).await;
        let (before, began) = (asked(node), tokio::time::Instant::now());
        for _ in 0..5_000 {
            assert!(matches!(node.load(id).await, Ok(None)));
        }
        let (questions, allowed) = (asked(node) - before, 1_010.0 + 500.0 * began.elapsed().as_secs_f64());
        assert!((questions as f64) < allowed, "{mode:?}: {questions} questions, {allowed} allowed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_unknown_is_found_once_it_is_made() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let session = cluster[0].create().await.expect("far from full");
        let owners = cluster.owners(session.id());
        for node in &owners {
            load_all(node, &[session.id()]).await;
        }
        session.commit().await.expect("calm");
        for node in owners {
            assert!(node.load(session.id()).await.expect("calm").is_some(), "{mode:?}: an owner learns of it");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_forged_ids_asks_fewer_and_hides_no_session() {
    let _turn = Turn::in_this_process().await;
    const FORGED: usize = 20_000;
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let mut ids = Vec::new();
        for node in cluster.nodes() {
            ids.extend(create_sessions(node, 20).await);
        }
        let forged = forged(FORGED, 2);
        let (before, cpu) = (asked(&cluster[0]), cpu_us());
        let flood = load_all(&cluster[0], &forged);
        let visitors = async {
            for round in 0..200 {
                for node in cluster.nodes() {
                    let found = node.load(ids[round % ids.len()]).await;
                    assert!(!matches!(found, Ok(None)), "{mode:?}: a session is there");
                }
            }
        };
        tokio::join!(flood, visitors);
        let questions = asked(&cluster[0]) - before;
        println!(
            "FIGURE {mode:?}: {:.1} us of CPU for each forged id, {questions} asked",
            (cpu_us() - cpu) / FORGED as f64
        );
        // Those in slots of others, and until it counts as a flood.
        let allowed = if mode == Mode::AllToAll { FORGED / 4 } else { FORGED * 2 / 3 };
        assert!(questions < allowed as u64, "{mode:?}: {questions} of {FORGED}");
    }
}
