//! Three nodes and a balancer.

use std::net::{Ipv4Addr, SocketAddr};

use hyper::StatusCode;
use sessionmesh::network::{Network as _, TokioNetwork};

use super::{Balancer, Kind, Launch, Visitor, WebNode};
use crate::cluster::unique_name;
use crate::waiting::{PATIENCE, Turn, eventually_async};

/// The names of the nodes, as in the configurations of the documentation.
pub const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];

/// Up to three nodes, and a balancer in front of them. All processes end with this.
#[derive(Debug)]
pub struct Site {
    /// In this order they are dropped: who logs, then where to.
    nodes: Vec<WebNode>,
    balancer: Balancer,
    addrs: Vec<SocketAddr>,
    cluster: String,
    dir: tempfile::TempDir,
    _turn: Turn,
}

impl Site {
    /// Starts the balancer and these nodes, and waits until the balancer uses them all. None if the balancer is not
    /// installed: then the test says that it is skipped.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn open(kind: Kind, names: &[&str]) -> Option<Self> {
        let Some(program) = kind.program() else {
            eprintln!("SKIPPED: the balancer of {kind:?} is not installed");
            return None;
        };
        let turn = Turn::wait();
        let dir = tempfile::Builder::new().prefix("meshtest-").tempdir().expect("a temporary directory");
        let mut addrs = Vec::new();
        for number in 1..=NAMES.len() {
            let last = u8::try_from(10 + number).expect("three nodes");
            addrs.push(free(Ipv4Addr::new(127, 0, 0, last)).await);
        }
        let port = free(Balancer::host()).await.port();
        let nodes: Vec<_> = NAMES.into_iter().zip(addrs.iter().copied()).collect();
        let balancer = Balancer::start(kind, &program, &nodes, port, dir.path());
        let mut site = Self { nodes: Vec::new(), balancer, addrs, cluster: unique_name(), dir, _turn: turn };
        let starting: Vec<_> = names.iter().map(|name| site.starting(name)).collect();
        site.nodes = futures::future::join_all(starting).await;
        for name in names {
            site.is_used(name).await;
        }
        Some(site)
    }

    /// Where visitors reach the balancer.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.balancer.addr()
    }

    /// A new visitor.
    #[must_use]
    pub fn visitor(&self, user: &str) -> Visitor {
        Visitor::new(self.addr(), user)
    }

    fn starting(&self, name: &str) -> impl Future<Output = WebNode> + use<> {
        let at = NAMES.iter().position(|known| *known == name).expect("one of the three names");
        let (name, cluster, addr) = (name.to_owned(), self.cluster.clone(), self.addrs[at]);
        let (notice, dir) = (self.balancer.kind().notice(), self.dir.path().to_owned());
        async move {
            let launch = Launch::new(&name, &cluster, &dir);
            WebNode::start(Launch { http: addr, notice, ..launch }).await
        }
    }

    /// Starts a node, and waits until it is ready. The balancer may not know yet.
    pub async fn start(&mut self, name: &str) {
        let node = self.starting(name).await;
        self.nodes.push(node);
    }

    /// Takes a node out, to stop or kill it.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn take(&mut self, name: &str) -> WebNode {
        let at = self.nodes.iter().position(|node| node.name() == name).expect("it runs");
        self.nodes.remove(at)
    }

    /// Waits until the balancer sends requests to this node, also without being told to.
    ///
    /// # Panics
    ///
    /// When it does not, or has ended.
    pub async fn is_used(&mut self, name: &str) {
        let mut visitor = self.visitor("an operator");
        let balancer = &mut self.balancer;
        eventually_async(PATIENCE, async || {
            if let Some(ended) = balancer.ended() {
                panic!("{ended}");
            }
            let answer = visitor.ask("GET", "/healthz", None).await?;
            let found = answer.status == StatusCode::OK && answer.served_by().as_deref() == Some(name);
            if found { Ok(()) } else { Err(format!("the balancer does not use {name}, but answers {answer:?}")) }
        })
        .await;
    }

    /// Restarts every node as a careful operator does: one after the other, the next when the one before is ready again.
    pub async fn restart_one_after_the_other(&mut self) {
        for name in NAMES {
            self.take(name).stop().await;
            self.start(name).await;
        }
    }

    /// How many requests were sent to a second node, as the balancer logged it.
    #[must_use]
    pub fn retried(&self) -> usize {
        self.balancer.retried()
    }
}

/// A free port of this address. Nobody else takes it meanwhile: connections start from other addresses, and of tests
/// only one has its turn.
async fn free(host: Ipv4Addr) -> SocketAddr {
    let listener = TokioNetwork.listen(SocketAddr::from((host, 0))).await.expect("a port is free");
    listener.local_addr().expect("it listens")
}
