//! A real Prometheus: it scrapes nodes, and alerts of faults that are made here. Debian's package `prometheus` has it.

#[cfg(unix)]
mod faults;
mod server;
mod watched;

use std::path::Path;
use std::process::Stdio;

use futures::future::join_all;
use sessionmesh::network::{Network as _, TokioNetwork};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use self::server::Prometheus;
use self::watched::Node;
use crate::node::{PATIENCE, ask, log_in, node, started, try_log_in};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics");

fn is_there(program: &str) -> bool {
    let there =
        std::process::Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        println!("skipped: there is no {program} (Debian: prometheus)");
    }
    there.is_ok()
}

async fn promtool(args: &[&str], stdin: &str) {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{args:?}: {}", said.concat());
}

#[tokio::test]
async fn the_rules_are_valid_and_alert_when_they_should() {
    if is_there("promtool") {
        promtool(&["check", "rules", &format!("{RULES}/alerts.yaml")], "").await;
        promtool(&["test", "rules", &format!("{RULES}/alerts_test.yaml")], "").await;
    }
}

#[test]
fn each_alert_has_its_line_in_the_guide_for_operators() {
    let read = |file: &str| std::fs::read_to_string(Path::new(RULES).join(file)).unwrap();
    let (rules, guide) = (read("alerts.yaml"), read("../operations.md"));
    let named: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let explained: Vec<&str> =
        guide.lines().filter_map(|line| line.strip_prefix("| Sessionmesh")?.split(' ').next()).collect();
    assert_eq!(named, explained.iter().map(|name| format!("Sessionmesh{name}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_metrics_are_as_prometheus_wants_them() {
    let (_child, line) = started(node(&["--admin", "127.0.0.1:0"])).await;
    let (_, at) = line.split_once(", admin http://").unwrap();
    let (_, text) = ask(at, "GET", "/metrics", &[], "").await;
    assert!(text.contains("sessionmesh_ready{node=\"web-1\"} 1"), "{text}");
    if is_there("promtool") {
        promtool(&["check", "metrics"], &text).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn prometheus_scrapes_three_nodes_and_alerts_of_what_happens_to_them() {
    if !is_there("prometheus") {
        return;
    }
    let prometheus = Prometheus::start().await;
    let first = Node::start("web-1", "127.0.0.1:1", &[]).await;
    let second = Node::start("web-2", &first.replication, &[]).await;
    let mut third = Node::start("web-3", &first.replication, &[("SESSIONMESH_MAX_INACTIVE", "20min")]).await;
    for user in ["ada", "bob", "eve"] {
        log_in(&first.http, user).await;
    }
    prometheus.scrape(&[&first, &second, &third]);
    prometheus.sees_ready(3).await;
    prometheus.alerts("SessionmeshSettingsDiffer").await;
    prometheus.answers_all_of_the_dashboard().await;

    // Strangers, who speak in clear.
    for _ in 0..20 {
        let mut stranger = TokioNetwork.connect(first.replication.parse().unwrap()).await.unwrap();
        // It may be closed before all of it is sent.
        let _ = stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    }
    prometheus.alerts("SessionmeshRefuses").await;

    // One hangs for a moment, and goes on. Only who owes an answer is suspected, so there are commits that it is to hold.
    third.signal("-STOP").await;
    let guests: Vec<String> = (0..20).map(|number| format!("guest-{number}")).collect();
    join_all(guests.iter().map(|guest| try_log_in(&first.http, guest))).await;
    prometheus.alerts("SessionmeshPeerSuspected").await;
    third.signal("-CONT").await;
    prometheus.sees_ready(3).await;

    // One that finds nobody calls itself a node of the same cluster.
    let alone = Node::start("web-4", "127.0.0.1:1", &[]).await;
    prometheus.scrape(&[&first, &second, &third, &alone]);
    prometheus.alerts("SessionmeshNodeAlone").await;
    prometheus.alerts("SessionmeshViewsDiffer").await;

    // Anybody could read and write what this one sends.
    let open = [
        ("SESSIONMESH_BIND", "0.0.0.0:0"),
        ("SESSIONMESH_ADVERTISE", "127.0.0.1:0"),
        ("SESSIONMESH_INSECURE", "true"),
        ("SESSIONMESH_SECRET", ""),
    ];
    let insecure = Node::start("web-5", "127.0.0.1:1", &open).await;
    prometheus.scrape(&[&first, &second, &third, &insecure]);
    prometheus.alerts("SessionmeshInsecure").await;

    // A crash; and then another one, of which with one backup not all can be known.
    third.child.kill().await.unwrap();
    prometheus.alerts("SessionmeshNodeDown").await;
    let (mut fourth, mut fifth) =
        (Node::start("web-6", &first.replication, &[]).await, Node::start("web-7", &first.replication, &[]).await);
    log_in(&fourth.http, "joe").await;
    tokio::join!(async { fourth.child.kill().await.unwrap() }, async { fifth.child.kill().await.unwrap() });
    prometheus.alerts("SessionmeshSessionsUnknown").await;
}
