//! A peer that is there, gossips and takes connections, but answers nothing.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use sessionmesh::network::{Network as _, TokioNetwork};
use sessionmesh::{Commit, CommitError, Mesh, MeshBuilder, Mode, Session, SessionId};
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::cluster::{Cluster, MODES, PATIENCE, check, eventually_async, settled_and_exact};
use sessionmesh_testkit::network::TestNetwork;
use sessionmesh_testkit::waiting::Turn;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_millis(1_000);
/// What a slow machine may add to a deadline, beside what is measured.
const SLACK: Duration = Duration::from_millis(150);
/// A commit that waits for healthy nodes only takes a millisecond, and on a shared machine now and then a hundred. One that
/// waits for the hung peer takes 700 at least: before, nobody gives it up.
const FAST: Duration = Duration::from_millis(600);
const SESSIONS: usize = 60;
/// The engine's limit. A session may be in several batches that were not answered.
const BATCHES_UNDER_WAY_MAX: usize = 4;

struct Scene {
    cluster: Cluster,
    hangs: Arc<AtomicBool>,
    /// Sessions that `hung` owns, made on the other nodes; and such that it does not own.
    ids: Vec<SessionId>,
}

/// Three nodes and one that can hang, with sessions.
async fn scene(mode: Mode) -> Scene {
    scene_with(mode, |builder| builder).await
}

/// [`scene`], with other settings.
async fn scene_with(mode: Mode, set: impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static) -> Scene {
    let hangs = Arc::<AtomicBool>::default();
    let network = TestNetwork::default().hanging(hangs.clone());
    let mut cluster = Cluster::start_with(3, move |builder: MeshBuilder| {
        set(builder.mode(mode).commit_deadline(DEADLINE).read_deadline(DEADLINE))
    })
    .await;
    cluster.launch("hung", |builder| builder.network(Arc::new(network))).await;
    cluster.settled().await;
    let mut ids = Vec::new();
    for number in 0..SESSIONS {
        let session = cluster[number % 3].create().await.expect("far from full");
        session.insert_bytes("data", [0; 1024]);
        session.commit().await.expect("calm");
        ids.push(session.id());
    }
    settled_and_exact(&cluster.all(), &ids).await;
    Scene { cluster, hangs, ids }
}

impl Scene {
    /// Loads each session on a healthy node.
    async fn load_all(&self) -> Vec<Session> {
        let load = |(number, id)| async move {
            let node = &self.cluster[number % 3];
            let (start, lag) = (Instant::now(), Lag::watch());
            let found = node.load(id).await;
            let took = lag.take_off(start.elapsed());
            assert!(matches!(found, Ok(Some(_))), "{} after {took:?}: {found:?}", node.name());
            assert!(took < DEADLINE + SLACK, "a read on {} took {took:?}", node.name());
            found.expect("see above").expect("see above")
        };
        join_all(self.ids.iter().copied().enumerate().map(load)).await
    }

    /// However much is written, an outbox has no more than one mark for each session, and the batches under way.
    fn outboxes_are_bounded(&self) {
        for node in &self.cluster.nodes()[..3] {
            let stats = node.stats();
            let most = self.ids.len() * (1 + BATCHES_UNDER_WAY_MAX);
            assert!(stats.outbox <= most, "{}: {} for {} sessions", node.name(), stats.outbox, self.ids.len());
        }
    }
}

