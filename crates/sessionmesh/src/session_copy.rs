//! What a member holds of a session, for operators.

use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::id::SessionId;

use crate::engine::read::copies;
use crate::mesh::Mesh;

/// What one member holds of a session: see [`Mesh::copies`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCopy {
    /// The member.
    pub node: Arc<str>,
    /// Whether it is the first of the owners, in the view of the node that was asked.
    pub is_primary: bool,
    /// Whether it must hold the session.
    pub is_owner: bool,
    /// What it holds.
    pub state: CopyState,
}

/// What a member holds of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyState {
    /// It did not answer within the read deadline.
    NoAnswer,
    /// It holds nothing of it.
    Nothing,
    /// The session.
    Live(CopyContent),
    /// The session, marked as expired.
    Expired(CopyContent),
    /// The tombstone of a session that was ended for good.
    Ended {
        /// Two tombstones of the same digest are of the same end.
        digest: u64,
        /// Whether it goes on under another id.
        has_successor: bool,
    },
}

/// A copy of a session, without what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyContent {
    /// Two copies of the same digest are equal.
    pub digest: u64,
    /// The Lamport counter of its latest change.
    pub revision: u64,
    /// The time since the last access that this member knows of.
    pub idle: Duration,
    /// The idle limit.
    pub max_inactive: Duration,
    /// When the session was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How many attributes it has.
    pub attributes: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
}

impl CopyState {
    /// By which copies are compared; none where there is no copy.
    #[must_use]
    pub const fn digest(&self) -> Option<u64> {
        match self {
            Self::NoAnswer | Self::Nothing => None,
            Self::Live(content) | Self::Expired(content) => Some(content.digest),
            Self::Ended { digest, .. } => Some(*digest),
        }
    }
}

impl Mesh {
    /// What each member holds of the session `id`, by name: for an operator who wants to see whether its copies are equal. All
    /// members are asked, for at most `read_deadline`. It is not an access.
    pub async fn copies(&self, id: SessionId) -> Vec<SessionCopy> {
        copies::of(&self.node, id).await
    }
}
