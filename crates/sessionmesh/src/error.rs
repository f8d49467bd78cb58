//! What can go wrong, whether anything was changed, and what to do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sessionmesh_core::id::SessionId;

use crate::config::ConfigError;

/// Why a node did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The replication port cannot be had.
    #[error("cannot listen at {addr}: {source}; choose another `bind`, or port 0 for any free one")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Gossip or multicast cannot be opened.
    #[error("cannot open discovery: {source}; without multicast, give `seeds` or `dns`")]
    Discovery {
        /// What the system said.
        source: io::Error,
    },
    /// A part of the node failed while it started.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A live node has this name already.
    #[error("the name `{name}` is in use by the live node at {addr}; give each node its own `name`")]
    NameTaken {
        /// The name.
        name: String,
        /// Where the other node is.
        addr: SocketAddr,
    },
}

/// Why a session could not be created. Nothing was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// This node holds as many sessions as it may.
    #[error("this node holds {limit} sessions, its limit (`max_sessions`); no session was created")]
    Full {
        /// The limit.
        limit: u64,
    },
}

/// Why it is not known whether a session exists. The visitor must not be treated as logged out: answer 503 and let
/// the client come again; or see [`crate::WhenUnsure`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not every node that may hold the session answered, or the cluster is just changing.
    #[error("cannot tell whether session {id} exists: {why}; nothing was changed, try again shortly")]
    CannotTell {
        /// Which session; printed as a short hash.
        id: SessionId,
        /// What is missing.
        why: &'static str,
        /// It stays so: all nodes that had copies may have vanished, see [`crate::Mesh::blindness`]. If not, it is
        /// usually known a moment later.
        lasting: bool,
    },
}

impl LoadError {
    /// Whether it stays so for a while: see [`LoadError::CannotTell`].
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        let Self::CannotTell { lasting, .. } = self;
        *lasting
    }
}

/// Why the sessions of a user are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// This node was given no rule that tells whose a session is. Nothing was changed.
    #[error("this node has no user index; set `user_attribute`, or `MeshBuilder::user_index`, on all nodes")]
    NoIndex,
    /// There may be sessions that were not found, so no list is given.
    #[error("cannot tell which sessions the user has: {why}; {ended} sessions were ended before, try again shortly")]
    CannotTell {
        /// What is missing.
        why: &'static str,
        /// Sessions that were ended before this was found out; none when they were only to be listed.
        ended: usize,
    },
    /// More sessions than a user can have. Nothing was changed.
    #[error("the user has more than {allowed} sessions, so they are not listed; look at how users are told apart")]
    TooMany {
        /// How many are listed at most.
        allowed: usize,
    },
}

impl UserError {
    /// The same, after so many sessions had been ended.
    pub(crate) const fn after_ending(self, ended: usize) -> Self {
        match self {
            Self::CannotTell { why, .. } => Self::CannotTell { why, ended },
            other => other,
        }
    }
}

impl From<LoadError> for UserError {
    fn from(error: LoadError) -> Self {
        let LoadError::CannotTell { why, .. } = error;
        Self::CannotTell { why, ended: 0 }
    }
}

/// Why a commit did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The session was ended, by a logout or by time. Nothing was changed.
    #[error("the session has ended; nothing was changed")]
    Ended,
    /// A renewal or a move must know what has become of the session, and that cannot be told now. Nothing was changed.
    #[error(transparent)]
    CannotTell(#[from] LoadError),
    /// No such session is known here. Nothing was changed.
    #[error("the session is unknown; nothing was changed")]
    Unknown,
    /// This node has left the cluster, or has stopped by itself: see [`crate::Mesh::failure`]. Nothing was changed; another
    /// node can do it.
    #[error("this node has left the cluster; nothing was changed, send the request to another node")]
    Left,
    /// A limit of the configuration would be exceeded. Nothing was changed.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The deadline passed before the copies were confirmed. The change stays and goes on replicating.
    #[error(
        "the change was made, but only {copies} other nodes confirmed it before the deadline; it goes on replicating"
    )]
    TimedOut {
        /// Nodes that confirmed in time.
        copies: usize,
    },
    /// `strict` asks for a copy, and there is no other node. The change stays on this node.
    #[error("the change was made, but there is no other node to hold a copy, and `strict` asks for one")]
    NoOtherNode,
    /// `strict` asks for more copies than there are nodes. The change stays.
    #[error("the change was made and has {copies} copies; `strict` asks for {wanted}")]
    TooFewCopies {
        /// Copies on other nodes.
        copies: usize,
        /// Copies asked for.
        wanted: usize,
    },
    /// The value cannot be turned into JSON, or what is stored cannot be turned into the type asked for.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl CommitError {
    /// Whether the change was made, though it has fewer copies than asked for. It stays and goes on replicating. (Not of a
    /// renewal: [`crate::Session::id`] says whether that was made.)
    #[must_use]
    pub const fn was_made(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::NoOtherNode | Self::TooFewCopies { .. })
    }
}

/// A limit of the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{found} {what}; allowed are {allowed}; nothing was changed")]
pub struct LimitExceeded {
    /// What is limited, and by which setting.
    pub what: &'static str,
    /// How much it would have been.
    pub found: u64,
    /// How much is allowed.
    pub allowed: u64,
}

/// A value does not fit its type.
#[derive(Debug, thiserror::Error)]
#[error("attribute `{key}` cannot be {action} as the type asked for: {source}; nothing was changed")]
pub struct ValueError {
    /// The attribute.
    pub key: String,
    /// "read" or "written".
    pub action: &'static str,
    /// What serde said.
    pub source: JsonError,
}

/// Why a value could not be turned into JSON, or JSON not into the type asked for, with the place in it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(serde_json::Error);

impl JsonError {
    pub(crate) const fn new(error: serde_json::Error) -> Self {
        Self(error)
    }
}

/// Why a node stopped by itself. It serves nothing any more: each load answers "cannot tell", each commit is refused with
/// [`CommitError::Left`]. What it held and no other node holds is lost, as in a crash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A later life of this node's name takes part in the cluster: the node was started elsewhere while this process was
    /// frozen or cut off.
    #[error(
        "a later life of `{name}` (incarnation {incarnation}) took this node's place while it was frozen or cut off; it \
         has stopped, and what only it held is lost; end this process, and give each node its own `name`"
    )]
    Replaced {
        /// The name of both.
        name: String,
        /// The number of the later life.
        incarnation: u64,
    },
    /// A task that the node cannot be without has ended. What panics, other than a mistake of this library, is mostly what
    /// the application logs with.
    #[error(
        "the task `{task}` of this node {how}; the node has stopped as in a crash, so that it is not half alive; start it \
         again"
    )]
    Task {
        /// Which part of the node.
        task: &'static str,
        /// What became of it: that it ended, or what its panic said.
        how: String,
    },
}

/// A node left, but could not hand over all that it held.
#[derive(Debug, thiserror::Error)]
#[error("left after {waited:.1?} with {remaining} sessions not handed over; those without another copy are lost")]
pub struct LeaveError {
    /// Sessions for which not every owner confirmed that it keeps them.
    pub remaining: usize,
    /// How long the hand-over took until then.
    pub waited: Duration,
}
