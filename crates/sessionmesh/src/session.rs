//! The handle of one session in one request.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::{Moment, millis};
use sessionmesh_core::replication::acks::Ack;
use sessionmesh_core::session::{Record, ValueBytes};

use crate::engine::read;
use crate::engine::replication::Wait;
use crate::engine::state::node::Node;
use crate::engine::write::commit::{self, Change, Committed};
use crate::engine::write::end;
use crate::engine::write::user_limit::{self, Login};
use crate::error::{CommitError, ValueError};
use crate::json::{from_json, to_json};
use crate::lock::lock;
use crate::mesh::Mesh;
use crate::network::BoxFuture;
use crate::spans;

mod another_id;

/// The handle of one request to one session.
///
/// The handle collects changes; [`Session::commit`] makes them visible together. Two requests that change different
/// attributes never overwrite each other. If two requests change the same attribute, one wins, the same one on every
/// node.
pub struct Session {
    mesh: Mesh,
    state: Mutex<State>,
}

struct State {
    id: SessionId,
    /// What was loaded or last committed; none for a session that was never committed.
    record: Option<Record>,
    changes: BTreeMap<Arc<str>, Option<ValueBytes>>,
    idle_limit_ms: Option<u64>,
    /// The last access by this handle of which the owners know.
    propagated: Moment,
    /// The last access by this handle that is noted, be it a load, a commit or a touch.
    used: Moment,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Other nodes that had acknowledged the change when the commit returned and go on to hold it: owners, and nodes that stand in
    /// for one that does not answer. 0 if nothing had changed.
    pub copies: usize,
    /// Whether anything was changed.
    pub changed: bool,
    /// The id of the session that was changed: the successor, if another request had renewed the id meanwhile.
    pub id: SessionId,
}

impl Session {
    pub(crate) fn fresh(mesh: Mesh, id: SessionId) -> Self {
        let propagated = mesh.node.now();
        Self::of(mesh, id, None, propagated)
    }

    /// A session as it was read. `propagated` is the last access of which its owners know.
    pub(crate) fn loaded(mesh: Mesh, id: SessionId, record: Record, propagated: Moment) -> Self {
        Self::of(mesh, id, Some(record), propagated)
    }

    fn of(mesh: Mesh, id: SessionId, record: Option<Record>, propagated: Moment) -> Self {
        // An access of then is known already, by whomever it was.
        let state = State { id, record, changes: BTreeMap::new(), idle_limit_ms: None, propagated, used: propagated };
        Self { mesh, state: Mutex::new(state) }
    }

    /// The id. It belongs in the visitor's cookie (see [`SessionId::encode`]) and nowhere else.
    #[must_use]
    pub fn id(&self) -> SessionId {
        lock(&self.state).id
    }

    /// The attribute `key`, including this handle's own changes.
    ///
    /// # Errors
    ///
    /// The stored value is not a `T`.
    pub fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ValueError> {
        self.get_bytes(key).map(|value| from_json(key, &value)).transpose()
    }

    /// The bytes of the attribute `key`, including this handle's own changes.
    #[must_use]
    pub fn get_bytes(&self, key: &str) -> Option<ValueBytes> {
        let state = lock(&self.state);
        match state.changes.get(key) {
            Some(change) => change.clone(),
            None => state.record.as_ref()?.session.get(key).cloned(),
        }
    }

