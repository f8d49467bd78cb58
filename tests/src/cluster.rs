//! A cluster in one process: several [`Mesh`] nodes on real sockets of 127.0.0.1.
//!
//! Nothing here sleeps for a fixed time: whatever takes time is waited for with [`eventually`], which says at its deadline
//! what was still wrong.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sessionmesh::{Discovery, Event, Events, Mesh, MeshBuilder, ModeName, SessionId};
use tokio::time::{Instant, sleep};

/// Both ways to place sessions, for tests that hold in each.
pub const MODES: [ModeName; 2] = [ModeName::PrimaryBackup, ModeName::AllToAll];
/// How long a cluster may take to settle after any change, before a test fails. Far more than it needs, for slow machines.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long commits and reads of these nodes wait at most, if a test sets nothing else: far more than they need in calm, so
/// that whoever expects them to succeed need not expect a quiet machine.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks of [`eventually`].
const LOOK: Duration = Duration::from_millis(5);

/// Nodes that find each other by seeds. They stop when it is dropped.
pub struct Cluster {
    name: String,
    adjust: Box<dyn Fn(MeshBuilder) -> MeshBuilder + Send + Sync>,
    nodes: Vec<Mesh>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("name", &self.name).field("nodes", &self.names()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// `nodes` nodes called `n0`, `n1` and so on, ready and of one view.
    pub async fn start(nodes: usize, mode: ModeName) -> Self {
        Self::start_with(nodes, move |builder| builder.mode(mode)).await
    }

    /// Like [`Cluster::start`]; `adjust` is applied to every node, also to those that join later.
    pub async fn start_with(nodes: usize, adjust: impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static) -> Self {
        let mut cluster = Self { name: unique_name(), adjust: Box::new(adjust), nodes: Vec::new() };
        for number in 0..nodes {
            cluster.launch(&format!("n{number}"), |builder| builder).await;
        }
        cluster.settled().await;
        cluster
    }

    /// Starts one more node and waits until all are ready and of one view.
    pub async fn join(&mut self, name: &str) -> Mesh {
        let mesh = self.launch(name, |builder| builder).await;
        self.settled().await;
        mesh
    }

    /// Starts one more node and waits for nothing.
    pub async fn launch(&mut self, name: &str, own: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Mesh {
        // A seed that nobody listens at keeps the first node from multicast.
        let mut seeds: Vec<String> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        seeds.push("127.0.0.1:1".to_owned());
        let builder = Mesh::builder().name(name).cluster(self.name.as_str()).discovery(Discovery::seeds(seeds));
        // Alone for sure: the first need not look around for long.
        let window = if self.nodes.is_empty() { 50 } else { 1_000 };
        let builder = builder.discovery_window(Duration::from_millis(window));
        let builder = builder.commit_deadline(DEADLINE).read_deadline(DEADLINE);
        let mesh = own((self.adjust)(builder)).start().await.expect("a node on a free port of loopback starts");
        self.nodes.push(mesh.clone());
        mesh
    }

    /// Takes a node out of the cluster's hands.
    pub fn take(&mut self, name: &str) -> Mesh {
        let at = self.nodes.iter().position(|node| node.name() == name).expect("a node of this name runs");
        self.nodes.remove(at)
    }

    /// Ends a node without a word, as a crash would. Every other clone of its [`Mesh`], also in a session, must be gone.
    pub fn crash(&mut self, name: &str) {
        drop(self.take(name));
    }

    /// Stops a node as planned.
    pub async fn leave(&mut self, name: &str) {
        let mesh = self.take(name);
        mesh.leave(PATIENCE).await.expect("everything is handed over");
    }

    /// Waits until all nodes are ready, of one view, and owe each other nothing.
    pub async fn settled(&self) {
        let names: BTreeSet<&str> = self.names().into_iter().collect();
        eventually(PATIENCE, || {
            for node in &self.nodes {
                let members = node.members();
                let seen: BTreeSet<&str> = members.iter().map(|member| &*member.name).collect();
                check(seen == names, || format!("{} sees {seen:?}, not {names:?}", node.name()))?;
                let incarnations: Vec<u64> = members.iter().map(|member| member.incarnation).collect();
                let here: Vec<u64> = self.nodes[0].members().iter().map(|member| member.incarnation).collect();
                check(incarnations == here, || format!("{} sees other incarnations", node.name()))?;
                let unready = members.iter().find(|member| member.state != sessionmesh::MemberState::Ready);
                check(unready.is_none(), || format!("{} sees {unready:?}", node.name()))?;
                check(node.is_ready(), || format!("{} is not ready", node.name()))?;
                let outbox = node.stats().outbox;
                check(outbox == 0, || format!("the outbox of {} has {outbox} entries", node.name()))?;
            }
            Ok(())
        })
        .await;
    }

    /// The nodes, in the order in which they started.
    pub fn nodes(&self) -> &[Mesh] {
        &self.nodes
    }

    /// The nodes, as [`settled_and_exact`] wants them.
    pub fn all(&self) -> Vec<&Mesh> {
        self.nodes.iter().collect()
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> &Mesh {
        self.nodes.iter().find(|node| node.name() == name).expect("a node of this name runs")
    }

    /// The nodes that own `id`, the primary first.
    pub fn owners(&self, id: SessionId) -> Vec<&Mesh> {
        self.nodes[0].owners(id).iter().map(|name| self.node(name)).collect()
    }

    /// A node that does not own `id`.
    pub fn stranger(&self, id: SessionId) -> &Mesh {
        let owners = self.nodes[0].owners(id);
        let is_owner = |node: &&Mesh| owners.iter().any(|owner| **owner == *node.name());
        self.nodes.iter().find(|node| !is_owner(node)).expect("more nodes than owners")
    }

    /// The names of the nodes.
    pub fn names(&self) -> Vec<&str> {
        self.nodes.iter().map(Mesh::name).collect()
    }

    /// What happens from now on, on all nodes together.
    pub fn listen(&self) -> Ears {
        Ears(self.nodes.iter().map(|node| (node.name().to_owned(), node.events(), Vec::new())).collect())
    }
}

impl Index<usize> for Cluster {
    type Output = Mesh;

    fn index(&self, at: usize) -> &Mesh {
        &self.nodes[at]
    }
}

/// The events of several nodes.
#[derive(Debug)]
pub struct Ears(Vec<(String, Events, Vec<Event>)>);

impl Ears {
    /// Listens to one more node.
    pub fn add(&mut self, node: &Mesh) {
        self.0.push((node.name().to_owned(), node.events(), Vec::new()));
    }

    /// All events so far, with the node that told them.
    pub fn heard(&mut self) -> Vec<(String, Event)> {
        for (_, events, heard) in &mut self.0 {
            heard.extend(std::iter::from_fn(|| events.try_next()));
        }
        let told = |(name, _, heard): &(String, Events, Vec<Event>)| {
            heard.iter().map(|event| (name.clone(), event.clone())).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(told).collect()
    }

    /// How many nodes told of `event`, and how often in all.
    pub fn count(&mut self, event: &Event) -> usize {
        self.heard().iter().filter(|(_, heard)| heard == event).count()
    }
}

/// A name that no other cluster of this machine has.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("inproc-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `Ok` if it `holds`, else what is wrong.
pub fn check(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

/// Looks until `look` is content, and returns what it found.
///
/// # Panics
///
/// With what was still wrong after `deadline`.
#[track_caller]
pub fn eventually<T>(deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let until = Instant::now() + deadline;
        loop {
            match look() {
                Ok(found) => return found,
                Err(wrong) if Instant::now() >= until => panic!("{caller}: still after {deadline:?}: {wrong}"),
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

/// [`eventually`] for a look that takes awaiting.
#[track_caller]
pub fn eventually_async<T>(
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let until = Instant::now() + deadline;
        loop {
            match look().await {
                Ok(found) => return found,
                Err(wrong) if Instant::now() >= until => panic!("{caller}: still after {deadline:?}: {wrong}"),
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

/// Waits until every owner of each session holds the same, nobody else holds a copy, and nothing is left to send.
#[track_caller]
pub fn settled_and_exact(nodes: &[&Mesh], ids: &[SessionId]) -> impl Future<Output = ()> {
    eventually(PATIENCE, move || {
        for node in nodes {
            let outbox = node.stats().outbox;
            check(outbox == 0, || format!("the outbox of {} has {outbox} entries", node.name()))?;
        }
        ids.iter().try_for_each(|id| exact(nodes, *id))
    })
}

/// Whether the owners of `id`, and nobody else, hold it, all the same.
pub fn exact(nodes: &[&Mesh], id: SessionId) -> Result<(), String> {
    let owners = nodes[0].owners(id);
    let mut digests = BTreeSet::new();
    for node in nodes {
        let here = node.owners(id);
        check(here == owners, || format!("{} takes {here:?} for the owners of {id}, not {owners:?}", node.name()))?;
        let is_owner = owners.iter().any(|owner| **owner == *node.name());
        let digest = node.digest(id);
        check(digest.is_some() == is_owner, || {
            format!("{} holds {id}: {}; owners are {owners:?}", node.name(), digest.is_some())
        })?;
        digests.extend(digest);
    }
    check(digests.len() == 1, || format!("the owners of {id} hold {} different copies", digests.len()))
}

/// Makes `count` sessions on `mesh`, each with the attribute `n`, its number, and waits for their copies.
pub async fn create_sessions(mesh: &Mesh, count: usize) -> Vec<SessionId> {
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        let session = mesh.create().await.expect("far from full");
        session.insert("n", &number).expect("a number is JSON");
        session.commit().await.expect("the cluster is calm");
        ids.push(session.id());
    }
    ids
}

/// Runs a test that mostly waits in both modes at the same time.
pub async fn both_at_once(test: impl AsyncFn(ModeName)) {
    let [one, other] = MODES;
    tokio::join!(test(one), test(other));
}

/// Counts panics of any thread and task, from where the process installs it on; see [`PanicCounter::install`].
#[derive(Clone, Debug, Default)]
pub struct PanicCounter(Arc<std::sync::Mutex<Vec<String>>>);

impl PanicCounter {
    /// Takes note of every panic from now on, with its place. Panics are still printed.
    pub fn install() -> Self {
        let counter = Self::default();
        let (noted, print) = (counter.0.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            noted.lock().expect("the hook does not panic").push(place);
            print(info);
        }));
        counter
    }

    /// Where it panicked so far.
    pub fn places(&self) -> Vec<String> {
        self.0.lock().expect("the hook does not panic").clone()
    }
}

/// Lets the peak of this process's memory, `VmHWM`, start anew.
pub fn forget_memory_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process do so for itself");
}

/// A figure of this process from `/proc/self/status`, such as `VmHWM` or `VmRSS`, in KiB.
pub fn process_kib(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of each process");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.expect("the figure is there, in kB")
}
