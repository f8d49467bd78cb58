//! A running node, as an application uses it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::millis;
use sessionmesh_core::placement::view::Member;
use sessionmesh_core::session::Record;
use sessionmesh_core::terms::{Difference, Terms};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::alone::Alone;
use crate::builder::MeshBuilder;
use crate::config::Config;
use crate::engine::read::{self, Access, Found};
use crate::engine::replication::Wait;
use crate::engine::state::node::Node;
use crate::engine::state::store::Store;
use crate::engine::state::store::user_index::SessionsByUser;
use crate::engine::upkeep::leave::{self, Leave};
use crate::engine::upkeep::search::Search;
use crate::error::{CreateError, Failure, LeaveError, LoadError};
use crate::event::Event;
use crate::lock::lock;
use crate::look_up::LookUp;
use crate::membership::Membership;
use crate::read_consistency::ReadConsistency;
use crate::session::Session;
use crate::stats::Stats;

/// One node of the cluster. Cheap to clone; the node stops when the last clone is gone, without handing anything
/// over: see [`Mesh::leave`].
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

/// Two are equal if they are the same running node.
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
    /// [`CreateError::Full`] when this node holds `max_sessions` sessions. Copies of other nodes' sessions are still
    /// taken.
    #[allow(clippy::unused_async, reason = "creation may come to wait, for example for memory; callers await it")]
    pub async fn create(&self) -> Result<Session, CreateError> {
        let limit = self.node.config.max_sessions;
        if self.node.store.live() as u64 >= limit {
            return Err(CreateError::Full { limit });
        }
        Ok(Session::fresh(self.clone(), self.node.mint()))
    }

    /// The session `id`, from whichever node holds it. Loading counts as an access: the idle time starts anew.
    ///
    /// `None` says that there is no such session, or that it has ended. A session that moved less than a minute ago (see
    /// [`Session::move_home`]) is found by its old id, too; [`Session::id`] then says the new one.
    ///
    /// # Errors
    ///
    /// [`LoadError::CannotTell`] when that is not known. Then the visitor must not be logged out: answer 503.
    pub async fn load(&self, id: SessionId) -> Result<Option<Session>, LoadError> {
        let now = self.node.now();
        match read::live_here(&self.node, id, Access::Note, now) {
            Some(record) => Ok(Some(Session::loaded(self.clone(), id, record, now))),
            // Most reads end above, and need not carry what the others take.
            None => Box::pin(self.read(id, Access::Note)).await,
        }
    }

    /// [`Mesh::load`], as sure of itself as `consistency` asks for.
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

    /// Like [`Mesh::load`], but no access: the idle time goes on.
    ///
    /// # Errors
    ///
    /// As [`Mesh::load`].
    pub async fn peek(&self, id: SessionId) -> Result<Option<Session>, LoadError> {
        self.read(id, Access::Peek).await
    }

    /// [`Mesh::load_with`], which also tells what became of an id that has no session any more.
    ///
    /// For layers that set cookies: a request that was under way with the id from before a login must neither be taken for
    /// a new visitor, whose new cookie would replace the good one, nor learn the new id, for it may come from somebody who
    /// planted the old one.
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

    /// What [`Mesh::look_up`] would say if this node knows it without asking anybody; else `None`. It is no access.
    #[must_use]
    pub fn look_up_here(&self, id: SessionId) -> Option<LookUp> {
        match read::glance(&self.node, id)? {
            // Where it moved to may be at home elsewhere.
            Found::Moved(_) => None,
            Found::Live(record) => Some(LookUp::Live(self.held(id, record))),
            found => Some(LookUp::of_ended(&found)),
        }
    }

    /// Whether more unknown ids come to this node just now than it asks all their owners for (500 a second). Who has
    /// several to ask for should ask for one then.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        lock(&self.node.bounds.unknown).is_flooded(self.node.now())
    }

    async fn read(&self, id: SessionId, access: Access) -> Result<Option<Session>, LoadError> {
        let found = read::load(&self.node, id, access).await?;
        Ok(found.map(|(id, record)| match access {
            Access::Note => self.read_now(id, record),
            Access::Peek => self.held(id, record),
        }))
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

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.node.telemetry.events.subscribe())
    }

    /// The members of the cluster as this node sees them, itself too, sorted by name.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.node.cluster.topology.load().view.members().to_vec()
    }

    /// Waits until this node has all that it must hold.
    pub async fn ready(&self) {
        // An error means that the node has stopped; it will never be ready, and nobody should wait for it.
        let _ = self.running.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Whether this node has all that it must hold, and serves it. One that has stopped is not ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.running.ready.borrow() && !self.node.lifecycle.stop.is_cancelled()
    }

    /// Why this node stopped by itself; `None` while it runs, and after [`Mesh::leave`].
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.node.lifecycle.life.failure().cloned()
    }

    /// Waits until this node stops by itself, and says why. A program should end then, for its supervisor to start it
    /// anew. A node that leaves does not fail, so this goes on waiting.
    pub async fn failed(&self) -> Failure {
        self.node.lifecycle.stop.cancelled().await;
        match self.failure() {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Where this node looked for others and what it found, if it sees none although [`Config::seeds`] or
    /// [`Config::dns`] name some, or multicast does not work. It serves all the same, but its sessions have no copies, and it does not know those of
    /// nodes that it cannot see: show this to an operator. The log says it, too, once a minute.
    #[must_use]
    pub fn alone(&self) -> Option<Alone> {
        self.running.search.alone(&self.node)
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.config.name
    }

    /// Where other nodes reach this one.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.node.identity.advertise
    }

    /// The settings that the node was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.node.config
    }

    /// What is in force in the cluster as this node sees it. [`Mesh::config`] says what this node was started with, and
    /// [`Member::terms`] what each member asks for; where they differ the largest counts.
    #[must_use]
    pub fn in_force(&self) -> Terms {
        *self.node.cluster.topology.load().view.in_force()
    }

    /// The settings that members should have alike and do not, with the values and who has them. During a rolling restart
    /// that changes a setting this is as it should be; later it is a mistake in somebody's configuration.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        Difference::all(&self.node.cluster.topology.load().view)
    }

    /// The members that hold session `id` when all is well, the primary first.
    #[must_use]
    pub fn owners(&self, id: SessionId) -> Vec<Arc<str>> {
        let topology = self.node.topology();
        let name = |at: &u16| topology.view.members()[usize::from(*at)].name.clone();
        topology.slots.owners(id.slot()).iter().map(name).collect()
    }

    /// Whether this node holds a copy of `id` now, live or ended.
    #[must_use]
    pub fn holds(&self, id: SessionId) -> bool {
        self.node.store.read(id, |held| held.is_some())
    }

    /// Whether this node holds a copy of `id` now that has not ended and is not past its idle limit. Like
    /// [`Mesh::holds`], it asks nobody and notes no access.
    #[must_use]
    pub fn holds_live(&self, id: SessionId) -> bool {
        let now = self.node.now();
        self.node.store.read(id, |held| held.is_some_and(|entry| entry.record.is_usable(now)))
    }

    /// The digest of the copy that this node holds. Two nodes with the same digest hold the same.
    #[must_use]
    pub fn digest(&self, id: SessionId) -> Option<u64> {
        self.node.store.read(id, |held| held.map(|entry| entry.record.session.digest()))
    }

    /// The members that this node suspects: they did not answer in time, and commits do not wait for them.
    #[must_use]
    pub fn suspected(&self) -> Vec<String> {
        let topology = self.node.topology();
        let suspected = topology.peers().filter(|peer| lock(&peer.liveness).is_suspected());
        suspected.map(|peer| peer.member.name.to_string()).collect()
    }

    /// Figures of this node. Counting the owned sessions walks the whole store.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let topology = self.node.topology();
        let owned = |stripe| {
            let sessions = self.node.store.scan(stripe, |id, _| topology.is_owner(id.slot()).then_some(())).len();
            let slots = Store::slots_of(stripe).filter(|slot| topology.is_owner(*slot));
            sessions + slots.map(|slot| self.node.store.tombstones.sum(slot).0).sum::<usize>()
        };
        let mut stats = Stats {
            sessions: self.node.store.live(),
            ended: self.node.store.ended(),
            tombstones_forgotten: self.node.store.tombstones.forgotten(),
            owned: Store::stripes().map(owned).sum(),
            outbox: topology.peers().map(|peer| lock(&peer.outbox).len()).sum(),
            in_flight: topology.peers().map(|peer| lock(&peer.outbox).batches_under_way()).sum(),
            expiry_holds: self.node.replication.expiry_holds.len(),
            waiting_commits: lock(&self.node.replication.acks).len(),
            users_indexed: self.node.store.users().map_or(0, SessionsByUser::len),
            renewals_in_progress: self.node.replication.renewals_followed.load(Ordering::Relaxed),
            suspected: self.suspected(),
            blindness: self.blindness(),
            late_ms: self.node.cluster.lateness.ms(),
            busy: self.node.cluster.lateness.is_busy(),
            ..Stats::default()
        };
        self.node.telemetry.counters.fill(&mut stats);
        stats
    }

    /// Leaves the cluster: says so, hands over every session, and stops when all owners keep what they got. Until then
    /// the node serves as before; from then on it refuses commits with [`crate::CommitError::Left`]. If nobody else is there,
    /// or all others are leaving, too, the sessions end with the node: [`Leave::ended`] says how many.
    ///
    /// # Errors
    ///
    /// [`LeaveError`] when that took longer than `deadline`, or the node had stopped by itself. It has stopped all the same.
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

/// Events from the moment of [`Mesh::events`] on.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` once the node has stopped. A listener that is thousands of events behind loses the
    /// oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a listener was too slow for the events");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// An event that has come already, if there is one.
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
