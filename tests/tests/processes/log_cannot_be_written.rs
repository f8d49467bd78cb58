//! A node whose log cannot be written serves as any other: a full disk, a closed pipe, a reader that does not read.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use sessionmesh_testkit::processes::{PATIENCE, Turn, eventually_async};
use sessionmesh_testkit::web::{Launch, Visitor, WebNode};

/// Rounds of each kind; more by this variable.
const ROUNDS: &str = "MESHTEST_LOG_ROUNDS";

/// What may be wrong with stderr, and how many lines are lost by that at least. The last value keeps a pipe open.
fn kinds() -> [(&'static str, Stdio, u64, Option<io::PipeReader>); 3] {
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let (reader, closed) = io::pipe().expect("a pipe");
    drop(reader);
    let (unread, stalled) = io::pipe().expect("a pipe");
    let mut filled = stalled.try_clone().expect("a second end of it");
    // It is full soon, and then this thread waits until the pipe is gone.
    thread::spawn(move || while filled.write_all(&[b'.'; 1024]).is_ok() {});
    // What waits for a reader is not lost yet.
    [("full", full.into(), 1, None), ("closed", closed.into(), 1, None), ("stalled", stalled.into(), 0, Some(unread))]
}

async fn node(name: &str, cluster: &str, dir: &Path) -> WebNode {
    WebNode::start(Launch::new(name, cluster, dir)).await
}

/// Waits until the node says that it is ready, sees all three, and has lost so many lines of its log at least.
async fn is_well(node: &WebNode, lost: u64) -> u64 {
    eventually_async(PATIENCE, async || {
        let answer = node.sees(3).await;
        let lines = answer.json()["log_lines_lost"].as_u64().unwrap_or_default();
        if lines >= lost { Ok(lines) } else { Err(format!("{} says {answer:?}", node.name())) }
    })
    .await
}

#[tokio::test]
async fn a_node_whose_log_cannot_be_written_serves_and_says_how_much_is_missing() {
    let rounds = std::env::var(ROUNDS).map_or(1, |text| text.parse().expect("a number"));
    let _turn = Turn::wait();
    for round in 0..rounds {
        for (kind, stderr, lost, _unread) in kinds() {
            one_round(round, kind, stderr, lost).await;
        }
    }
    println!("FIGURE {rounds} rounds of each kind");
}

async fn one_round(round: usize, kind: &str, stderr: Stdio, lost_at_least: u64) {
    let dir = tempfile::Builder::new().prefix("meshtest-").tempdir().expect("a temporary directory");
    let (dir, cluster) = (dir.path(), format!("log-{kind}-{round}-{}", std::process::id()));
    // Everything is logged, by all tasks.
    let speechless = Launch { level: "trace", stderr: Some(stderr), ..Launch::new("web-1", &cluster, dir) };
    let (first, second, third) =
        tokio::join!(WebNode::start(speechless), node("web-2", &cluster, dir), node("web-3", &cluster, dir),);
    // A visitor whose session is there before, and one node that dies and comes again, which all others log.
    let mut visitor = Visitor::new(first.http(), "ada");
    visitor.log_in().await.expect("it serves");
    third.kill().await;
    let third = node("web-3", &cluster, dir).await;
    let lost = is_well(&first, lost_at_least).await;
    println!("FIGURE {kind}: {lost} lines were lost");
    for node in [&second, &third] {
        assert_eq!(is_well(node, 0).await, 0, "{kind}, {}", node.name());
    }
    // The connection of before is still there, and so is what the visitor has.
    for _ in 0..20 {
        visitor.is_seen().await;
    }
    // And it stops as planned, without waiting for whoever reads its last words.
    first.stop().await;
    visitor.moved_to(second.http()).is_seen().await;
}

#[tokio::test]
async fn what_is_refused_is_refused_with_its_code_though_nobody_can_be_told() {
    let _turn = Turn::wait();
    for (kind, stderr, _, _unread) in kinds() {
        let mut command = std::process::Command::new(sessionmesh_testkit::processes::program("webnode"));
        command.args(["node", "--config", "/no/such/file.toml"]).env("RUST_LOG", "no=such=level").stderr(stderr);
        let start = tokio::time::Instant::now();
        let status = command.status().expect("a process can be started");
        assert_eq!(status.code(), Some(2), "{kind}");
        assert!(start.elapsed() < Duration::from_secs(20), "{kind}: {:?}", start.elapsed());
    }
}
