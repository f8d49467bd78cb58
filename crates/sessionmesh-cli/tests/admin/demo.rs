//! The page of the demo without a browser: its buttons, and who may press them.

use std::process::Stdio;

use hyper::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::node::{PATIENCE, ask};

/// Starts a demo of two nodes, and says where its page is.
async fn demo() -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionmesh"));
    command.args(["demo", "--nodes", "2", "--discovery", "seeds", "--load", "50"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reading = async {
        let mut is_next = false;
        while let Some(line) = lines.next_line().await.unwrap() {
            match line.trim().strip_prefix("http://") {
                Some(at) if is_next => return at.trim_end_matches('/').to_owned(),
                _ => is_next |= line.contains("and watch:"),
            }
        }
        panic!("it ended without saying where its page is");
    };
    let at = timeout(PATIENCE, reading).await.expect("it says where its page is");
    (child, at)
}

async fn press(at: &str, what: &str, node: &str) -> StatusCode {
    let body = format!("{{\"node\":\"{node}\"}}");
    ask(at, "POST", &format!("/stage/{what}"), &[("content-type", "application/json")], &body).await.0
}

async fn look(at: &str) -> Value {
    let (status, text) = ask(at, "GET", "/stage", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn until(at: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
    let start = Instant::now();
    loop {
        let shown = look(at).await;
        if wanted(&shown) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: {shown}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn its_buttons_kill_freeze_cut_and_start_nodes_and_nothing_is_lost() {
    let (_child, at) = demo().await;
    let visited = |shown: &Value| shown["load"]["acknowledged"].as_u64().unwrap_or_default();
    until(&at, "visitors come", |shown| visited(shown) > 50).await;
    for (what, state) in [
        ("kill", "dead"),
        ("start", "running"),
        ("freeze", "frozen"),
        ("thaw", "running"),
        ("cut", "cut"),
        ("heal", "running"),
    ] {
        assert_eq!(press(&at, what, "node-2").await, StatusCode::OK, "{what}");
        until(&at, what, |shown| shown["nodes"][1]["state"] == state).await;
        let before = visited(&look(&at).await);
        until(&at, "visitors are served all the same", |shown| visited(shown) > before + 20).await;
    }
    let shown = look(&at).await;
    assert_eq!(shown["load"]["lost"], 0, "{shown}");
    let (status, text) = ask(&at, "GET", "/v1/members", &[], "").await;
    assert!(status == StatusCode::OK && text.contains("node-1"), "it looks through a node: {text}");
}

#[tokio::test]
async fn only_this_machine_presses_them_and_mistakes_change_nothing() {
    let (_child, at) = demo().await;
    let body = "{\"node\":\"node-1\"}";
    for foreign in [("host", "evil.example"), ("origin", "http://evil.example")] {
        let headers = [("content-type", "application/json"), foreign];
        for path in ["/stage/kill", "/stage", "/v1/members", "/page"] {
            let method = if path == "/stage/kill" { "POST" } else { "GET" };
            assert_eq!(ask(&at, method, path, &headers, body).await.0, StatusCode::FORBIDDEN, "{path} {foreign:?}");
        }
    }
    assert_eq!(press(&at, "kill", "node-9").await, StatusCode::CONFLICT);
    assert_eq!(press(&at, "start", "node-1").await, StatusCode::CONFLICT, "it runs");
    assert_eq!(press(&at, "explode", "node-1").await, StatusCode::BAD_REQUEST);
    let shown = look(&at).await;
    assert!(shown["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "running"), "{shown}");
}
