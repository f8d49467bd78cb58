//! The nodes of the demo, together.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sessionmesh::network::MulticastBind;
use sessionmesh::{Config, Secret};
use tokio::time::sleep;

use super::arguments::{DemoArgs, Discovery, Mode};
use super::child::Node;
use crate::failure::Failure;
use crate::http_client::ask;
use crate::node::ReadyLine;
use crate::probe;
use crate::terminal::{BOLD, FAINT, ODD, millis};

/// How long a datagram on the loopback device may take to come back.
const OWN_LOOP: Duration = Duration::from_secs(1);
/// How long the nodes may take to see each other once they are ready.
const COMPLETE: Duration = Duration::from_secs(15);
/// Time between two questions to a node.
pub(crate) const AGAIN: Duration = Duration::from_millis(20);

/// All nodes, by their order. The one at 0 is `node-1`.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    common: BTreeMap<&'static str, String>,
    discovery: Discovery,
    log: Option<String>,
}

/// Without the settings: the secret is among them.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster without nodes yet.
    pub(crate) async fn new(args: &DemoArgs, log: Option<String>) -> Result<Self, Failure> {
        if args.http_port.checked_add(args.nodes - 1).is_none() {
            let message = format!("there are no {} ports from --http-port {} on", args.nodes, args.http_port);
            return Err(Failure::Refused(message));
        }
        let discovery = available(args.discovery).await;
        Ok(Self { nodes: Vec::new(), common: common(args, discovery), discovery, log })
    }

    /// Says what comes, starts all nodes, and waits until every one sees every other.
    pub(crate) async fn start(&mut self, args: &DemoArgs) -> Result<(), Failure> {
        introduce(args, self.discovery);
        let hint = |failure| match failure {
            Failure::Refused(text) if args.http_port != 0 => {
                Failure::Refused(format!("{text}\ngive the demo another --http-port, or none to use any free ports"))
            }
            other => other,
        };
        // The seed has to be there before the others.
        let alone = u16::from(self.discovery == Discovery::Seeds);
        self.start_nodes(0..alone, args.http_port).await.map_err(hint)?;
        self.start_nodes(alone..args.nodes, args.http_port).await.map_err(hint)?;
        self.complete().await
    }

    async fn start_nodes(&mut self, which: std::ops::Range<u16>, http_port: u16) -> Result<(), Failure> {
        let others: Vec<SocketAddr> = self.nodes.iter().map(|node| node.ready.replication).collect();
        let starting: Vec<_> = which
            .map(|at| {
                let port = if http_port == 0 { 0 } else { http_port + at };
                let settings = self.settings(local(0), local(port), &others);
                Starting(tokio::spawn(Node::start(format!("node-{}", at + 1), settings, self.log.clone())))
            })
            .collect();
        for mut node in starting {
            let node = joined((&mut node.0).await)?;
            show(&node);
            self.nodes.push(node);
        }
        Ok(())
    }

    /// Starts a killed node again, with the addresses that it had.
    pub(crate) async fn restart(&mut self, at: usize) -> Result<(), String> {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<SocketAddr> = others.map(|(_, node)| node.ready.replication).collect();
        self.nodes[at] = self.start_again(&self.nodes[at].ready, &others).await?;
        Ok(())
    }

    /// Starts a node with the name and the addresses that it had, and introduces it to these others.
    pub(crate) async fn start_again(&self, before: &ReadyLine, others: &[SocketAddr]) -> Result<Node, String> {
        let settings = self.settings(before.replication, before.http, others);
        let started = Node::start(before.name.clone(), settings, self.log.clone()).await;
        started.map_err(|failure| match failure {
            Failure::Failed(message) => message.unwrap_or_default(),
            Failure::Refused(message) | Failure::Died(message) | Failure::NobodyStayed(message) => message,
        })
    }

    /// What one node is started with. It is introduced to these others, if seeds are the way.
    fn settings(&self, bind: SocketAddr, http: SocketAddr, others: &[SocketAddr]) -> BTreeMap<&'static str, String> {
        let mut settings = self.common.clone();
        settings.insert("bind", bind.to_string());
        settings.insert("http", http.to_string());
        if self.discovery == Discovery::Seeds {
            let seeds: Vec<_> = others.iter().map(ToString::to_string).collect();
            settings.insert("seeds", seeds.join(","));
        }
        settings
    }

    /// Waits until every node sees every other.
    async fn complete(&mut self) -> Result<(), Failure> {
        let all = async {
            for node in &self.nodes {
                while ask(node.ready.http, "GET", "/healthz", None, None)
                    .await
                    .is_ok_and(|answer| answer.body["members"].as_array().map(Vec::len) != Some(self.nodes.len()))
                {
                    sleep(AGAIN).await;
                }
            }
        };
        if tokio::time::timeout(COMPLETE, all).await.is_err() {
            let instead = match self.discovery {
                Discovery::Multicast => {
                    "try `--discovery seeds`, and `sessionmesh multicast-check --interface 127.0.0.1`"
                }
                Discovery::Seeds => "see why with --log info",
            };
            return Err(Failure::Failed(Some(format!(
                "the nodes did not find each other within {}; {instead}",
                humantime::format_duration(COMPLETE)
            ))));
        }
        Ok(())
    }

    /// Takes out the nodes that have ended by themselves, and says how.
    pub(crate) async fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for mut node in std::mem::take(&mut self.nodes) {
            match node.ended().await {
                Some(how) => ended.push(how),
                None => self.nodes.push(node),
            }
        }
        ended
    }

    /// Ends all nodes, at once: there is nobody left to hand over to.
    pub(crate) async fn end(&mut self) {
        for mut node in self.nodes.drain(..) {
            if let Err(error) = node.kill().await {
                tracing::warn!(%error, "a node may be left running");
            }
        }
    }
}

