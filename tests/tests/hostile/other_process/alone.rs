//! `sessionmesh node`, that nobody talks to but visitors and attackers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use sessionmesh::Secret;
use sessionmesh::network::{ByteStream, DatagramBind, MulticastBind, Network as _, TokioNetwork};
use sessionmesh_testkit::cluster::{PATIENCE, check, eventually_async, unique_name};
use sessionmesh_testkit::observed::{forget_memory_peak_of, kib_of};
use sessionmesh_testkit::waiting::Turn;
use sessionmesh_testkit::web::{Launch, Load, Visitor, WebNode};
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::MutexGuard;

/// By so much the memory of an attacked node may grow: docs/security.md promises it.
const GROWTH_MIB_MAX: u64 = 64;
/// Visitors that come and go while a node is attacked, and the pause between two requests of one.
const VISITORS: usize = 4;
const PACE: Duration = Duration::from_millis(10);

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) decoded: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) members: usize,
}

impl Health {
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.refused.get(reason).copied().unwrap_or_default()
    }

    /// The reasons that were counted since.
    pub(crate) fn since(&self, before: &Self) -> Vec<&str> {
        let more = self.refused.iter().filter(|(reason, count)| **count > before.refused(reason));
        more.map(|(reason, _)| reason.as_str()).collect()
    }
}

/// The secret of a test, and a file with it.
pub(crate) struct SecretFile {
    pub(crate) bytes: [u8; 32],
    file: NamedTempFile,
}

impl SecretFile {
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 32];
        StdRng::from_os_rng().fill_bytes(&mut bytes);
        let mut file = NamedTempFile::new().expect("a temporary file");
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{text}").expect("it can be written");
        Self { bytes, file }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    pub(crate) fn secret(&self) -> Secret {
        let text = std::fs::read_to_string(self.path()).expect("it was written");
        Secret::parse(text.trim()).expect("32 random bytes")
    }
}

/// One process with the example application.
pub(crate) struct Alone {
    pub(crate) node: WebNode,
    pub(crate) cluster: String,
    pub(crate) secret: Option<SecretFile>,
    pub(crate) group: MulticastBind,
    pub(crate) dir: TempDir,
    memory_kib: u64,
    _turn: (MutexGuard<'static, ()>, Turn),
}

impl Alone {
    pub(crate) async fn start(with_secret: bool) -> Self {
        let turn = (Turn::in_this_process().await, Turn::wait());
        let (cluster, secret) = (unique_name(), with_secret.then(SecretFile::new));
        let port = 15_000 + u16::try_from(std::process::id() % 10_000).expect("it is small");
        let group = MulticastBind {
            group: Ipv4Addr::new(228, 0, 0, 4),
            port,
            interface: Ipv4Addr::LOCALHOST,
            ttl: 0,
            loopback: true,
        };
        let dir = tempfile::Builder::new().prefix("meshtest-").tempdir().expect("a temporary directory");
        let node = if with_secret {
            Self::launch("alone", &cluster, secret.as_ref(), group, &dir).await
        } else {
            // By multicast it would hear its own beacons, and only by reading them know that they are its own.
            let settings = vec![("multicast", false.to_string()), ("seeds", "127.0.0.1:1".to_owned())];
            WebNode::start(Launch { settings, ..Launch::new("alone", &cluster, dir.path()) }).await
        };
        forget_memory_peak_of(node.id());
        let memory_kib = kib_of(node.id(), "VmRSS");
        Self { node, cluster, secret, group, dir, memory_kib, _turn: turn }
    }

    /// One more process, with these settings.
    pub(crate) async fn launch(
        name: &str,
        cluster: &str,
        secret: Option<&SecretFile>,
        group: MulticastBind,
        dir: &TempDir,
    ) -> WebNode {
        let mut settings = vec![("multicast_port", group.port.to_string())];
        settings.extend(secret.map(|secret| ("secret_file", secret.path().display().to_string())));
        WebNode::start(Launch { settings, ..Launch::new(name, cluster, dir.path()) }).await
    }

    pub(crate) async fn dial(&self) -> Box<dyn ByteStream> {
        TokioNetwork.connect(self.node.replication()).await.expect("it listens")
    }

    pub(crate) async fn health(&self) -> Health {
        health(&self.node).await.expect("a node that is attacked is well")
    }

    /// Visitors of this node, until they are stopped.
    pub(crate) fn visitors(&self) -> Load {
        Load::start(self.node.http(), VISITORS, PACE, true)
    }

    /// Sends datagrams to the multicast group.
    pub(crate) async fn send_to_group(&self, datagrams: &[Vec<u8>]) {
        let socket = TokioNetwork.datagrams(DatagramBind::Multicast(self.group)).await.expect("loopback has multicast");
        for datagram in datagrams {
            socket.send_to(datagram, (self.group.group, self.group.port).into()).await.expect("loopback takes it");
        }
    }

    /// Waits until each of these reasons is counted since `before`, and nothing was decoded.
    pub(crate) async fn refuses(&self, what: &str, reasons: &[&str], before: &Health) -> Health {
        let health = eventually_async(PATIENCE, async || {
            let health = health(&self.node).await?;
            let counted = reasons.iter().all(|reason| health.refused(reason) > before.refused(reason));
            check(counted, || format!("{what} was not counted as {reasons:?}: {health:?}")).map(|()| health)
        })
        .await;
        assert_eq!((health.decoded, health.members), (before.decoded, before.members), "{what}");
        health
    }

    /// Its visitors noticed nothing, its memory grew within the bound, and it saw nobody.
    pub(crate) async fn is_well(&self, visitors: Load) {
        visitors.goes_on().await;
        let tally = visitors.stop().await;
        println!("FIGURE visitors: {tally}");
        assert!(tally.mishaps.is_empty(), "{:?}", tally.mishaps);
        kept_its_memory(&self.node, self.memory_kib);
        assert!(!self.log().contains("panicked"), "{}", self.log());
        assert_eq!(self.health().await.members, 1);
    }

    /// What the node has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("alone.log")).expect("it logs into this file")
    }
}

/// What a node says of itself now.
pub(crate) async fn health(node: &WebNode) -> Result<Health, String> {
    let answer = Visitor::new(node.http(), "an operator").ask("GET", "/healthz", None).await?.json();
    let refused = serde_json::from_value(answer["refused"].clone()).map_err(|error| format!("{error}: {answer}"))?;
    let decoded = answer["bytes_decoded"].as_u64().ok_or("no bytes_decoded")?;
    Ok(Health { decoded, refused, members: answer["members"].as_array().map_or(0, Vec::len) })
}

/// The memory of a node grew within the bound since it had so many KiB.
pub(crate) fn kept_its_memory(node: &WebNode, before_kib: u64) {
    let grown = kib_of(node.id(), "VmHWM").saturating_sub(before_kib) / 1024;
    println!("FIGURE memory of {} grew by {grown} MiB at most", node.name());
    assert!(grown <= GROWTH_MIB_MAX, "the memory of {} grew by {grown} MiB", node.name());
}
