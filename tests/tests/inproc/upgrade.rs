//! Nodes of different versions in one cluster, as in a rolling upgrade. The next version is rehearsed: it differs from the
//! newest one in every message.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sessionmesh::{Discovery, Failure, Mesh, MeshBuilder, Secret, SessionId, StartError, Versions};
use sessionmesh_core::wire::version::Version;
use sessionmesh_testkit::cluster::{
    Cluster, PATIENCE, check, create_sessions, eventually, eventually_async, load, settled_and_exact,
};
use sessionmesh_testkit::network::TestNetwork;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing_subscriber::util::SubscriberInitExt as _;

const N: u16 = Version::NEWEST.number();
/// How soon both sides know that they do not fit together.
const SAID_WITHIN: Duration = Duration::from_secs(2);
const VISITORS: usize = 4;

/// Has a node speak the versions from N and `oldest` to N and `newest`.
fn speaks(oldest: u16, newest: u16) -> impl FnOnce(MeshBuilder) -> MeshBuilder {
    move |builder| builder.protocol_versions(Versions::new(N + oldest, N + newest))
}

/// Visitors that write and read their sessions on any node that takes them, and find each time what they wrote last.
struct Visitors {
    /// The nodes that take visitors; each is held while it serves one.
    doors: Arc<Mutex<Vec<Arc<AsyncMutex<Mesh>>>>>,
    served: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<(SessionId, usize)>>,
}

impl Visitors {
    fn start(nodes: &[Mesh], ids: &[SessionId]) -> Self {
        let doors = nodes.iter().cloned().map(|node| Arc::new(AsyncMutex::new(node))).collect();
        let doors = Arc::new(Mutex::new(doors));
        let (served, stop, mut tasks) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default(), JoinSet::new());
        for own in ids.chunks(ids.len().div_ceil(VISITORS)) {
            let (doors, served, stop, own) = (doors.clone(), served.clone(), stop.clone(), own.to_vec());
            tasks.spawn(async move { visit(&doors, &served, &stop, &own).await });
        }
        Self { doors, served, stop, tasks }
    }

    fn open(&self, node: &Mesh) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(AsyncMutex::new(node.clone())));
    }

    /// Sends no more visitors to this node, and waits for those that it serves.
    async fn close(&self, name: &str) {
        let mut closed = Vec::new();
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for door in doors {
            if door.lock().await.name() == name {
                closed.push(door);
            }
        }
        let is_closed = |door: &Arc<AsyncMutex<Mesh>>| closed.iter().any(|closed| Arc::ptr_eq(closed, door));
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).retain(|door| !is_closed(door));
        for door in closed {
            drop(door.lock().await);
        }
    }

    /// Waits until so many more requests were served.
    async fn serve(&self, more: usize) {
        let before = self.served.load(Ordering::SeqCst);
        eventually(PATIENCE, || {
            let served = self.served.load(Ordering::SeqCst) - before;
            check(served >= more, || format!("{served} requests served"))
        })
        .await;
    }

    /// The last value of each session, and how many requests were served.
    async fn stop(self) -> (Vec<(SessionId, usize)>, usize) {
        self.stop.store(true, Ordering::SeqCst);
        let written = self.tasks.join_all().await.into_iter().flatten().collect();
        (written, self.served.load(Ordering::SeqCst))
    }
}

/// Panics when a request fails.
async fn visit(
    doors: &Mutex<Vec<Arc<AsyncMutex<Mesh>>>>,
    served: &AtomicUsize,
    stop: &AtomicBool,
    own: &[SessionId],
) -> Vec<(SessionId, usize)> {
    let mut written: Vec<(SessionId, usize)> = own.iter().map(|id| (*id, 0)).collect();
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let at = number % written.len();
        let (id, last) = written[at];
        let door = {
            let doors = doors.lock().unwrap_or_else(PoisonError::into_inner);
            doors[number % doors.len()].clone()
        };
        let node = door.lock().await;
        let session = node.load(id).await.expect("it can be told").expect("it was committed");
        if last > 0 {
            assert_eq!(session.get::<usize>("written").expect("a number"), Some(last), "{id} on {}", node.name());
        }
        session.insert("written", &number).expect("a number is JSON");
        session.commit().await.expect("all owners answer");
        written[at].1 = number;
        served.fetch_add(1, Ordering::SeqCst);
        drop(node);
        tokio::task::yield_now().await;
    }
    written
}

/// Waits until the links of this node speak these versions.
async fn links_of(node: &Mesh, expected: &[(&str, u16)]) {
    eventually(PATIENCE, || {
        let spoken = node.link_versions();
        let expected = expected.iter().map(|(name, more)| ((*name).to_owned(), N + more)).collect();
        check(spoken == expected, || format!("{} speaks {spoken:?}, not {expected:?}", node.name()))
    })
    .await;
}

