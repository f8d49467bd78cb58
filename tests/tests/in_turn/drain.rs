//! A rolling restart: each node leaves in turn and comes again, while clients go on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::{CommitError, Mesh, SessionId};
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::cluster::{Cluster, MODES, PATIENCE, create_sessions, settled_and_exact};
use sessionmesh_testkit::waiting::Turn;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

const NODES: usize = 3;
const SESSIONS: usize = 300;
const CLIENTS: usize = 6;

/// Where a balancer sends requests, and what the clients were promised.
#[derive(Default)]
struct World {
    backends: Mutex<Vec<Backend>>,
    stop: AtomicBool,
    failed: Mutex<Vec<String>>,
    /// Commits that a node refused in the last moment before it had left.
    refused: AtomicUsize,
}

#[derive(Clone)]
struct Backend {
    mesh: Mesh,
    leaves: Arc<AtomicBool>,
    left: Arc<AtomicBool>,
}

impl World {
    fn add(&self, mesh: Mesh) {
        self.backends.lock().expect("no panic").push(Backend { mesh, leaves: Arc::default(), left: Arc::default() });
    }

    fn pick(&self, rng: &mut StdRng) -> Backend {
        let backends = self.backends.lock().expect("no panic");
        backends[rng.random_range(0..backends.len())].clone()
    }

    /// A request failed. One that was still on a node when that stopped is none of its promises; it may have stopped a moment before
    /// whoever had it leave is told.
    fn fail(&self, backend: &Backend, what: String) {
        let has_stopped = backend.leaves.load(Ordering::SeqCst) && backend.mesh.stopped().now_or_never().is_some();
        if !has_stopped && !backend.left.load(Ordering::SeqCst) {
            self.failed.lock().expect("no panic").push(what);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request_and_loses_no_session() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let mut cluster = Cluster::start(NODES, mode).await;
        let world = Arc::new(World::default());
        cluster.nodes().iter().for_each(|node| world.add(node.clone()));
        let mut ids = Vec::new();
        for node in cluster.nodes() {
            ids.extend(create_sessions(node, SESSIONS / NODES).await);
        }
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let own = ids.iter().skip(client).step_by(CLIENTS).copied().collect();
            clients.spawn(requests(world.clone(), own, client as u64));
        }
        let mut longest = Duration::ZERO;
        for number in 0..NODES {
            let name = format!("n{number}");
            let mesh = cluster.take(&name);
            let start = Instant::now();
            let at = world.backends.lock().expect("no panic").iter().position(|backend| backend.mesh.name() == name);
            let at = at.expect("the balancer knows all nodes");
            world.backends.lock().expect("no panic")[at].leaves.store(true, Ordering::SeqCst);
            let left = mesh.leave(PATIENCE).await;
            // The balancer sends requests to it up to this moment.
            let backend = world.backends.lock().expect("no panic").remove(at);
            backend.left.store(true, Ordering::SeqCst);
            longest = longest.max(start.elapsed());
            left.unwrap_or_else(|error| panic!("{mode:?}: {name}: {error}; {:?}", mesh.stats()));
            drop((mesh, backend));
            cluster.settled().await;
            let again = cluster.join(&name).await;
            world.add(again);
        }
        world.stop.store(true, Ordering::Release);
        let promised: HashMap<SessionId, usize> = clients.join_all().await.into_iter().flatten().collect();
        let served: usize = promised.values().sum();
        println!("FIGURE {mode:?}: {served} requests over {NODES} restarts, the longest leave took {longest:?}");
        let refused = world.refused.load(Ordering::Relaxed);
        println!("FIGURE {mode:?}: {refused} commits were sent on to another node");
        let failed = std::mem::take(&mut *world.failed.lock().expect("no panic"));
        assert!(
            failed.is_empty(),
            "{mode:?}: {} of {served} requests failed, first {:#?}",
            failed.len(),
            &failed[..failed.len().min(8)]
        );
        assert!(served > 100, "{mode:?}: {served}");
        world.backends.lock().expect("no panic").clear();
        settled_and_exact(&cluster.all(), &ids).await;
        for (id, count) in &promised {
            for node in cluster.nodes() {
                let session = node.load(*id).await.expect("calm").unwrap_or_else(|| panic!("{mode:?}: {id} is lost"));
                let found = session.get::<usize>("count").expect("a number").unwrap_or(0);
                assert!(found >= *count, "{mode:?}: {} has {found} of {count} of {id}", node.name());
            }
        }
    }
}