/// A node that is being started. Dropping it ends the node, too.
#[derive(Debug)]
struct Starting(tokio::task::JoinHandle<Result<Node, Failure>>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn joined(outcome: Result<Result<Node, Failure>, tokio::task::JoinError>) -> Result<Node, Failure> {
    outcome.unwrap_or_else(|error| Err(Failure::Failed(Some(error.to_string()))))
}

/// Multicast where it works on the loopback device, else seeds.
async fn available(wanted: Discovery) -> Discovery {
    if wanted == Discovery::Seeds {
        return wanted;
    }
    match probe::own_loop(group(), OWN_LOOP).await {
        Ok(_) => Discovery::Multicast,
        Err(error) => {
            let odd = ODD;
            anstream::eprintln!(
                "{odd}Multicast does not work on 127.0.0.1{odd:#} ({error}); the demo uses seeds instead.\n"
            );
            Discovery::Seeds
        }
    }
}

fn group() -> MulticastBind {
    let defaults = Config::default();
    MulticastBind {
        group: defaults.multicast_group,
        port: defaults.multicast_port,
        interface: Ipv4Addr::LOCALHOST,
        ttl: 0,
        loopback: true,
    }
}

/// What all nodes have in common. The cluster's name is random, so that two demos do not mix.
fn common(args: &DemoArgs, discovery: Discovery) -> BTreeMap<&'static str, String> {
    let mode = match args.mode {
        Mode::AllToAll => "all-to-all",
        Mode::PrimaryBackup => "primary-backup",
    };
    let multicast = group();
    BTreeMap::from([
        ("cluster", format!("demo-{:016x}", probe::random())),
        ("mode", mode.to_owned()),
        ("backups", args.backups.to_string()),
        ("multicast", (discovery == Discovery::Multicast).to_string()),
        ("multicast_interface", multicast.interface.to_string()),
        ("multicast_ttl", multicast.ttl.to_string()),
        ("admin", local(0).to_string()),
        ("user_attribute", "user".to_owned()),
        // Nobody else gets to see it: it lives as long as the demo.
        ("secret", Secret::generate().to_text().to_string()),
    ])
}

fn introduce(args: &DemoArgs, discovery: Discovery) {
    let mode = match (args.mode, args.backups) {
        (Mode::AllToAll, _) => "every node holds every session".to_owned(),
        (Mode::PrimaryBackup, 1) => "each session on a primary and 1 backup".to_owned(),
        (Mode::PrimaryBackup, backups) => format!("each session on a primary and {backups} backups"),
    };
    let found = match discovery {
        Discovery::Multicast => format!("multicast {}:{} on loopback", group().group, group().port),
        Discovery::Seeds => "seeds".to_owned(),
    };
    let bold = BOLD;
    anstream::println!("{bold}{} nodes, {mode}, found by {found}, encrypted{bold:#}\n", args.nodes);
}

fn show(node: &Node) {
    let (bold, faint) = (BOLD, FAINT);
    let ReadyLine { name, http, replication, .. } = &node.ready;
    let time = millis(node.started_in);
    let pid = node.pid().map_or_else(String::new, |pid| pid.to_string());
    anstream::println!(
        "  {bold}{name:<8}{bold:#} http://{http:<16} {faint}replication {replication:<16} pid {pid:<8} ready after {time}{faint:#}"
    );
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
