//! A cluster in one process: several [`Mesh`] nodes on real sockets of 127.0.0.1.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Index;
use std::time::Duration;

use serde::Serialize;
use sessionmesh::{Discovery, Event, Events, Mesh, MeshBuilder, Mode, Secret, Session, SessionId, UserError};

pub use crate::waiting::{PATIENCE, check, eventually, eventually_async};

/// Both ways to place sessions, for tests that hold in each.
pub const MODES: [Mode; 2] = [Mode::PrimaryBackup { backups: 1 }, Mode::AllToAll];
/// How long commits and reads of these nodes wait at most, if a test sets nothing else: far more than they need in calm, so
/// that whoever expects them to succeed need not expect a quiet machine.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Nodes that find each other by seeds. They stop when it is dropped.
pub struct Cluster {
    name: String,
    secret: Option<Secret>,
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
    pub async fn start(nodes: usize, mode: Mode) -> Self {
        Self::start_with(nodes, move |builder| builder.mode(mode)).await
    }

    /// Like [`Cluster::start`]; `adjust` is applied to every node, also to those that join later.
    pub async fn start_with(nodes: usize, adjust: impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static) -> Self {
        let secret = has_secret().then(Secret::generate);
        let mut cluster = Self { name: unique_name(), secret, adjust: Box::new(adjust), nodes: Vec::new() };
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
        let builder = builder.secret(self.secret());
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

    /// Waits until no node serves any of these ids.
    ///
    /// # Panics
    ///
    /// One still does after [`PATIENCE`].
    pub async fn serves_none_of(&self, ids: &[SessionId], context: &str) {
        eventually_async(PATIENCE, async || {
            for (id, node) in ids.iter().flat_map(|id| self.nodes.iter().map(move |node| (id, node))) {
                let found = node.load(*id).await.map_err(|error| error.to_string())?;
                check(found.is_none(), || format!("{context}: {} serves {id} of {ids:?}", node.name()))?;
            }
            Ok(())
        })
        .await;
    }

    /// What a node must have that a test makes by itself to join this cluster; empty if the cluster has no secret.
    pub fn secret(&self) -> Vec<Secret> {
        self.secret.clone().into_iter().collect()
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

    /// Who came and who went so far, with the node that told it.
    pub fn of_members(&mut self) -> Vec<(String, Event)> {
        let is_of_members = |event: &Event| matches!(event, Event::MemberUp { .. } | Event::MemberDown { .. });
        self.heard().into_iter().filter(|(_, event)| is_of_members(event)).collect()
    }

    /// How many nodes told of `event`, and how often in all.
    pub fn count(&mut self, event: &Event) -> usize {
        self.heard().iter().filter(|(_, heard)| heard == event).count()
    }
}

/// Whether the clusters of this test have a secret: those of half of the tests do, always the same ones. Nothing that a test
/// sees may depend on it.
pub(crate) fn has_secret() -> bool {
    let test = std::thread::current().name().unwrap_or_default().len();
    test.is_multiple_of(2)
}

/// A name that no other cluster of this machine has.
#[must_use]
pub fn unique_name() -> String {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("t{}-{random:016x}", std::process::id())
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

/// A session on `node` with this attribute, and its copies.
///
/// # Panics
///
/// It cannot be made.
pub async fn session_with(node: &Mesh, key: &str, value: &(impl Serialize + ?Sized)) -> Session {
    let session = node.create().await.expect("far from full");
    session.insert(key, value).expect("it can be JSON");
    session.commit().await.expect("calm");
    session
}

/// A session with a cart, made on `node`.
///
/// # Panics
///
/// It cannot be made.
pub async fn fresh(node: &Mesh) -> SessionId {
    session_with(node, "cart", &[1, 2, 3]).await.id()
}

/// A session of this user, made on `node`.
///
/// # Panics
///
/// It cannot be made.
pub async fn log_in(node: &Mesh, user: &str) -> Session {
    session_with(node, "user", user).await
}

/// The session `id`, as `node` has it.
///
/// # Panics
///
/// It is not there.
pub async fn load(node: &Mesh, id: SessionId) -> Session {
    node.load(id).await.expect("calm").expect("it was committed")
}

/// The sessions of a user that `node` lists.
///
/// # Errors
///
/// It cannot tell.
pub async fn try_listed(node: &Mesh, user: &str) -> Result<BTreeSet<SessionId>, UserError> {
    Ok(node.sessions_of(user).await?.into_iter().map(|session| session.id).collect())
}

/// [`try_listed`], as soon as it can tell: a busy machine may stall a node.
///
/// # Panics
///
/// It still cannot tell after [`PATIENCE`].
pub async fn listed(node: &Mesh, user: &str) -> BTreeSet<SessionId> {
    eventually_async(PATIENCE, async || try_listed(node, user).await.map_err(|error| error.to_string())).await
}

/// Makes `count` sessions on `mesh`, each with the attribute `n`, its number, and waits for their copies.
///
/// # Panics
///
/// One cannot be made.
pub async fn create_sessions(mesh: &Mesh, count: usize) -> Vec<SessionId> {
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        ids.push(session_with(mesh, "n", &number).await.id());
    }
    ids
}

/// Runs a test that mostly waits in both modes at the same time.
pub async fn both_at_once(test: impl AsyncFn(Mode)) {
    let [one, other] = MODES;
    tokio::join!(test(one), test(other));
}
