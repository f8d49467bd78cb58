//! A running node, as an application uses it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::moment::millis;
use sessionmesh_core::placement::view::Member;
use sessionmesh_core::session::Record;
use sessionmesh_core::terms::{Difference, Terms};
use sessionmesh_core::wire::message::Figures;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::alone::Alone;
use crate::builder::MeshBuilder;
use crate::config::{Config, ConfigError};
use crate::engine::read::{self, Access, Found, figures_of_members};
use crate::engine::replication::Wait;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::upkeep::leave::{self, Leave};
use crate::engine::upkeep::search::Search;
use crate::engine::upkeep::{certificates, figures, secrets};
use crate::error::{CreateError, Failure, LeaveError, LoadError};
use crate::event::Event;
use crate::health::{self, Health};
use crate::lock::lock;
use crate::look_up::LookUp;
use crate::membership::Membership;
use crate::read_consistency::ReadConsistency;
use crate::session::Session;
use crate::stats::{Stats, collect};

/// One node of the cluster. Clones are cheap and share the node. The node stops when the last clone is dropped, without
/// a hand-over: see [`Mesh::leave`].
#[derive(Clone, Debug)]
pub struct Mesh {
    pub(crate) node: Arc<Node>,
    running: Arc<Running>,
}

/// What the clones of a [`Mesh`] share beside the node. Each request clones it, so it is one pointer.
#[derive(Debug)]
struct Running {
    membership: Arc<Membership>,
    search: Arc<Search>,
    ready: watch::Receiver<bool>,
    _stop: DropGuard,
}

/// Two values are equal if they are the same running node.
impl PartialEq for Mesh {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl Eq for Mesh {}

impl Mesh {
    /// A builder with the default settings.
    #[must_use]
    pub fn builder() -> MeshBuilder {
        MeshBuilder::default()
    }

    pub(crate) fn new(
        node: Arc<Node>,
        membership: Arc<Membership>,
        search: Arc<Search>,
        ready: watch::Receiver<bool>,
    ) -> Self {
        let running = Running { membership, search, ready, _stop: node.lifecycle.stop.clone().drop_guard() };
        Self { node, running: Arc::new(running) }
    }

    /// A new session. It exists once it is committed.
    ///
    /// # Errors
    ///
    /// [`CreateError::Full`] if this node holds `max_sessions` sessions. It still accepts copies of other nodes'
    /// sessions.
    #[allow(clippy::unused_async, reason = "creation may come to wait, for example for memory; callers await it")]
    pub async fn create(&self) -> Result<Session, CreateError> {
        let limit = self.node.config.max_sessions;
        if self.node.store.live() as u64 >= limit {
            self.node.emit(Event::LimitReached { limit: "max_sessions" });
            return Err(CreateError::Full { limit });
        }
        Ok(Session::fresh(self.clone(), self.node.mint()))
    }

    /// Loads the session `id` from any node that holds it. A load is an access: it restarts the idle time.
    ///
    /// Returns `None` if there is no such session, or if it has ended. For one minute after a move (see
    /// [`Session::move_home`]) the old id still finds the session; [`Session::id`] then returns the new id.
    ///
    /// # Errors
    ///
    /// [`LoadError::CannotTell`] if the node cannot know. Do not log the visitor out then: answer 503.
    pub async fn load(&self, id: SessionId) -> Result<Option<Session>, LoadError> {
        let now = self.node.now();
        match read::live_here(&self.node, id, Access::Note, now) {
            Some(record) => Ok(Some(Session::loaded(self.clone(), id, record, now))),
            // Most reads end above, and need not carry what the others take.
            None => match Box::pin(read::look_further(&self.node, id, Access::Note)).await? {
                (id, Found::Live(record)) => Ok(Some(self.read_now(id, record))),
                _ => Ok(None),
            },
        }
    }

    /// [`Mesh::load`] with the given read consistency.
    ///
    /// # Errors
    ///
    /// As [`Mesh::load`].
    pub async fn load_with(&self, id: SessionId, consistency: ReadConsistency) -> Result<Option<Session>, LoadError> {
        if consistency == ReadConsistency::Held
            && let Some(record) = read::held(&self.node, id)
        {
            return Ok(Some(self.held(id, record)));
        }
        self.load(id).await
    }

    /// Like [`Mesh::load`], but not an access: it does not restart the idle time.
    ///
    /// # Errors
    ///
    /// As [`Mesh::load`].
    pub async fn peek(&self, id: SessionId) -> Result<Option<Session>, LoadError> {
        let found = read::load(&self.node, id, Access::Peek).await?;
        Ok(found.map(|(id, record)| self.held(id, record)))
    }

