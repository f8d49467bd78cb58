//! The nodes that are attacked, and how they fare.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use sessionmesh::network::{ByteStream, Network as _, TokioNetwork};
use sessionmesh::{Mesh, Mode, Secret, SessionId, UserIndex};
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Hello, MAGIC, Message};
use sessionmesh_core::wire::version::Versions;
use sessionmesh_testkit::cluster::{Cluster, eventually};
use sessionmesh_testkit::network::TestNetwork;
use sessionmesh_testkit::observed::{PanicCounter, forget_memory_peak, process_kib};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::DEADLINE;
use crate::wire::{receive, send};

/// So many datagrams are overheard, for a test that changes them.
const HEARD_MAX: usize = 200;

static PANICS: LazyLock<PanicCounter> = LazyLock::new(PanicCounter::install);

/// Two nodes under observation.
pub(crate) struct Target {
    pub(crate) cluster: Cluster,
    name: String,
    pub(crate) ids: Vec<SessionId>,
    memory_kib: u64,
    panics: usize,
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Target {
    /// Without a secret: strangers get as far as to be heard.
    pub(crate) async fn new() -> Self {
        Self::with(Vec::new()).await
    }

    pub(crate) async fn with_secret() -> Self {
        Self::with(Secret::generate().into()).await
    }

    async fn with(secret: Vec<Secret>) -> Self {
        LazyLock::force(&PANICS);
        let datagrams = Arc::new(Mutex::new(Vec::new()));
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = datagrams.clone();
        let network = Arc::new(TestNetwork::default().hearing(move |datagram| {
            let mut heard = heard.lock().expect("no panic");
            if heard.len() < HEARD_MAX {
                heard.push(datagram.to_vec());
            }
        }));
        let name = sessionmesh_testkit::cluster::unique_name();
        let cluster_name = name.clone();
        let adjust = move |builder: sessionmesh::MeshBuilder| {
            let builder = builder.user_index(UserIndex::attribute("user")).network(network.clone());
            let builder = builder.commit_deadline(DEADLINE).read_deadline(DEADLINE);
            builder.mode(Mode::PrimaryBackup { backups: 1 }).cluster(cluster_name.as_str()).secret(secret.clone())
        };
        let cluster = Cluster::start_with(2, adjust).await;
        let ids = sessionmesh_testkit::cluster::create_sessions(&cluster[0], 20).await;
        let panics = PANICS.places().len();
        forget_memory_peak();
        Self { cluster, name, ids, memory_kib: process_kib("VmRSS"), panics, datagrams }
    }

    pub(crate) fn node(&self) -> &Mesh {
        &self.cluster[0]
    }

    pub(crate) async fn dial(&self) -> Box<dyn ByteStream> {
        TokioNetwork.connect(self.node().addr()).await.expect("it listens")
    }

    /// A connection that shook hands as a node called `evil` that nobody knows.
    pub(crate) async fn inside(&self) -> Box<dyn ByteStream> {
        let mut stream = self.dial().await;
        send(&mut stream, &self.hello()).await.expect("it reads");
        let answer = receive(&mut stream).await.expect("it answers").expect("it welcomes");
        assert!(matches!(codec::decode_first(&answer), Ok(Message::Welcome(_))));
        stream
    }

    pub(crate) fn hello(&self) -> Message<'_> {
        Message::Hello(Hello {
            magic: MAGIC,
            version_min: Versions::OURS.oldest(),
            version_max: Versions::OURS.newest(),
            cluster: &self.name,
            name: "evil",
            incarnation: 1,
            addr: "127.0.0.1:9",
            expects: 0,
            counter: 1,
        })
    }

    /// Both nodes serve, see each other, and did not panic; memory grew by less than `mib_max`.
    pub(crate) async fn is_well(&self, mib_max: u64) {
        self.cluster.settled().await;
        for id in &self.ids {
            for node in self.cluster.nodes() {
                let session = node.load(*id).await.expect("it serves").expect("it was committed");
                session.insert("again", &true).expect("a truth is JSON");
                session.commit().await.expect("it serves");
            }
        }
        self.kept_calm(mib_max);
    }

    /// At least `count` datagrams that the nodes received.
    pub(crate) async fn gossip(&self, count: usize) -> Vec<Vec<u8>> {
        let copies = || self.datagrams.lock().expect("no panic").clone();
        eventually(Duration::from_secs(10), || {
            let copies = copies();
            if copies.len() >= count { Ok(copies) } else { Err("too little gossip".to_owned()) }
        })
        .await
    }

    /// Nothing panicked, and memory grew by less than `mib_max`.
    pub(crate) fn kept_calm(&self, mib_max: u64) {
        let places = PANICS.places();
        assert_eq!(places[self.panics..], [""; 0], "places of panics, also in libraries");
        let grown = process_kib("VmHWM").saturating_sub(self.memory_kib) / 1024;
        println!("FIGURE memory grew by {grown} MiB at most");
        assert!(grown <= mib_max, "memory grew by {grown} MiB, {mib_max} are allowed");
    }
}

/// Runs load on both nodes beside `attack`; not one request may fail.
pub(crate) async fn under_load<T>(target: &Target, attack: impl Future<Output = T>) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for node in target.cluster.nodes() {
        let (node, ids, stop) = (node.clone(), target.ids.clone(), stop.clone());
        clients.spawn(async move {
            let mut served = 0_usize;
            let mut ticks = interval(Duration::from_millis(2));
            while !stop.load(Ordering::Acquire) {
                ticks.tick().await;
                let id = ids[served % ids.len()];
                let session = node.load(id).await.expect("it serves").expect("it was committed");
                session.insert("served", &served).expect("a number is JSON");
                session.commit().await.expect("it serves");
                served += 1;
            }
            served
        });
    }
    let result = attack.await;
    stop.store(true, Ordering::Release);
    let served: usize = clients.join_all().await.into_iter().sum();
    println!("FIGURE {served} requests served beside it");
    result
}
