//! The sessions of a user, wherever they are held.

use std::time::Duration;

use sessionmesh_core::id::SessionId;

use crate::engine::read::user_query;
use crate::engine::write::user_limit;
use crate::error::UserError;
use crate::mesh::Mesh;

/// One session of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserSession {
    /// Its id. Whoever has it is logged in, so it is not to be shown to anybody else.
    pub id: SessionId,
    /// When it was created, in milliseconds since the Unix epoch by the clock of the node that made it. For display.
    pub created_ms: u64,
    /// How long ago it was used, known to a tenth of its idle limit.
    pub idle: Duration,
    /// After how long without an access it ends.
    pub max_inactive: Duration,
}

/// What [`Mesh::invalidate_all`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidatedAll {
    /// Sessions that were ended, those in `unconfirmed` too.
    pub ended: usize,
    /// Sessions that were ended, but not every node that has to know confirmed it before the deadline. The end goes on
    /// replicating; until then such a node may serve them.
    pub unconfirmed: Vec<SessionId>,
}

impl Mesh {
    /// The live sessions of `user` on all nodes, the most recently used first. Needs a user index: see
    /// [`crate::MeshBuilder::user_index`].
    ///
    /// All nodes are asked, for at most `read_deadline`, and then what they found is read. The list holds every session
    /// whose login was acknowledged before the question, and still is this user's; one that is renewed or moves at this
    /// very moment may be missing. It is no access.
    ///
    /// # Errors
    ///
    /// [`UserError::CannotTell`] when sessions may be missing since nodes did not answer.
    pub async fn sessions_of(&self, user: &str) -> Result<Vec<UserSession>, UserError> {
        let found = user_query::sessions_of(&self.node, user).await?;
        let now = self.node.now();
        let mut sessions: Vec<UserSession> = found
            .into_iter()
            .map(|(id, record)| UserSession {
                id,
                created_ms: record.session.created_ms(),
                idle: Duration::from_millis(record.idle_ms(now)),
                max_inactive: Duration::from_millis(record.session.idle_limit().ms),
            })
            .collect();
        sessions.sort_by_key(|session| (session.idle, session.id));
        Ok(sessions)
    }

    /// Ends all sessions of `user`, on every node, as [`crate::Session::invalidate`] does with one.
    ///
    /// Every session whose login was acknowledged before this was called is ended, also under another id that it got
    /// meanwhile. A login that runs at the same time may be ended or not; one that begins afterwards is not.
    ///
    /// # Errors
    ///
    /// [`UserError::CannotTell`] when there may be more sessions, since nodes did not answer. It says how many were ended
    /// before; to be tried again.
    pub async fn invalidate_all(&self, user: &str) -> Result<InvalidatedAll, UserError> {
        self.end_all_of_user(user, None).await
    }

    /// [`Mesh::invalidate_all`] for all sessions but `keep`: "log out my other devices". A session that gets another id
    /// through a request at the very same time does not count as kept.
    ///
    /// # Errors
    ///
    /// As [`Mesh::invalidate_all`].
    pub async fn invalidate_all_but(&self, user: &str, keep: SessionId) -> Result<InvalidatedAll, UserError> {
        self.end_all_of_user(user, Some(keep)).await
    }

    async fn end_all_of_user(&self, user: &str, keep: Option<SessionId>) -> Result<InvalidatedAll, UserError> {
        let ended = user_limit::end_all_of_user(&self.node, user, keep, || self.wait()).await?;
        Ok(InvalidatedAll { ended: ended.all.len(), unconfirmed: ended.unconfirmed })
    }
}