    /// Like [`Mesh::load_with`], but also says what happened to an id that no longer has a session.
    ///
    /// For layers that set cookies. A request may still carry the id from before a login. The layer must not treat it
    /// as a new visitor, whose new cookie would replace the good one. It must not give the request the new id either:
    /// the request may come from somebody who planted the old one.
    ///
    /// # Errors
    ///
    /// As [`Mesh::load`].
    pub async fn look_up(&self, id: SessionId, consistency: ReadConsistency) -> Result<LookUp, LoadError> {
        if consistency == ReadConsistency::Held
            && let Some(record) = read::held(&self.node, id)
        {
            return Ok(LookUp::Live(self.held(id, record)));
        }
        Ok(match read::look(&self.node, id, Access::Note).await? {
            (id, Found::Live(record)) => LookUp::Live(self.read_now(id, record)),
            (_, found) => LookUp::of_ended(&found),
        })
    }

    /// Answers [`Mesh::look_up`] from what this node knows; `None` if it would have to ask other nodes. Not an access.
    #[must_use]
    pub fn look_up_here(&self, id: SessionId) -> Option<LookUp> {
        match read::glance(&self.node, id)? {
            // Where it moved to may be at home elsewhere.
            Found::Moved(_) => None,
            Found::Live(record) => Some(LookUp::Live(self.held(id, record))),
            found => Some(LookUp::of_ended(&found)),
        }
    }

    /// Whether this node now receives more unknown ids than it asks all their owners for (500 a second). A caller with
    /// several ids to look up should then look up only one.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        lock(&self.node.bounds.unknown).is_flooded(self.node.now())
    }

    /// A session whose owners know of this very access.
    fn read_now(&self, id: SessionId, record: Record) -> Session {
        Session::loaded(self.clone(), id, record, self.node.now())
    }

    /// A session that was read without a word to its owners.
    fn held(&self, id: SessionId, record: Record) -> Session {
        let propagated = record.access;
        Session::loaded(self.clone(), id, record, propagated)
    }

