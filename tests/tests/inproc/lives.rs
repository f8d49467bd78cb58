//! The lives of one name: whatever the clocks say, the latest goes on, and those that never got in take nothing along.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sessionmesh::network::{DatagramBind, Network as _, TokioNetwork};
use sessionmesh::{Clock, Discovery, Failure, Mesh, Mode, SystemClock};
use sessionmesh_testkit::cluster::{
    Cluster, MODES, PATIENCE, check, create_sessions, eventually, eventually_async, settled_and_exact, unique_name,
};
use sessionmesh_testkit::network::TestNetwork;
use sessionmesh_testkit::rounds::rounds;

/// A node that waits for so many members does not become ready.
const FAR_MORE: u16 = 16;

const HOUR: Duration = Duration::from_secs(3_600);

/// The clocks of a machine whose wall clock is wrong.
#[derive(Debug)]
struct Wrong {
    /// So late it is.
    late: Duration,
}

impl Clock for Wrong {
    fn wall_ms(&self) -> u64 {
        SystemClock.wall_ms().saturating_sub(u64::try_from(self.late.as_millis()).expect("below ages"))
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed()
    }
}

/// The next life of the node `name`, at the same address, with a clock that is late.
async fn live_again(cluster: &mut Cluster, addr: SocketAddr, name: &str, late: Duration) -> Mesh {
    // In one process the life before may still be closing its sockets.
    eventually_async(PATIENCE, async || {
        let streams = TokioNetwork.listen(addr).await.map(drop);
        let datagrams = TokioNetwork.datagrams(DatagramBind::Unicast(addr)).await.map(drop);
        streams.and(datagrams).map_err(|error| error.to_string())
    })
    .await;
    cluster.launch(name, |builder| builder.bind(addr).clock(Arc::new(Wrong { late }))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_with_a_clock_set_back_follows_lives_that_crashed_and_that_stopped_as_planned() {
    let mut cluster = Cluster::start(3, Mode::PrimaryBackup { backups: 1 }).await;
    let mut numbers = vec![cluster[2].members()[2].incarnation];
    let addr = cluster[2].addr();
    for round in 0..rounds(3) {
        // Given a node that crashed, and whose next life, with its clock set back, stopped as planned
        cluster.crash("n2");
        for late in [HOUR * 6, HOUR * 6, SystemClock.elapsed() + HOUR * 24 * 365 * 60] {
            // When it is started again, its clock being set back still, or before 1970,
            let node = live_again(&mut cluster, addr, "n2", late).await;
            cluster.settled().await;
            // Then the others take it in,
            let session = node.create().await.expect("far from full");
            session.insert("user", "ada").expect("text is JSON");
            assert!(session.commit().await.expect("nobody is missing").copies >= 1, "round {round}");
            let members = node.members();
            numbers.push(members.iter().find(|member| &*member.name == "n2").expect("it sees itself").incarnation);
            drop((node, session));
            cluster.leave("n2").await;
        }
        live_again(&mut cluster, addr, "n2", Duration::ZERO).await;
        cluster.settled().await;
        numbers.push(cluster[2].members()[2].incarnation);
    }
    // each with a larger number than all before it.
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
}

/// Addresses where nobody answers any more.
#[derive(Debug, Default)]
struct Ghosts {
    /// How many of them are being asked, and how many were at the same time.
    asked: AtomicUsize,
    at_once: AtomicUsize,
}

/// Counts until it is dropped, as a question is that is given up.
struct Asking(Arc<Ghosts>);

impl Asking {
    fn begin(ghosts: Arc<Ghosts>) -> Self {
        let asked = ghosts.asked.fetch_add(1, Ordering::SeqCst) + 1;
        ghosts.at_once.fetch_max(asked, Ordering::SeqCst);
        Self(ghosts)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_lives_at_addresses_that_answer_nothing_are_asked_at_the_same_time() {
    // Given a name that lived at five addresses before
    let mut cluster = Cluster::start(1, Mode::PrimaryBackup { backups: 1 }).await;
    let mut gone = Vec::new();
    for _ in 0..5 {
        let life = cluster.join("restless").await;
        gone.push(life.addr());
        drop(life);
        cluster.crash("restless");
    }
    // When it is started again, and none of them answers
    let ghosts = Arc::<Ghosts>::default();
    let asked = ghosts.clone();
    let network = TestNetwork::default().dialling(move |to| {
        let asking = gone.contains(&to).then(|| Asking::begin(asked.clone()));
        async move { if asking.is_some() { std::future::pending().await } else { Ok(()) } }
    });
    cluster.launch("restless", |builder| builder.network(Arc::new(network))).await;
    // Then they were all asked together. (Gossip may try connections to some of them, too.)
    let at_once = ghosts.at_once.load(Ordering::SeqCst);
    assert!(at_once >= 5, "{at_once}");
    cluster.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_that_die_before_they_are_ready_take_no_session_along_and_leave_nobody_unsure() {
    for mode in MODES {
        for round in 0..rounds(2) {
            // Given three nodes with sessions
            let mut cluster = Cluster::start(3, mode).await;
            let mut ids = Vec::new();
            for node in cluster.nodes() {
                ids.extend(create_sessions(node, 1_000).await);
            }
            // When two newcomers die as soon as the others count them as members,
            for name in ["x", "y"] {
                cluster.launch(name, |builder| builder.min_members(FAR_MORE)).await;
            }
            eventually(PATIENCE, || {
                check(cluster[0].members().len() == 5, || "the newcomers are not listed yet".to_owned())
            })
            .await;
            cluster.crash("x");
            cluster.crash("y");
            let context = format!("{mode:?}, round {round}");
            cluster.settled().await;
            // Then every session is where it was,
            settled_and_exact(&cluster.all(), &ids).await;
            // and nobody is unsure of what does not exist.
            let nobodys = cluster[1].create().await.expect("far from full").id();
            for node in cluster.nodes() {
                eventually_async(Duration::from_secs(5), async || match node.load(nobodys).await {
                    Ok(None) => Ok(()),
                    other => Err(format!("{context}: {} says {other:?}", node.name())),
                })
                .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_lives_that_could_not_hear_each_other_the_earlier_stops_as_soon_as_it_can() {
    for mode in MODES {
        // Given two halves of a cluster that do not know of each other, each with its own node `twin`,
        let name = unique_name();
        let start = async |node: &str, seeds: Vec<String>| {
            let builder = Mesh::builder().name(node).cluster(name.as_str()).mode(mode);
            let seeds = seeds.into_iter().chain(["127.0.0.1:1".to_owned()]);
            let builder = builder.discovery(Discovery::seeds(seeds)).discovery_window(Duration::from_millis(300));
            builder.start().await.expect("a free port of loopback")
        };
        let a = start("a", vec![]).await;
        let earlier = start("twin", vec![a.addr().to_string()]).await;
        let c = start("c", vec![]).await;
        let later = start("twin", vec![c.addr().to_string()]).await;
        for node in [&a, &earlier, &c, &later] {
            node.ready().await;
        }
        let mut ids = create_sessions(&earlier, 20).await;
        ids.extend(create_sessions(&later, 20).await);
        // When somebody joins who knows both,
        let d = start("d", vec![a.addr().to_string(), c.addr().to_string()]).await;
        // Then the earlier one says that it was replaced, and serves nothing any more,
        let failure = tokio::time::timeout(PATIENCE, earlier.failed()).await.expect("it hears of the later one");
        assert!(matches!(&failure, Failure::Replaced { name, .. } if name == "twin"), "{failure}");
        assert!(!earlier.is_ready());
        assert!(earlier.load(ids[0]).await.is_err(), "it still serves");
        let session = earlier.create().await.expect("a handle can be had");
        session.insert("n", &1).expect("a number is JSON");
        session.commit().await.expect_err("it still takes commits");
        // while the later one goes on,
        let together = [&a, &c, &d, &later];
        eventually(PATIENCE, || {
            let alone = together.iter().find(|node| node.members().len() != 4 || !node.is_ready());
            check(alone.is_none(), || {
                format!("{mode:?}: {} sees {:?}", alone.unwrap().name(), alone.unwrap().members())
            })
        })
        .await;
        // and no session of either half is lost.
        settled_and_exact(&together, &ids).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_has_not_failed() {
    let mut cluster = Cluster::start(2, Mode::PrimaryBackup { backups: 1 }).await;
    let left = cluster.take("n1");
    left.leave(PATIENCE).await.expect("everything is handed over");
    assert_eq!(left.failure(), None);
    tokio::time::timeout(Duration::from_millis(50), left.failed()).await.expect_err("it left as planned");
}
