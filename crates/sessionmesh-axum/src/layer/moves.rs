//! Sessions that follow their visitors to this node.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sessionmesh::{CommitError, Session, SessionId};

/// The sessions that requests are moving to this node just now. After a crash a browser comes with several requests at
/// once, and one of them is enough.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves(Arc<Mutex<BTreeSet<SessionId>>>);

impl Moves {
    /// Gives the session an id whose home is this node, unless another request is about to. Whether that succeeds is of no
    /// interest to the visitor: [`Session::id`] says which id counts.
    pub(super) async fn move_home(&self, session: &Session) {
        let id = session.id();
        let Some(_turn) = self.begin(id) else { return };
        match session.move_home().await {
            Ok(_) => {}
            Err(CommitError::Ended) => tracing::debug!("a session ended before it could move to this node"),
            Err(error) if session.id() == id => tracing::warn!(%error, "a session could not move to this node"),
            Err(error) => tracing::warn!(%error, "a session moved to this node with fewer copies than asked for"),
        }
    }

    /// None if another request has begun; until what this returns is dropped, as it also is when the visitor hangs up.
    pub(super) fn begin(&self, id: SessionId) -> Option<Turn<'_>> {
        self.under_way().insert(id).then(|| Turn { moves: self, id })
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeSet<SessionId>> {
        // One step changes it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to move a session.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    moves: &'a Moves,
    id: SessionId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.moves.under_way().remove(&self.id);
    }
}
