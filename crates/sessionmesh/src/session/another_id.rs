//! A session goes on under another id: renewed at a login, or moved to the node that serves it.

use sessionmesh_core::id::SessionId;
use sessionmesh_core::session::{Record, Status, Successor};

use tokio::time::Instant;

use super::{Commit, Session};
use crate::engine::read::{self, SUCCESSORS_MAX};
use crate::engine::write::commit::{self, Change};
use crate::engine::write::end;
use crate::engine::write::user_limit::Login;
use crate::error::CommitError;
use crate::lock::lock;

impl Session {
    /// Gives the session a new id, against session fixation. Call it at every login. All attributes and this handle's
    /// changes move to the new id. When it returns, the new id is valid on every node and the old one on none. Writes
    /// to the old id that are in progress follow to the new one.
    ///
    /// # Errors
    ///
    /// As [`Session::commit`]. Also [`CommitError::Ended`] if another request has renewed the session since it was
    /// loaded, and [`CommitError::CannotTell`] if this node cannot know that. [`Session::id`] returns the id that
    /// counts: the old one if the new session could not be copied in time; the new one if only the end of the old id is
    /// not yet acknowledged by all nodes. Two renewals at the same time make two sessions, and neither gets what the
    /// other one stores.
    pub async fn renew_id(&self) -> Result<Commit, CommitError> {
        for _ in 0..SUCCESSORS_MAX {
            self.look_again(read::deadline_of_a_read(&self.mesh.node)).await?;
            match self.renew_once().await {
                // It has moved at this very moment. Nothing was changed.
                Err(CommitError::Ended) if self.moved_to().is_some() => {}
                renewed => return renewed,
            }
        }
        Err(CommitError::Ended)
    }

    async fn renew_once(&self) -> Result<Commit, CommitError> {
        let node = &self.mesh.node;
        let (id, record) = {
            let state = lock(&self.state);
            (state.id, state.record.clone())
        };
        let Some(record) = record else {
            // Nobody knows the id yet, so another one is as good.
            lock(&self.state).id = node.mint();
            return self.commit().await;
        };
        let (attributes, idle_limit_ms) = {
            let state = lock(&self.state);
            let changes = state.changes.iter().map(|(key, value)| (key.clone(), value.clone()));
            (changes.collect::<Vec<_>>(), state.idle_limit_ms)
        };
        let change = Change { attributes, idle_limit_ms, ..Change::default() };
        self.go_on_as(id, &record, change, Successor::Renewed(node.mint())).await
    }

    /// Gives the session an id whose primary is this node, so that a balancer that routes by the id, or by a cookie
    /// beside it, keeps the visitor here. Call it when a visitor arrives at another node than before, as after a crash.
    /// It does not help against session fixation: for another minute, requests with the old id read the session, and
    /// their writes follow. [`Session::id`] then returns the new id, which must go into the cookie.
    ///
    /// The move does not include changes that this handle has collected: they go to the new id with the next commit.
    /// Nothing happens, and [`Commit::changed`] is false, if this node is already the primary of the id (as it is when
    /// it is alone), if it is leaving, or if the session was never committed.
    ///
    /// # Errors
    ///
    /// As [`Session::renew_id`].
    pub async fn move_home(&self) -> Result<Commit, CommitError> {
        let node = &self.mesh.node;
        self.look_again(read::deadline_of_a_read(&self.mesh.node)).await?;
        let (id, record) = {
            let state = lock(&self.state);
            (state.id, state.record.clone())
        };
        let at_home = {
            let topology = node.topology();
            topology.is_primary(id.slot()) || topology.home.is_empty()
        };
        let Some(record) = record.filter(|_| !at_home) else {
            return Ok(Commit { copies: 0, changed: false, id });
        };
        self.go_on_as(id, &record, Change::default(), Successor::Moved(node.mint())).await
    }

    /// Where the session has moved since this handle was made, as far as this node knows.
    pub(super) fn moved_to(&self) -> Option<SessionId> {
        self.mesh.node.store.read(self.id(), |held| match held?.record().session.invalidated()?.successor? {
            Successor::Moved(to) => Some(to),
            Successor::Renewed(_) => None,
        })
    }

    /// Takes over the newest content, and the id if another request has moved the session meanwhile. If it was ended or
    /// renewed since this handle was made, it must not go on under a further id: whoever asks may have planted the old one,
    /// and the content may be somebody's login by now.
    pub(super) async fn look_again(&self, until: Instant) -> Result<(), CommitError> {
        let (id, is_stored) = {
            let state = lock(&self.state);
            (state.id, state.record.is_some())
        };
        if !is_stored {
            return Ok(());
        }
        let found = read::peek_until(&self.mesh.node, id, until).await?;
        let (id, record) = found.ok_or(CommitError::Ended)?;
        let mut state = lock(&self.state);
        state.id = id;
        state.record = Some(record);
        Ok(())
    }

    /// The session `id`, with `change`, goes on as `successor`.
    async fn go_on_as(
        &self,
        id: SessionId,
        record: &Record,
        change: Change,
        successor: Successor,
    ) -> Result<Commit, CommitError> {
        let (node, wait) = (&self.mesh.node, self.mesh.wait());
        // The newest content that is known here goes along, also what other requests wrote meanwhile.
        let held = node.store.get(id).map(|entry| entry.into_record());
        if held.is_none() && record.is_past_limit(node.now()) {
            // A handle that was kept for longer than the session may be idle proves nothing.
            return Err(CommitError::Unknown);
        }
        let mut newest = held.unwrap_or_else(|| record.clone());
        newest.merge(record);
        if newest.status() != Status::Live {
            return Err(CommitError::Ended);
        }
        let create = Some(newest.session.idle_limit().ms);
        let whole = Change { create, inherit: Some(newest.session.clone()), replaces: true, ..change.clone() };
        let login = Login::coming(node, Some(record), &change.attributes, wait.until).await;
        // The new session is kept first; only then does the old one end.
        let mut committed = commit::commit(node, successor.id(), None, &whole, wait).await?;
        let copies = match std::mem::replace(&mut committed.copies, Ok(0)) {
            Ok(copies) => copies,
            Err(error) => {
                // The old id goes on; the new one, which nobody was told, does not.
                end::retire_loser(node, successor.id(), Some(Successor::Renewed(id)));
                return Err(error);
            }
        };
        let ended = end::invalidate(node, id, Some(record), Some(successor), self.mesh.wait()).await;
        // Whoever only has one of the two has not all of it.
        committed.copies = ended.map(|ended| ended.min(copies));
        if let Some(login) = login {
            login.limit(node, &committed.record, wait.until).await;
        }
        self.adopt(committed, &change)
    }
}
