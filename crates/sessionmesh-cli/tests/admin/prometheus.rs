//! A real Prometheus: it scrapes three nodes, and alerts of faults that are made here. Debian's package `prometheus` has it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use sessionmesh::network::{Network as _, TokioNetwork};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::node::{PATIENCE, ask, log_in, node, started};

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

/// A node under scrutiny.
struct Node {
    child: Child,
    http: String,
    replication: String,
    admin: String,
}

impl Node {
    /// Starts one, which knows another one if there is one.
    async fn start(name: &str, seed: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = node(&["--admin", "127.0.0.1:0"]);
        command.env("SESSIONMESH_NAME", name).env("SESSIONMESH_SEEDS", seed);
        command
            .env("SESSIONMESH_SECRET", "7J1xXFqJxwyv8xNTSWRxrrYHrbLCgUWs3Wr5ymCFB24=")
            .envs(settings.iter().copied());
        let (child, line) = started(command).await;
        let part = |name: &str| line.split_once(name).unwrap().1.split(',').next().unwrap().to_owned();
        Self { child, http: part("http://"), replication: part("replication "), admin: part("admin http://") }
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
    }
}

/// A Prometheus that scrapes each second.
struct Prometheus {
    _child: Child,
    _folder: TempDir,
    targets: PathBuf,
    at: String,
}

impl Prometheus {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = std::fs::read_to_string(Path::new(RULES).join("alerts.yaml")).unwrap();
        // What must last for minutes there must last for a second here.
        let rules: Vec<_> = rules
            .lines()
            .map(|line| if line.trim_start().starts_with("for: ") { "        for: 1s" } else { line })
            .collect();
        let [rules_file, targets, config] =
            ["rules.yaml", "targets.json", "prometheus.yaml"].map(|name| folder.path().join(name));
        std::fs::write(&rules_file, rules.join("\n")).unwrap();
        std::fs::write(&targets, "[]").unwrap();
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\nscrape_configs:\n  - job_name: \
             sessionmesh\n    file_sd_configs: [{{ files: [{}], refresh_interval: 1s }}]\n",
            rules_file.display(),
            targets.display()
        );
        std::fs::write(&config, text).unwrap();
        // It does not say which port it took if it may take any.
        let at = {
            let free = TokioNetwork.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            free.local_addr().unwrap().to_string()
        };
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={at}"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        Self { _child: child, _folder: folder, targets, at }
    }

    fn scrape(&self, nodes: &[&Node]) {
        let mut list = String::new();
        for node in nodes {
            write!(list, "{}\"{}\"", if list.is_empty() { "" } else { "," }, node.admin).unwrap();
        }
        std::fs::write(&self.targets, format!("[{{\"targets\":[{list}]}}]")).unwrap();
    }

    /// What it answers to a path of its API, once it answers.
    async fn api(&self, path: &str) -> Value {
        let start = Instant::now();
        // It needs a moment until it listens.
        while TokioNetwork.connect(self.at.parse().unwrap()).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "Prometheus does not listen");
            sleep(Duration::from_millis(50)).await;
        }
        let (_, text) = ask(&self.at, "GET", path, &[], "").await;
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until `wanted` holds of what it answers.
    async fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        loop {
            let answer = self.api(path).await;
            if wanted(&answer["data"]) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {answer}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn alerts(&self, name: &str) {
        let fires = |data: &Value| {
            let alerts = data["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
            alerts.iter().any(|alert| alert["labels"]["alertname"] == name && alert["state"] == "firing")
        };
        self.until("/api/v1/alerts", name, fires).await;
        println!("FIGURE {name} fired");
    }

    /// Each question of the dashboard is one that it understands and, but for those that only trouble answers, has an answer to.
    async fn answers_all_of_the_dashboard(&self) {
        let text = std::fs::read_to_string(Path::new(RULES).join("dashboard.json")).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
        let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
        assert!(expressions.len() > 20, "{expressions:?}");
        for expression in expressions {
            let asked = expression.replace("$node", ".*").replace("$__rate_interval", "1m").replace("$__range", "1m");
            let encoded: String = asked.bytes().fold(String::new(), |mut encoded, byte| {
                write!(encoded, "%{byte:02X}").unwrap();
                encoded
            });
            let only_in_trouble = expression.ends_with("> 0") || expression.contains("remote_read");
            let is_answered = |data: &Value| {
                let series = data["result"].as_array().map_or(0, Vec::len);
                data["resultType"] == "vector" && (series > 0 || only_in_trouble)
            };
            self.until(&format!("/api/v1/query?query={encoded}"), expression, is_answered).await;
        }
    }

    /// Waits until it has scraped so many nodes that are ready.
    async fn sees_ready(&self, count: usize) {
        let seen = |data: &Value| {
            let series = data["result"].as_array().map(Vec::as_slice).unwrap_or_default();
            series.iter().filter(|series| series["value"][1] == "1").count() == count
        };
        self.until("/api/v1/query?query=sessionmesh_ready", "ready nodes", seen).await;
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

    // One hangs for a moment, and goes on.
    third.signal("-STOP").await;
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