    /// The keys of all attributes, including this handle's own changes, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<Arc<str>> {
        let state = lock(&self.state);
        let mut keys: BTreeMap<Arc<str>, bool> = BTreeMap::new();
        if let Some(record) = &state.record {
            keys.extend(record.session.live().map(|(key, _)| (key.clone(), true)));
        }
        keys.extend(state.changes.iter().map(|(key, value)| (key.clone(), value.is_some())));
        keys.into_iter().filter(|(_, live)| *live).map(|(key, _)| key).collect()
    }

    /// Writes an attribute as JSON, which stays readable after a field is added to `T`.
    ///
    /// # Errors
    ///
    /// `value` cannot be written as JSON, for example because a map's keys are not text; or it is nested deeper than
    /// [`crate::json::JSON_DEPTH_MAX`], so it could not be read again.
    pub fn insert<T: serde::Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), ValueError> {
        let value = to_json(key, value)?;
        self.insert_bytes(key, value);
        Ok(())
    }

    /// Writes the bytes of an attribute.
    pub fn insert_bytes(&self, key: &str, value: impl Into<ValueBytes>) {
        lock(&self.state).changes.insert(Arc::from(key), Some(value.into()));
    }

    /// Removes an attribute.
    pub fn remove(&self, key: &str) {
        lock(&self.state).changes.insert(Arc::from(key), None);
    }

    /// Writes (`Some`) or removes (`None`) the bytes of several attributes, for a caller that has collected changes
    /// itself.
    pub fn change(&self, changes: impl IntoIterator<Item = (Arc<str>, Option<ValueBytes>)>) {
        lock(&self.state).changes.extend(changes);
    }

    /// Sets the idle limit: the session ends after this time without an access. Less than a millisecond counts as one.
    pub fn set_max_inactive(&self, limit: Duration) {
        lock(&self.state).idle_limit_ms = Some(millis(limit).max(1));
    }

    /// The idle limit: the session ends after this time without an access.
    #[must_use]
    pub fn max_inactive(&self) -> Duration {
        let state = lock(&self.state);
        let stored = state.record.as_ref().map(|record| record.session.idle_limit().ms);
        Duration::from_millis(state.idle_limit_ms.or(stored).unwrap_or_else(|| self.mesh.idle_limit_ms()))
    }

    /// When the session was created, in milliseconds since the Unix epoch by the clock of the node that made it;
    /// `None` before its first commit. For display.
    #[must_use]
    pub fn created_ms(&self) -> Option<u64> {
        lock(&self.state).record.as_ref().map(|record| record.session.created_ms())
    }

    /// The time since the last access before this handle was made.
    #[must_use]
    pub fn idle(&self) -> Duration {
        let now = self.mesh.node.now();
        Duration::from_millis(lock(&self.state).record.as_ref().map_or(0, |record| record.idle_ms(now)))
    }

    /// Makes all changes of this handle visible at once, and waits for the copies that the configuration asks for.
    /// Without changes it is an access, like [`Session::touch`]; but a new session is always created, and one that is past
    /// its idle limit and has not ended yet lives on, as after a change.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]: it says whether the change was made. Changes that were not made stay in the handle.
    pub async fn commit(&self) -> Result<Commit, CommitError> {
        let wait = self.mesh.wait();
        // A future that is wrapped is moved as a whole, which costs a commit a sixth: so only where somebody wants spans.
        if spans::are_wanted() { self.commit_in_span(wait).await } else { self.commit_waiting(wait).await }
    }

    /// [`Session::commit`] with this acknowledgement instead of the configured one.
    ///
    /// # Errors
    ///
    /// As [`Session::commit`].
    pub async fn commit_with(&self, ack: Ack) -> Result<Commit, CommitError> {
        let wait = Wait { ack, ..self.mesh.wait() };
        if spans::are_wanted() { self.commit_in_span(wait).await } else { self.commit_waiting(wait).await }
    }

    fn commit_in_span(&self, wait: Wait) -> BoxFuture<'_, Result<Commit, CommitError>> {
        Box::pin(spans::within(spans::commit(self), self.commit_waiting(wait)))
    }

    async fn commit_waiting(&self, wait: Wait) -> Result<Commit, CommitError> {
        let mut looked = false;
        loop {
            let (id, record, change) = self.collected();
            let committed =
                user_limit::commit_with_user_limit(&self.mesh.node, id, record.as_ref(), &change, wait).await;
            match committed {
                // The handle was kept for longer than the session may be idle, and this node holds nothing of it.
                Err(CommitError::Unknown) if !looked => Box::pin(self.look_again(wait.until)).await?,
                committed => return self.adopt(committed?, &change),
            }
            looked = true;
        }
    }

    /// What the next commit is about.
    fn collected(&self) -> (SessionId, Option<Record>, Change) {
        let state = lock(&self.state);
        let attributes = state.changes.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let create = state.record.is_none().then(|| self.mesh.idle_limit_ms());
        let change = Change { attributes, idle_limit_ms: state.idle_limit_ms, create, ..Change::default() };
        (state.id, state.record.clone(), change)
    }

    /// Whether the handle was read so long ago that the session may have ended since, on a node that holds nothing of it.
    fn is_old(&self) -> bool {
        let node = &self.mesh.node;
        let state = lock(&self.state);
        let is_old = state.record.as_ref().is_some_and(|record| record.is_past_limit(node.now()));
        is_old && node.store.read(state.id, |held| held.is_none())
    }

    /// Takes over what was committed. What was changed meanwhile through this handle stays a change.
    fn adopt(&self, committed: Committed, change: &Change) -> Result<Commit, CommitError> {
        let mut state = lock(&self.state);
        for (key, value) in &change.attributes {
            if let Entry::Occupied(changed) = state.changes.entry(key.clone())
                && changed.get() == value
            {
                changed.remove();
            }
        }
        if state.idle_limit_ms == change.idle_limit_ms {
            state.idle_limit_ms = None;
        }
        state.id = committed.id;
        // The access rides on the change.
        let access = committed.record.access;
        state.record = Some(committed.record);
        if committed.changed {
            (state.propagated, state.used) = (access, access);
        } else {
            state.touch(&self.mesh.node);
        }
        Ok(Commit { copies: committed.copies?, changed: committed.changed, id: committed.id })
    }

    /// Reads, changes, writes and commits one attribute in one step. As long as this node owns the session (see
    /// [`Mesh::owners`]), nothing on this node can come between. Two nodes that do this at the same time, or a node
    /// that only forwards the session, can overwrite each other's result. `change` gets the stored value and returns
    /// the new one, or `None` to remove it. The step does not include changes that this handle has collected.
    ///
    /// # Errors
    ///
    /// As [`Session::commit`]; and [`CommitError::Unknown`] for a session that was never committed.
    pub async fn update<T>(
        &self,
        key: &str,
        change: impl FnOnce(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>, CommitError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send,
    {
        let wait = self.mesh.wait();
        if self.is_old() {
            Box::pin(self.look_again(wait.until)).await?;
        }
        let (id, record) = {
            let state = lock(&self.state);
            (state.id, state.record.clone())
        };
        let step = |before: Option<&ValueBytes>| {
            let before = before.map(|value| from_json(key, value)).transpose()?;
            let after = change(before);
            let value = after.as_ref().map(|after| to_json(key, after)).transpose()?;
            Ok((value, after))
        };
        let key = Arc::from(key);
        let updated = commit::update(&self.mesh.node, id, record.as_ref(), &key, wait, step).await;
        let (committed, after) = updated?;
        if let Some(login) = Login::happened(&self.mesh.node, record.as_ref(), &committed.record) {
            Box::pin(login.limit(&self.mesh.node, &committed.record, wait.until)).await;
        }
        self.adopt(committed, &Change::default())?;
        Ok(after)
    }

    /// Notes an access, which restarts the idle time. Each load and each commit does so already. Call this for a handle
    /// that is kept for longer, as in a stream, a WebSocket or an upload. The call does not wait. It sends nothing to
    /// other nodes unless a twentieth of the idle limit (or a tenth less a second, if that is longer) has passed since
    /// they last heard of an access. It does not bring back a session that has ended.
    pub fn touch(&self) {
        lock(&self.state).touch(&self.mesh.node);
    }

    /// Ends the session for good, on every node: no request in progress can bring it back. If it was moved or renewed
    /// meanwhile, it also ends under its new id.
    ///
    /// # Errors
    ///
    /// [`CommitError::TimedOut`] and the errors of `strict`. The session has ended all the same: here at once, and on
    /// the other nodes as soon as they can be reached.
    pub async fn invalidate(&self) -> Result<Commit, CommitError> {
        let (id, record) = {
            let mut state = lock(&self.state);
            state.changes.clear();
            (state.id, state.record.clone())
        };
        if record.is_none() {
            return Ok(Commit { copies: 0, changed: false, id });
        }
        let (node, wait, moved) = (&self.mesh.node, self.mesh.wait(), self.moved_to());
        let here = end::invalidate(node, id, record.as_ref(), None, wait);
        let there = async {
            match moved {
                Some(to) => end::invalidate(node, to, None, None, wait).await.map(drop),
                None => Ok(()),
            }
        };
        let (here, there) = futures::future::join(here, there).await;
        there?;
        Ok(Commit { copies: here?, changed: true, id })
    }
}

impl State {
    fn touch(&mut self, node: &Arc<Node>) {
        let now = node.now();
        if let Some(record) = self.record.as_ref().filter(|_| now != self.used) {
            self.used = now;
            read::note_again(node, self.id, record.session.idle_limit().ms, &mut self.propagated);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Session").field("id", &state.id).field("changes", &state.changes.len()).finish_non_exhaustive()
    }
}