async fn all_nodes_are_upgraded_and_one_goes_back(secret: Vec<Secret>) {
    let mut cluster = Cluster::start_with(3, move |builder| builder.secret(secret.clone())).await;
    let ids = create_sessions(&cluster[0], 20).await;
    let visitors = Visitors::start(cluster.nodes(), &ids);
    // One after the other is upgraded; then one goes back, as when something is wrong with the new one.
    let steps = [("n0", 1), ("n1", 1), ("n2", 1), ("n1", 0)];
    for (name, newest) in steps {
        visitors.serve(50).await;
        visitors.close(name).await;
        cluster.leave(name).await;
        let upgraded = cluster.launch(name, speaks(0, newest)).await;
        cluster.settled().await;
        visitors.open(&upgraded);
        let seen = cluster.node("n0");
        match (name, newest) {
            ("n0", _) => links_of(seen, &[("n1", 0), ("n2", 0)]).await,
            ("n1", 1) => links_of(seen, &[("n1", 1), ("n2", 0)]).await,
            ("n2", _) => links_of(seen, &[("n1", 1), ("n2", 1)]).await,
            _ => links_of(seen, &[("n1", 0), ("n2", 1)]).await,
        }
    }
    visitors.serve(50).await;
    let (written, served) = visitors.stop().await;
    println!("FIGURE {served} requests served, none failed");
    settled_and_exact(&cluster.all(), &ids).await;
    for (id, last) in written {
        for node in cluster.nodes() {
            assert_eq!(load(node, id).await.get("written").expect("a number"), Some(last), "{id} on {}", node.name());
        }
    }
    for node in cluster.nodes() {
        let stats = node.stats();
        assert_eq!((stats.refusals.other_version, stats.commit_timeouts), (0, 0), "{}", node.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_upgrade_and_a_step_back_under_load_lose_nothing_and_fail_no_request() {
    // In clear and under a secret, side by side.
    tokio::join!(
        all_nodes_are_upgraded_and_one_goes_back(Vec::new()),
        all_nodes_are_upgraded_and_one_goes_back(Secret::generate().into()),
    );
}

/// What is logged, by the nodes of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn has(&self, words: &[&str]) -> bool {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

/// Starts a node that must not fit in; what it says.
async fn refused(cluster: &Cluster, name: &str, own: impl FnOnce(MeshBuilder) -> MeshBuilder) -> (String, Duration) {
    let seeds = Discovery::seeds(cluster.nodes().iter().map(|node| node.addr().to_string()));
    let builder = Mesh::builder().name(name).cluster(cluster[0].config().cluster.as_str()).discovery(seeds);
    let builder = builder.discovery_window(Duration::from_millis(300));
    let began = Instant::now();
    let failure = match own(builder.secret(cluster.secret())).start().await {
        Err(StartError::Failed(failure)) => failure,
        Err(error) => panic!("{error}"),
        // It heard first of one that it fits.
        Ok(started) => {
            let failure = timeout(PATIENCE, started.failed()).await.expect("it hears of the others");
            assert!(!started.is_ready());
            failure
        }
    };
    assert!(matches!(failure, Failure::OtherVersion { .. }), "{failure}");
    (failure.to_string(), began.elapsed())
}

/// On one thread, whose log is read.
#[tokio::test]
async fn who_speaks_no_version_of_a_member_stays_out_both_sides_say_why_and_nobody_else_notices() {
    let log = Log::default();
    let writer = log.clone();
    let logging = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    // Of several subscribers each is asked whether it listens.
    let _second = tracing_subscriber::registry().set_default();
    let _logging = logging.set_default();

    let mut cluster = Cluster::start_with(2, |builder| builder).await;
    cluster.launch("n2", speaks(0, 1)).await;
    cluster.settled().await;
    let ids = create_sessions(&cluster[0], 20).await;
    let visitors = Visitors::start(cluster.nodes(), &ids);
    let mut ears = cluster.listen();
    // It fits n2, but not the others; it fits nobody; and it fits nobody and no datagram leaves it.
    let deaf = Arc::new(TestNetwork::default().sending(|_, _| false));
    for (at, (oldest, newest)) in [(1, 2), (2, 3), (2, 3)].into_iter().enumerate() {
        let (name, network) = (format!("skips{at}"), deaf.clone());
        let speaks = speaks(oldest, newest);
        let own = |builder: MeshBuilder| if at == 2 { speaks(builder).network(network) } else { speaks(builder) };
        let before: Vec<u64> = cluster.nodes().iter().map(|node| node.stats().refusals.other_version).collect();
        let (says, after) = refused(&cluster, &name, own).await;
        println!("FIGURE {name} is refused after {after:?}");
        assert!(after <= SAID_WITHIN, "{after:?}");
        let theirs = Versions::new(N + oldest, N + newest).to_string();
        let both = [format!("speaks version {N} of the protocol"), format!("this node {theirs}")];
        // Of n2, which speaks one more, if it is asked first.
        let of_n2 = format!("speaks version {} of the protocol", Versions::new(N, N + 1));
        assert!((says.contains(&both[0]) || says.contains(&of_n2)) && says.contains(&both[1]), "{says}");
        eventually(SAID_WITHIN.saturating_sub(after), || {
            let now: Vec<u64> = cluster.nodes().iter().map(|node| node.stats().refusals.other_version).collect();
            check(now.iter().zip(&before).any(|(now, before)| now > before), || "nobody counts it".to_owned())
        })
        .await;
    }
    let theirs = format!("speaks version {} of the protocol, this node {N}", Versions::new(N + 1, N + 2));
    assert!(log.has(&["WARN", "skips0", &theirs, "update the older"]), "{}", log.0.lock().expect("no panic"));
    visitors.serve(50).await;
    let (_, served) = visitors.stop().await;
    println!("FIGURE {served} requests served beside it, none failed");
    assert_eq!(ears.of_members(), [], "no member came or went");
    cluster.settled().await;

    // As soon as the last one is gone that it does not fit, it comes in, and finds what the others hold.
    cluster.leave("n0").await;
    cluster.leave("n1").await;
    let late = cluster.launch("late", speaks(1, 2)).await;
    cluster.settled().await;
    links_of(&late, &[("n2", 1)]).await;
    for id in ids {
        let found = eventually_async(PATIENCE, async || late.load(id).await.map_err(|error| error.to_string())).await;
        assert!(found.is_some(), "{id}");
    }
}
