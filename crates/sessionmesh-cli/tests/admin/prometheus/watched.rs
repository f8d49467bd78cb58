//! Nodes that a Prometheus looks at, and what becomes of them.

use serde_json::Value;
use sessionmesh_testkit::waiting::{check, eventually_async};
use tokio::process::{Child, Command};

use crate::node::{PATIENCE, ask, node, started, try_log_in};

/// Where nobody is.
pub(super) const NOBODY: &str = "127.0.0.1:1";

/// A node under scrutiny.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) child: Child,
    pub(super) name: String,
    pub(super) http: String,
    pub(super) replication: String,
    pub(super) admin: String,
}

/// Each name begins with that of the cluster. It is one of its own for each fault, so that nobody else's nodes are met: ports of
/// nodes that have gone are taken again by others.
pub(super) fn cluster_of(name: &str) -> &str {
    name.split_once('-').unwrap().0
}

/// A node of that name which nobody has started yet.
pub(super) fn named(name: &str, admin: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = node(&["--admin", admin]);
    command.env("SESSIONMESH_NAME", name).env("SESSIONMESH_CLUSTER", cluster_of(name));
    command.env("SESSIONMESH_SECRET", "7J1xXFqJxwyv8xNTSWRxrrYHrbLCgUWs3Wr5ymCFB24=").envs(settings.iter().copied());
    command
}

impl Node {
    /// Starts one that looks for others at `seed`.
    pub(super) async fn start(name: &str, seed: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = named(name, "127.0.0.1:0", settings);
        command.env("SESSIONMESH_SEEDS", seed);
        let (child, line) = started(command).await;
        let part = |name: &str| line.split_once(name).unwrap().1.split(',').next().unwrap().to_owned();
        let (http, replication, admin) = (part("http://"), part("replication "), part("admin http://"));
        Self { child, name: name.to_owned(), http, replication, admin }
    }

    /// Starts a cluster, with a node for each of these settings, and waits until each of them knows that all are ready.
    pub(super) async fn cluster<const N: usize>(name: &str, settings: [&[(&str, &str)]; N]) -> [Self; N] {
        let mut nodes: Vec<Self> = Vec::new();
        for (at, settings) in settings.into_iter().enumerate() {
            let seed = nodes.first().map_or(NOBODY, |first| &first.replication).to_owned();
            nodes.push(Self::start(&format!("{name}-{}", at + 1), &seed, settings).await);
        }
        for node in &nodes {
            node.sees_ready(N).await;
        }
        nodes.try_into().unwrap()
    }

    /// Waits until none of the others is suspected.
    pub(super) async fn trusts_all(&self) {
        eventually_async(PATIENCE, async || {
            let (_, text) = ask(&self.admin, "GET", "/metrics", &[], "").await;
            let mut suspected = text.lines().filter(|line| line.starts_with("sessionmesh_peer_suspected{"));
            let trusts = suspected.all(|line| line.ends_with(" 0"));
            check(trusts, || format!("{} suspects others: {text}", self.name))
        })
        .await;
    }

    async fn sees_ready(&self, members: usize) {
        let ready = format!("sessionmesh_members{{node=\"{}\",state=\"ready\"}}", self.name);
        eventually_async(PATIENCE, async || {
            let seen = self.metric(&ready).await;
            check(seen == members.to_string(), || format!("{} sees {seen} of {members} members", self.name))
        })
        .await;
    }

    /// The value of the first of its metrics that begins like this.
    pub(super) async fn metric(&self, begins: &str) -> String {
        let (_, text) = ask(&self.admin, "GET", "/metrics", &[], "").await;
        let line = text.lines().find(|line| line.starts_with(begins));
        line.unwrap_or_else(|| panic!("no {begins}: {text}")).rsplit(' ').next().unwrap().to_owned()
    }

    pub(super) async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
    }

    /// Somebody logs in: the cookie and who owns the session, if all goes well.
    pub(super) async fn log_in(&self, user: &str) -> Option<(String, Vec<String>)> {
        let (status, cookie, body) = try_log_in(&self.http, user).await;
        if !status.is_success() {
            return None;
        }
        let answer: Value = serde_json::from_str(&body).unwrap();
        let owners = answer["owners"].as_array().unwrap().iter();
        Some((cookie.unwrap(), owners.map(|owner| owner.as_str().unwrap().to_owned()).collect()))
    }

    /// What it answers to a visitor with this cookie.
    pub(super) async fn visited(&self, method: &str, path: &str, cookie: &str) -> u16 {
        let cookie = format!("SESSIONID={cookie}");
        let (status, _) = ask(&self.http, method, path, &[("cookie", &cookie)], "").await;
        status.as_u16()
    }
}
