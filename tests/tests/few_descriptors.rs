//! A node that runs out of file descriptors: its links come first.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use sessionmesh::network::{ByteStream, Network as _, TokioNetwork};
use sessionmesh_tests::process::{PATIENCE, Turn, unique_name};
use sessionmesh_tests::web::{Launch, Visitor, WebNode, eventually};
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
        assert_eq!((answer.status, answer.body["user"].as_str()), (StatusCode::OK, Some("ada")), "{answer:?}");
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
    let idle = idle_visitors(&one).await;
    // A node comes again while they are there: it must get its links, or it would not become ready.
    three.kill().await;
    let three = node("web-3", &cluster, dir, ":").await;
    let mut operator = Visitor::new(one.http(), "an operator");
    eventually(PATIENCE, async || {
        let answer = operator.ask("GET", "/healthz", None).await?;
        let members = answer.body["members"].as_array().map_or(0, Vec::len);
        let well = answer.status == StatusCode::OK && members == 3;
        if well { Ok(()) } else { Err(format!("with {} idle visitors: {answer:?}", idle.len())) }
    })
    .await;
    for node in [&one, &two, &three] {
        eventually(PATIENCE, async || {
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
