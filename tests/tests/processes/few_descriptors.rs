//! A node that runs out of file descriptors: its links come first.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use hyper::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::network::{ByteStream, Network as _, TokioNetwork};
use sessionmesh::{Mode, SessionId};
use sessionmesh_core::id::Slot;
use sessionmesh_testkit::processes::control::{Attributes, Done, Loaded, Request, Wish};
use sessionmesh_testkit::processes::{
    Cluster, MODES, PATIENCE, Turn, attributes, check, eventually_async, eventually_blocking, unique_name,
};
use sessionmesh_testkit::web::{Launch, Visitor, WebNode};
use tokio::time::{Instant, timeout};

/// Visitors that connect and then say nothing: more than the node may have files.
const IDLE: usize = 200;
/// Requests whose time is looked at.
const REQUESTS: usize = 60;
/// The slowest of them may take so long: below the time after which a silent node is suspected (350 ms).
const SLOWEST: Duration = Duration::from_millis(250);

async fn node(name: &str, cluster: &str, dir: &Path, before: &str) -> WebNode {
    WebNode::start(Launch { before, ..Launch::new(name, cluster, dir) }).await
}

/// Connects and says nothing, as often as it goes.
async fn idle_visitors(to: &WebNode) -> Vec<Box<dyn ByteStream>> {
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(1), TokioNetwork.connect(to.http())).await {
            idle.push(stream);
        }
    }
    idle
}

/// Logs in and looks around, and says how long the slowest request took.
async fn slowest(to: &WebNode) -> Duration {
    let mut visitor = Visitor::new(to.http(), "ada");
    let mut slowest = Duration::ZERO;
    for number in 0..REQUESTS {
        let start = Instant::now();
        let answer = if number % 4 == 0 { visitor.log_in().await } else { visitor.visit().await };
        slowest = slowest.max(start.elapsed());
        let answer = answer.expect("it serves");
        assert_eq!((answer.status, answer.json()["user"].as_str()), (StatusCode::OK, Some("ada")), "{answer:?}");
    }
    slowest
}

#[tokio::test]
async fn idle_visitors_take_no_descriptors_of_links_and_make_room_for_others() {
    let (_turn, dir, cluster) = (Turn::wait(), tempfile::tempdir().expect("a directory"), unique_name());
    let dir = dir.path();
    let (one, two, three) = tokio::join!(
        node("web-1", &cluster, dir, "ulimit -n 64"),
        node("web-2", &cluster, dir, ":"),
        node("web-3", &cluster, dir, ":"),
    );
    let _idle = idle_visitors(&one).await;
    // A node comes again while they are there: it must get its links, or it would not become ready.
    three.kill().await;
    let three = node("web-3", &cluster, dir, ":").await;
    one.sees(3).await;
    for node in [&one, &two, &three] {
        eventually_async(PATIENCE, async || {
            let slowest = slowest(node).await;
            if slowest < SLOWEST { Ok(()) } else { Err(format!("a request on {} took {slowest:?}", node.name())) }
        })
        .await;
    }
}

#[tokio::test]
async fn the_program_takes_as_many_descriptors_as_it_may() {
    let (_turn, dir) = (Turn::wait(), tempfile::tempdir().expect("a directory"));
    let before = "ulimit -Sn 64 && ulimit -Hn 512";
    let node = node("web-1", &unique_name(), dir.path(), before).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.id())).expect("Linux tells");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let files: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(files[3..5], ["512", "512"], "{files:?}");
}

/// Sessions that are read and written while a node has no descriptors.
const SESSIONS: usize = 30;
/// How long a node stands still: longer than a lease, so that it asks afterwards who still counts it.
const STALL: Duration = Duration::from_millis(500);

fn content(number: usize) -> Attributes {
    attributes([("n", &number.to_string())])
}