    /// Subscribes to all events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.node.telemetry.subscribe())
    }

    /// The members of the cluster in the view of this node, including itself, sorted by name.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.node.cluster.topology.load().view.members().to_vec()
    }

    /// Waits until this node has received everything that it must hold.
    pub async fn ready(&self) {
        // An error means that the node has stopped; it will never be ready, and nobody should wait for it.
        let _ = self.running.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Whether this node has received everything that it must hold, and serves it. A stopped node is not ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.running.ready.borrow() && !self.node.lifecycle.stop.is_cancelled()
    }

    /// Waits until this node has stopped, after [`Mesh::leave`] or by itself.
    pub async fn stopped(&self) {
        self.node.lifecycle.stop.cancelled().await;
    }

    /// Why this node stopped by itself; `None` while it runs, and after [`Mesh::leave`].
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.node.lifecycle.life.failure().cloned()
    }

    /// Waits until this node stops by itself, and returns the reason. The program should then exit, so that its
    /// supervisor restarts it. A node that leaves does not fail: this method then never returns.
    pub async fn failed(&self) -> Failure {
        self.node.lifecycle.stop.cancelled().await;
        match self.failure() {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Where this node looked for other nodes and what it found there, if it sees none although [`Config::seeds`] or
    /// [`Config::dns`] name some, or while multicast does not work. The node serves requests all the same, but its
    /// sessions have no copies, and it does not know the sessions of nodes that it cannot see. Show this to an
    /// operator. The log repeats it once a minute.
    #[must_use]
    pub fn alone(&self) -> Option<Alone> {
        self.running.search.alone(&self.node)
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.config.name
    }

    /// The address at which other nodes reach this one.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.node.identity.advertise
    }

    /// The settings that the node was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.node.config
    }

    /// The cluster-wide settings that are in force in the view of this node. [`Mesh::config`] returns what this node
    /// was started with, and [`Member::terms`] what each member asks for. Where members differ, the largest value is in
    /// force.
    #[must_use]
    pub fn in_force(&self) -> Terms {
        *self.node.cluster.topology.load().view.in_force()
    }

    /// The settings that should be equal on all members but are not, with each value and the members that have it.
    /// During a rolling restart that changes a setting, this is expected. Later it is a configuration mistake.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        Difference::all(&self.node.cluster.topology.load().view)
    }

    /// The owners of session `id`, the primary first: the members that must hold it in the view of this node.
    #[must_use]
    pub fn owners(&self, id: SessionId) -> Vec<Arc<str>> {
        let topology = self.node.topology();
        let name = |at: &u16| topology.view.members()[usize::from(*at)].name.clone();
        topology.slots.owners(id.slot()).iter().map(name).collect()
    }

    /// The owners of each of the 4096 slots, the primary first, in the view of this node.
    #[must_use]
    pub fn slots(&self) -> Vec<Vec<Arc<str>>> {
        let topology = self.node.topology();
        let name = |at: &u16| topology.view.members()[usize::from(*at)].name.clone();
        Slot::all().map(|slot| topology.slots.owners(slot).iter().map(name).collect()).collect()
    }

    /// Whether this node holds a copy of `id` now, live or ended.
    #[must_use]
    pub fn holds(&self, id: SessionId) -> bool {
        self.node.store.read(id, |held| held.is_some())
    }

    /// Whether this node holds a live copy of `id` that is not past its idle limit. Like [`Mesh::holds`], it asks no
    /// other node and is not an access.
    #[must_use]
    pub fn holds_live(&self, id: SessionId) -> bool {
        let now = self.node.now();
        self.node.store.read(id, |held| held.is_some_and(|entry| entry.record().is_usable(now)))
    }

    /// The digest of the copy that this node holds. Two nodes with equal digests hold equal copies.
    #[must_use]
    pub fn digest(&self, id: SessionId) -> Option<u64> {
        self.node.store.read(id, |held| held.map(|entry| entry.record().session.digest()))
    }

    /// The members that this node suspects: they did not answer in time, and commits do not wait for them.
    #[must_use]
    pub fn suspected(&self) -> Vec<String> {
        let topology = self.node.topology();
        let suspected = topology.peers().filter(|peer| lock(&peer.liveness).is_suspected());
        suspected.map(|peer| peer.member.name.to_string()).collect()
    }

    /// Which version of the protocol this node speaks with each other member, by name, as far as a link to it is up. In a
    /// rolling upgrade they rise to the newest when both sides are upgraded.
    #[must_use]
    pub fn link_versions(&self) -> BTreeMap<String, u16> {
        let topology = self.node.topology();
        let spoken = |peer: &Arc<Peer>| Some((peer.member.name.to_string(), peer.version()?.number()));
        topology.peers().filter_map(spoken).collect()
    }

    /// Statistics of this node: what it holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        collect::of(&self.node)
    }

    /// What each member holds and has done, each by its own word, by name; nothing of a member that does not answer within
    /// `read_deadline`.
    pub async fn figures(&self) -> Vec<(Arc<str>, Option<Figures>)> {
        figures_of_members::of(&self.node).await
    }

    /// How this node is, in words: what it does, what hinders it, and what a person should know of.
    #[must_use]
    pub fn health(&self) -> Health {
        health::of(&self.node, self.is_ready(), self.alone())
    }

    /// Gives the metrics of this moment to the recorder of the `metrics` facade that the program has installed. The node does
    /// so once a second; call this before a recorder is read, for figures that are not older than that.
    ///
    /// Install the recorder before the node starts: latencies go to the one that is installed then.
    pub fn publish_metrics(&self) {
        figures::publish(&self.node, self.is_ready(), self.alone().is_some());
    }

    /// Whether other machines can reach this node, and its traffic is neither encrypted nor authenticated: there is no secret, or
    /// [`Config::accept_plaintext`] is on.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.node.is_exposed()
    }

    /// Reads [`Config::secret_file`] now, instead of within 2 s after it has changed. From then on the node uses its first
    /// secret and understands all of them. Links that rely on a secret that is not in it any more are closed, and opened
    /// anew. Returns how many secrets are in use.
    ///
    /// To change the secret of a running cluster: add the new one as the second line on all nodes, then make it the first line
    /// on all, then remove the old one. At each step every node understands every other one.
    ///
    /// # Errors
    ///
    /// There is no such setting, or the file cannot be used. The secrets in use stay.
    pub async fn reload_secrets(&self) -> Result<usize, ConfigError> {
        secrets::reload(&self.node).await
    }

    /// Reads the files of [`Config::tls_cert`], [`Config::tls_key`] and [`Config::tls_ca`] now, instead of within 2 s after one has
    /// changed, and uses them for all links from then on. Links of nodes with certificates of an authority that is not in
    /// `tls_ca` any more are closed, and opened anew.
    ///
    /// To change the authority of a running cluster: add the new one to `tls_ca` on all nodes, then give each a certificate of
    /// it, then remove the old one.
    ///
    /// # Errors
    ///
    /// There are no such settings, a file cannot be used, or other nodes would not accept the certificate. What is in use
    /// stays.
    pub async fn reload_certificates(&self) -> Result<(), ConfigError> {
        certificates::reload(&self.node).await
    }

    /// Leaves the cluster: announces it, hands over every session, and stops once all owners have acknowledged what
    /// they received. Until then the node serves as before; afterwards it refuses commits with
    /// [`crate::CommitError::Left`]. If there is no other node, or all others are leaving too, the sessions end with
    /// the node: [`Leave::ended`] counts them.
    ///
    /// # Errors
    ///
    /// [`LeaveError`] if the hand-over took longer than `deadline`, or if the node had stopped by itself. The node has
    /// stopped in any case.
    pub async fn leave(&self, deadline: Duration) -> Result<Leave, LeaveError> {
        leave::run(&self.node, &self.running.membership, deadline).await
    }

    /// The acknowledgement that the configuration asks for, until a commit deadline from now.
    pub(crate) fn wait(&self) -> Wait {
        let config = &self.node.config;
        Wait { ack: config.ack, strict: config.strict, until: Instant::now() + config.commit_deadline }
    }

    pub(crate) fn idle_limit_ms(&self) -> u64 {
        millis(self.node.config.max_inactive).max(1)
    }
}

/// The events since the call of [`Mesh::events`].
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// Waits for the next event. Returns `None` once the node has stopped. A listener that falls thousands of events
    /// behind loses the oldest ones.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a listener fell behind and missed events");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event, if one has already arrived.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.0.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