/// One client's visitors: reads and counts up, each session in turn, on any node. Returns how far it was told it got.
async fn requests(world: Arc<World>, ids: Vec<SessionId>, seed: u64) -> HashMap<SessionId, usize> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut counts: HashMap<SessionId, usize> = ids.iter().map(|id| (*id, 0)).collect();
    // Without a pause the clients alone would take all of a small machine.
    let mut ticks = interval(Duration::from_millis(1));
    while !world.stop.load(Ordering::Acquire) {
        ticks.tick().await;
        let id = ids[rng.random_range(0..ids.len())];
        let backend = world.pick(&mut rng);
        let (node, start) = (&backend.mesh, Instant::now());
        let session = match node.load(id).await {
            Ok(Some(session)) => session,
            other => {
                world.fail(&backend, format!("load of {id} on {} in {:?}: {other:?}", node.name(), start.elapsed()));
                continue;
            }
        };
        let read = start.elapsed();
        let seen = session.get::<usize>("count").expect("a number").unwrap_or(0);
        let told = counts[&id];
        if seen < told {
            let owners = node.owners(id);
            world.fail(&backend, format!("{} shows {seen} of {told} of {id}, owners {owners:?}", node.name()));
        }
        let next = seen.max(told) + 1;
        session.insert("count", &next).expect("a number is JSON");
        match session.commit().await {
            Ok(_) => drop(counts.insert(id, next)),
            // It has handed over what it had and takes no more. Nothing was changed, so another node can do it.
            Err(CommitError::Left) if backend.leaves.load(Ordering::SeqCst) => {
                world.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let took = start.elapsed();
                world.fail(
                    &backend,
                    format!("commit of {id} on {}, read in {read:?}, all in {took:?}: {error}", node.name()),
                );
            }
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_two_do_not_wait_for_each_other() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        for delay_ms in [0, 1, 3, 10, 30] {
            let mut cluster = Cluster::start(2, mode).await;
            create_sessions(&cluster[0], 20).await;
            let (one, other) = (cluster.take("n0"), cluster.take("n1"));
            let (start, lag) = (Instant::now(), Lag::watch());
            let later = async {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                other.leave(PATIENCE).await
            };
            let (first, second) = tokio::join!(one.leave(PATIENCE), later);
            first.expect("nobody is left who could take more");
            second.expect("nobody is left at all");
            let took = lag.take_off(start.elapsed());
            assert!(took < Duration::from_secs(2), "{mode:?}, {delay_ms} ms: {took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_node_leaves_at_once_and_two_can_leave_together() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let mut cluster = Cluster::start(4, mode).await;
        let mut ids = Vec::new();
        for node in cluster.nodes() {
            ids.extend(create_sessions(node, 50).await);
        }
        let (one, other) = (cluster.take("n1"), cluster.take("n3"));
        let (first, second) = tokio::join!(one.leave(PATIENCE), other.leave(PATIENCE));
        first.expect("handed over");
        second.expect("handed over");
        drop((one, other));
        cluster.settled().await;
        settled_and_exact(&cluster.all(), &ids).await;
        cluster.leave("n0").await;
        cluster.settled().await;
        for id in &ids {
            assert!(cluster[0].load(*id).await.expect("alone").is_some(), "{mode:?}: {id} is lost");
        }
        let (start, lag) = (Instant::now(), Lag::watch());
        cluster.leave("n2").await;
        let took = lag.take_off(start.elapsed());
        assert!(took < Duration::from_secs(2), "{mode:?}: nobody to hand over to, {took:?}");
    }
}