/// Writes each session on one of these nodes, one after the other, and reads it on every node. The slowest of the requests
/// took so long.
fn slowest_round(cluster: &Cluster, names: &[&str], ids: &[SessionId], number: usize) -> Result<Duration, String> {
    let mut slowest = Duration::ZERO;
    for (at, id) in ids.iter().enumerate() {
        let writer = &cluster[names[at % names.len()]];
        let start = Instant::now();
        let write = Request::Write { writes: vec![(*id, content(number))], ack: Wish::Configured };
        let done: Vec<Done> = writer.ask(&write);
        slowest = slowest.max(start.elapsed());
        check(done[0].acknowledged().is_some(), || format!("on {}: {done:?}", writer.name()))?;
        for reader in cluster.nodes() {
            let start = Instant::now();
            let loaded = reader.load_one(*id);
            slowest = slowest.max(start.elapsed());
            let right = loaded == Loaded::Session(content(number));
            check(right, || format!("on {}: {loaded:?}, not {number}", reader.name()))?;
        }
    }
    Ok(slowest)
}

/// Waits for a round of requests, none of which waited for anybody.
fn nobody_waits(cluster: &Cluster, names: &[&str], ids: &[SessionId], number: &mut usize, context: &str) {
    let (took, slowest) = eventually_blocking(PATIENCE, || {
        *number += 1;
        let slowest = slowest_round(cluster, names, ids, *number).map_err(|wrong| format!("{context}: {wrong}"))?;
        check(slowest < SLOWEST, || format!("{context}: the slowest request took {slowest:?}"))?;
        Ok(slowest)
    });
    println!("{context}: after {took:?} the slowest of a round took {slowest:?}");
}

/// One node has no descriptors left while another one comes again, to which it gets no links.
fn nobody_waits_for_who_has_no_links(mode: Mode) {
    let names = ["a", "b", "c"];
    let mut cluster = Cluster::start(&["a", "b", "c", "starved"], mode);
    let before = cluster["b"].create(vec![content(0); SESSIONS], Wish::Configured);
    cluster.placed(&before);
    // Given a node that may open nothing, and another one that comes again:
    cluster["starved"].take_descriptors();
    cluster.kill("a");
    cluster.launch("a");
    cluster["a"].ready();
    // Then that one notices before a commit has to wait,
    let (took, ()) = eventually_blocking(PATIENCE, || {
        let suspected = cluster["a"].stats().suspected;
        check(suspected.iter().any(|name| name == "starved"), || format!("{mode:?}: a suspects {suspected:?}"))
    });
    println!("{mode:?}: suspected {took:?} after a was ready");
    // and neither there nor elsewhere anything waits,
    let create = Request::Create { sessions: vec![content(0); SESSIONS], ack: Wish::Configured };
    // On a busy machine one may not be confirmed in time; all are written again below.
    let done: Vec<Done> = cluster["a"].ask(&create);
    let id = |done| match done {
        Done::Acknowledged(id, _) | Done::Failed(id, _) => id,
    };
    let ids: Vec<SessionId> = done.into_iter().map(id).chain(before).collect();
    let mut number = 0;
    nobody_waits(&cluster, &names, &ids, &mut number, &format!("{mode:?}"));
    // not even for ids of which only the other one could know,
    let mut rng = StdRng::from_os_rng();
    eventually_blocking(PATIENCE, || {
        (0..SESSIONS).try_for_each(|_| {
            let slot = Slot::masked(rng.random());
            let (id, start) = (SessionId::mint(&mut rng, slot), Instant::now());
            let (loaded, took) = (cluster["a"].load_one(id), start.elapsed());
            assert!(matches!(loaded, Loaded::None | Loaded::CannotTell(_)), "{mode:?}: a says {loaded:?}");
            check(took < SLOWEST, || format!("{mode:?}: {loaded:?} took {took:?}"))
        })
    });
    // also when the node stood still, and cannot hear from the other one whether that counts it.
    cluster["a"].freeze();
    thread::sleep(STALL);
    cluster["a"].thaw();
    nobody_waits(&cluster, &names, &ids, &mut number, &format!("{mode:?}, after a stall"));
    // With descriptors it counts again, and all of them hold what was acknowledged.
    cluster["starved"].give_descriptors();
    println!("{mode:?}: settled after {:?}", cluster.settled());
    cluster.placed(&ids);
    for node in cluster.nodes() {
        node.serves(&ids, &vec![Loaded::Session(content(number)); ids.len()]);
    }
}

#[test]
fn nobody_waits_for_who_has_no_links_since_it_has_no_descriptors() {
    for mode in MODES {
        nobody_waits_for_who_has_no_links(mode);
    }
}