/// A commit, and how long it took without what a busy machine adds.
async fn timed(session: &Session, value: u8) -> (Duration, Result<Commit, CommitError>) {
    session.insert_bytes("data", vec![value; 1024]);
    let (start, lag) = (Instant::now(), Lag::watch());
    let commit = session.commit().await;
    (lag.take_off(start.elapsed()), commit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_peer_costs_one_deadline_once_and_nothing_else() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let scene = scene(mode).await;
        let handles = scene.load_all().await;
        scene.hangs.store(true, Ordering::Release);

        // All at once, while nobody knows yet.
        let first = join_all(handles.iter().map(|session| timed(session, 1))).await;
        let slowest = first.iter().map(|(took, _)| *took).max().expect("some");
        for (took, commit) in &first {
            assert!(*took < DEADLINE + SLACK, "{mode:?}: {took:?}: {commit:?}");
            assert!(matches!(commit, Ok(_) | Err(CommitError::TimedOut { .. })), "{mode:?}: {commit:?}");
        }
        let timed_out = first.iter().filter(|(_, commit)| commit.is_err()).count();
        scene.outboxes_are_bounded();

        // From now on it is left out.
        for round in 2..12 {
            let later = join_all(handles.iter().map(|session| timed(session, round))).await;
            for (took, commit) in &later {
                assert!(*took < FAST, "{mode:?}: round {round} waited again, {took:?}: {commit:?}");
                let copies = commit.as_ref().unwrap_or_else(|error| panic!("{mode:?}: round {round}: {error}")).copies;
                assert!(copies >= 1, "{mode:?}: a stand-in holds it");
            }
            scene.outboxes_are_bounded();
        }
        println!("FIGURE {mode:?}: the slowest first commit took {slowest:?}, {timed_out} of {SESSIONS} timed out");

        // Nothing of it was lost, and reads go on.
        let start = Instant::now();
        for session in scene.load_all().await {
            assert_eq!(session.get_bytes("data").expect("it was written")[0], 11, "{mode:?}");
        }
        println!("FIGURE {mode:?}: {SESSIONS} reads at once took {:?}", start.elapsed());
        let created = scene.cluster[0].create().await.expect("far from full");
        created.commit().await.expect("it goes on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_where_users_may_have_few_sessions_waits_no_longer_than_any_commit() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let few = |builder: MeshBuilder| builder.max_sessions_per_user(1_u32).user_attribute(Some("user".to_owned()));
        let scene = scene_with(mode, few).await;
        scene.hangs.store(true, Ordering::Release);
        for round in 0..3 {
            let session = scene.cluster[round].create().await.expect("far from full");
            session.insert("user", "ada").expect("text is JSON");
            let (took, commit) = timed(&session, 1).await;
            assert!(took < DEADLINE + SLACK, "{mode:?}: {took:?}: {commit:?}");
            assert!(matches!(commit, Ok(_) | Err(CommitError::TimedOut { .. })), "{mode:?}: {commit:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_hangs_for_long_stays_left_out_and_memory_stays_bounded() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let scene = scene(mode).await;
        let handles = scene.load_all().await;
        scene.hangs.store(true, Ordering::Release);
        join_all(handles.iter().map(|session| timed(session, 250))).await;
        let mut ears = scene.cluster.listen();
        let (start, mut round) = (Instant::now(), 1_u8);
        let (mut slow, mut commits) = (Vec::new(), 0);
        while start.elapsed() < Duration::from_secs(4) {
            for (took, commit) in join_all(handles.iter().map(|session| timed(session, round))).await {
                commit.unwrap_or_else(|error| panic!("{mode:?}: after {:?}: {error}", start.elapsed()));
                commits += 1;
                if took >= FAST {
                    slow.push((start.elapsed(), took));
                }
            }
            scene.load_all().await;
            scene.outboxes_are_bounded();
            round = round.wrapping_add(1);
        }
        println!("FIGURE {mode:?}: {commits} commits beside a hung peer, {} slow", slow.len());
        let heard = ears.heard();
        assert!(slow.is_empty(), "{mode:?}: it was waited for again: {:?}; {heard:?}", &slow[..slow.len().min(5)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_hangs_no_longer_gets_all_it_missed_and_is_waited_for_again() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let scene = scene(mode).await;
        let handles = scene.load_all().await;
        scene.hangs.store(true, Ordering::Release);
        for round in 1..5 {
            join_all(handles.iter().map(|session| timed(session, round))).await;
        }
        scene.hangs.store(false, Ordering::Release);
        settled_and_exact(&scene.cluster.all(), &scene.ids).await;
        let hung: &Mesh = scene.cluster.node("hung");
        for id in &scene.ids {
            eventually_async(PATIENCE, async || {
                let found = hung.load(*id).await.map_err(|error| error.to_string())?;
                let session = found.ok_or("it is lost")?;
                let value = session.get_bytes("data").expect("it was written")[0];
                check(value == 4, || format!("{mode:?}: it reads {value}"))
            })
            .await;
        }
        eventually_async(PATIENCE, async || {
            let suspected: Vec<_> = scene.cluster.nodes().iter().map(|node| node.stats().suspected).collect();
            check(suspected.iter().all(Vec::is_empty), || format!("{mode:?}: {suspected:?} are suspected"))
        })
        .await;
        for (number, session) in handles.iter().enumerate() {
            let (_, commit) = timed(session, 100).await;
            let owners = scene.cluster[0].owners(session.id()).len();
            let here = usize::from(scene.cluster[number % 3].holds(session.id()));
            assert!(commit.expect("calm again").copies + here >= owners, "{mode:?}: all owners are waited for");
        }
    }
}

#[tokio::test]
async fn the_fake_swallows_what_it_is_sent() {
    let hangs = Arc::<AtomicBool>::default();
    let network = TestNetwork::default().hanging(hangs.clone());
    let listener = network.listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let mut dialled = TokioNetwork.connect(listener.local_addr().expect("bound")).await.expect("it listens");
    let (mut accepted, _) = listener.accept().await.expect("it was dialled");
    hangs.store(true, Ordering::Release);
    tokio::io::AsyncWriteExt::write_all(&mut dialled, b"hello").await.expect("it takes it");
    let mut space = [0; 16];
    let mut buffer = ReadBuf::new(&mut space);
    let read = tokio::time::timeout(
        Duration::from_millis(50),
        poll_fn(|cx| Pin::new(&mut accepted).poll_read(cx, &mut buffer)),
    );
    assert!(read.await.is_err(), "nothing comes out");
}
