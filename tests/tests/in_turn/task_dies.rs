//! What an application logs with panics in the tasks of a node: the node is gone, and says so.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sessionmesh::{CommitError, Discovery, Failure, Mesh, Mode, Session, SessionId, StartError};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, eventually, unique_name};
use sessionmesh_testkit::waiting::Turn;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing_subscriber::util::SubscriberInitExt as _;

/// So fast a node that has stopped says that it cannot tell, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Writes nothing, and panics over lines with a certain text once it is armed.
struct Panicking {
    over: &'static str,
    armed: Arc<AtomicBool>,
}

impl Write for Panicking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        assert!(!self.armed.load(Ordering::SeqCst) || !line.contains(self.over), "the disk is full");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A node on a thread of its own, which logs through [`Panicking`].
struct Victim {
    mesh: Result<Mesh, StartError>,
    _end: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Victim {
    fn start(builder: sessionmesh::MeshBuilder, over: &'static str, armed: &Arc<AtomicBool>) -> Self {
        let (started, starting) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let armed = armed.clone();
        let thread = thread::spawn(move || {
            let writer = move || Panicking { over, armed: armed.clone() };
            let filter = tracing_subscriber::EnvFilter::new("sessionmesh=debug");
            let logging = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer);
            // As long as there is one subscriber only, what is logged for the first time asks the thread it is logged on
            // whether anybody listens: a node of another thread would silence it for this one, too. Of two all are asked.
            let _second = tracing_subscriber::registry().set_default();
            let _logging = logging.set_default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                started.send(builder.start().await).expect("the test waits");
                // The test drops its half when it is over.
                let _ = ended.await;
            });
        });
        let mesh = starting.recv().expect("it starts, or says why not");
        Self { mesh, _end: end, _thread: thread }
    }
}

async fn a_failed_node_is_gone(over: &'static str, task: &str) {
    let name = unique_name();
    let of_cluster = name.clone();
    let mut cluster = Cluster::start_with(2, move |builder| {
        builder.mode(Mode::PrimaryBackup { backups: 1 }).cluster(of_cluster.as_str())
    })
    .await;
    let armed = Arc::new(AtomicBool::new(false));
    let seeds = Discovery::seeds([cluster[0].addr().to_string()]);
    let builder = Mesh::builder().name("victim").cluster(name.as_str()).discovery(seeds).secret(cluster.secret());
    let victim = Victim::start(builder, over, &armed);
    let mesh = victim.mesh.as_ref().expect("it starts");
    timeout(PATIENCE, mesh.ready()).await.expect("it becomes ready");
    assert_eq!((mesh.is_ready(), mesh.failure()), (true, None));
    let session: Session = mesh.create().await.expect("far from full");
    // When a member is gone, which every task logs in its way
    armed.store(true, Ordering::SeqCst);
    cluster.crash("n1");
    // Then the node stops, and says why, typed and in words.
    let failure = timeout(PATIENCE, mesh.failed()).await.expect("it stops");
    assert_eq!(mesh.failure().as_ref(), Some(&failure));
    assert!(matches!(&failure, Failure::Task { task: failed, .. } if *failed == task), "{failure}");
    assert!(failure.to_string().contains("panicked: the disk is full"), "{failure}");
    assert!(!mesh.is_ready());
    session.insert("key", "value").expect("a text is JSON");
    let refused = session.commit().await.expect_err("it takes nothing any more");
    assert!(matches!(refused, CommitError::Left), "{refused}");
    let asked = Instant::now();
    mesh.load(SessionId::from_bytes([7; 16])).await.expect_err("it cannot tell of what it may have missed");
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    let start = Instant::now();
    let left = mesh.leave(PATIENCE).await;
    assert!(left.is_err() || mesh.stats().sessions == 0, "{left:?}");
    assert!(start.elapsed() < PATIENCE / 2, "nobody waits for a hand-over that cannot be: {:?}", start.elapsed());
    // The others go on without it, and a newcomer waits for nobody, though the process is still there.
    let newcomer = cluster.launch("late", |builder| builder).await;
    let start = Instant::now();
    timeout(PATIENCE, newcomer.ready()).await.expect("the newcomer becomes ready");
    eventually(PATIENCE, || {
        let names: Vec<_> = cluster[0].members().iter().map(|member| member.name.to_string()).collect();
        if names == ["late", "n0"] { Ok(()) } else { Err(format!("the members are {names:?}")) }
    })
    .await;
    println!("FIGURE {task}: the newcomer was ready after {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_views_have_died_is_gone() {
    let _turn = Turn::in_this_process().await;
    a_failed_node_is_gone("sessionmesh::event: member down", "views").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_dead_link_is_gone() {
    let _turn = Turn::in_this_process().await;
    a_failed_node_is_gone("engine::link::outgoing: the link could not be opened", "link").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_fails_while_it_starts_does_not_start() {
    let _turn = Turn::in_this_process().await;
    let armed = Arc::new(AtomicBool::new(true));
    // No resolver needs to ask anybody about such a name.
    let names = Discovery::dns("no..name:7700");
    let builder = Mesh::builder().name("victim").cluster(unique_name().as_str()).discovery(names);
    let builder = builder.discovery_window(Duration::from_secs(30));
    let victim = Victim::start(builder, "a name of `seeds` or `dns` cannot be resolved", &armed);
    let error = victim.mesh.expect_err("half a node is none");
    assert!(matches!(&error, StartError::Failed(Failure::Task { task: "names", .. })), "{error}");
}
