//! A real Prometheus with the alerts of docs/metrics.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use hyper::StatusCode;
use serde_json::Value;
use sessionmesh::network::{Network as _, TokioNetwork};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};

use super::RULES;
use super::watched::{Node, cluster_of};
use crate::node::{PATIENCE, ask};

/// How often it is asked whether something has happened.
const LOOK: Duration = Duration::from_millis(200);

/// A Prometheus that scrapes each second.
pub(super) struct Prometheus {
    _child: Child,
    _folder: TempDir,
    targets: PathBuf,
    scraped: Mutex<BTreeSet<String>>,
    at: String,
}

/// A free port, for programs that do not say which one they took if they may take any.
pub(super) async fn free_port() -> String {
    let free = TokioNetwork.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    free.local_addr().unwrap().to_string()
}

impl Prometheus {
    pub(super) async fn start() -> Self {
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
        let at = free_port().await;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={at}"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        Self { _child: child, _folder: folder, targets, scraped: Mutex::default(), at }
    }

    /// Scrapes these nodes and no others.
    pub(super) fn scrape(&self, nodes: &[&Node]) {
        self.change(|scraped| *scraped = nodes.iter().map(|node| node.admin.clone()).collect());
    }

    /// Scrapes the node at this admin address, too.
    pub(super) fn also_scrape(&self, admin: &str) {
        self.change(|scraped| scraped.extend([admin.to_owned()]));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let mut scraped = self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut scraped);
        let list: Vec<_> = scraped.iter().collect();
        // In one step: it reads the file as soon as anything happens to it.
        let new = self.targets.with_extension("new");
        std::fs::write(&new, serde_json::json!([{ "targets": list }]).to_string()).unwrap();
        std::fs::rename(&new, &self.targets).unwrap();
    }

    /// What it answers to a path of its API, once it answers.
    async fn api(&self, path: &str) -> Value {
        let start = Instant::now();
        loop {
            // It needs a moment until it listens, and another one in which it only says that it is not ready.
            if TokioNetwork.connect(self.at.parse().unwrap()).await.is_ok() {
                let (status, text) = ask(&self.at, "GET", path, &[], "").await;
                if status != StatusCode::SERVICE_UNAVAILABLE {
                    return serde_json::from_str(&text).unwrap();
                }
            }
            assert!(start.elapsed() < PATIENCE, "Prometheus is not ready");
            sleep(LOOK).await;
        }
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
            sleep(LOOK).await;
        }
    }

    /// Waits until this alert fires, on whatever node.
    pub(super) async fn alerts(&self, name: &str) {
        self.until("/api/v1/alerts", name, |data| is_firing(data, name, None)).await;
        println!("FIGURE {name} fired");
    }

    /// Waits until this alert fires of a node of this cluster.
    pub(super) async fn alerts_of(&self, name: &str, cluster: &str) {
        self.alerts_while(name, cluster, async || sleep(LOOK).await).await;
    }

    /// Does something again and again until this alert fires of a node of this cluster.
    pub(super) async fn alerts_while(&self, name: &str, cluster: &str, mut fault: impl AsyncFnMut()) {
        let start = Instant::now();
        loop {
            let answer = self.api("/api/v1/alerts").await;
            if is_firing(&answer["data"], name, Some(cluster)) {
                println!("FIGURE {name} fired after {:?}", start.elapsed());
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{name} of {cluster}: {answer}");
            fault().await;
        }
    }

    /// Each question of the dashboard is one that it understands and, but for those that only trouble answers, has an answer to.
    pub(super) async fn answers_all_of_the_dashboard(&self) {
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
    pub(super) async fn sees_ready(&self, count: usize) {
        let seen = |data: &Value| {
            let series = data["result"].as_array().map(Vec::as_slice).unwrap_or_default();
            series.iter().filter(|series| series["value"][1] == "1").count() == count
        };
        self.until("/api/v1/query?query=sessionmesh_ready", "ready nodes", seen).await;
    }

    /// Scrapes a node, too, and waits until it has done so: of what happened before it could not see that it happened.
    pub(super) async fn watches(&self, node: &Node) {
        self.also_scrape(&node.admin);
        let seen = |data: &Value| {
            let mut series = data["result"].as_array().into_iter().flatten();
            series.any(|series| series["metric"]["node"] == *node.name && series["value"][1] == "1")
        };
        self.until("/api/v1/query?query=sessionmesh_ready", &node.name, seen).await;
    }
}

/// Whether an alert fires; of a node of this cluster, if one is named.
fn is_firing(data: &Value, name: &str, cluster: Option<&str>) -> bool {
    let mut alerts = data["alerts"].as_array().into_iter().flatten();
    alerts.any(|alert| {
        let labels = &alert["labels"];
        let is_of = |cluster| labels["node"].as_str().is_some_and(|node| cluster_of(node) == cluster);
        labels["alertname"] == name && alert["state"] == "firing" && cluster.is_none_or(is_of)
    })
}
