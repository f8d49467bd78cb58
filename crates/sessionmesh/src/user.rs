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
    /// The session id. Anybody who has it is logged in, so do not show it to anybody else.
    pub id: SessionId,
    /// When it was created, in milliseconds since the Unix epoch by the clock of the node that made it. For display.
    pub created_ms: u64,
    /// The time since the last access, accurate to a tenth of the idle limit.
    pub idle: Duration,
    /// The idle limit.
    pub max_inactive: Duration,
}

/// What [`Mesh::invalidate_all`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidatedAll {
    /// Sessions that were ended, including those in `unconfirmed`.
    pub ended: usize,
    /// Sessions that were ended, but whose end not every node that must know it acknowledged before the deadline. The
    /// end continues to replicate; until it arrives, such a node may serve the session.
    pub unconfirmed: Vec<SessionId>,
}

impl Mesh {
    /// The live sessions of `user` on all nodes, the most recently used first. Needs a user index: see
    /// [`crate::MeshBuilder::user_index`].
    ///
    /// This node asks all nodes, for at most `read_deadline`, and then reads the sessions that they found. The list
    /// holds every session of this user whose login was acknowledged before the call. A session that is renewed or
    /// moved during the call may be missing. The list is not an access.
    ///
    /// # Errors
    ///
    /// [`UserError::CannotTell`] if sessions may be missing because nodes did not answer.
    pub async fn sessions_of(&self, user: &str) -> Result<Vec<UserSession>, UserError> {
        let found = user_query::sessions_of(&self.node, user).await?;
        let now = self.node.now();
        let mut sessions: Vec<UserSession> = found
            .live
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

    /// Ends all sessions of `user` on every node, as [`crate::Session::invalidate`] ends one.
    ///
    /// This ends every session whose login was acknowledged before the call, even if the session gets a new id
    /// meanwhile. A login that runs at the same time may or may not be ended. A login that begins afterwards is not
    /// ended.
    ///
    /// # Errors
    ///
    /// [`UserError::CannotTell`] if there may be more sessions, because nodes did not answer. It says how many were
    /// already ended. Try again.
    pub async fn invalidate_all(&self, user: &str) -> Result<InvalidatedAll, UserError> {
        self.end_all_of_user(user, None).await
    }

    /// [`Mesh::invalidate_all`] for all sessions except `keep`: "log out my other devices". If another request gives
    /// that session a new id at the same time, it is not kept.
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
