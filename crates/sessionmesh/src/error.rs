//! What can go wrong, whether anything was changed, and what to do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sessionmesh_core::id::SessionId;
use sessionmesh_core::wire::version::Versions;

use crate::config::ConfigError;

/// Why a node did not start. No part of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The replication port cannot be opened.
    #[error("cannot listen at {addr}: {source}; choose another `bind` address, or port 0 for any free port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The sockets of gossip or multicast cannot be opened.
    #[error("cannot open the sockets of discovery: {source}; if multicast is not available, set `seeds` or `dns`")]
    Discovery {
        /// The error of the operating system.
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
        /// The address of the other node.
        addr: SocketAddr,
    },
}

/// Why a session could not be created. Nothing was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// This node has reached its limit of sessions.
    #[error("this node holds {limit} sessions, its limit (`max_sessions`); no session was created")]
    Full {
        /// The limit.
        limit: u64,
    },
}

/// Why it is not known whether a session exists. Do not treat the visitor as logged out: answer 503 and let the client
/// come again, or see [`crate::WhenUnsure`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not every node that may hold the session answered, or the cluster is changing.
    #[error("cannot tell whether session {id} exists: {why}; nothing was changed, try again shortly")]
    CannotTell {
        /// The session; printed as a short hash.
        id: SessionId,
        /// The reason.
        why: &'static str,
        /// Whether this lasts: all nodes that had copies may have vanished, see [`crate::Mesh::blindness`]. If `false`,
        /// a load usually succeeds a moment later.
        lasting: bool,
    },
}

impl LoadError {
    /// Whether this lasts for a while: see [`LoadError::CannotTell`].
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
    /// This node has no rule that finds the user of a session. Nothing was changed.
    #[error("this node has no user index; set `user_attribute`, or `MeshBuilder::user_index`, on all nodes")]
    NoIndex,
    /// Some sessions may not have been found, so no list is returned.
    #[error("cannot tell which sessions the user has: {why}; {ended} sessions were already ended, try again shortly")]
    CannotTell {
        /// The reason.
        why: &'static str,
        /// Sessions that were already ended; 0 if they were only to be listed.
        ended: usize,
    },
    /// More sessions than one user can have. Nothing was changed.
    #[error("the user has more than {allowed} sessions, so they are not listed; check the rule of the user index")]
    TooMany {
        /// The most sessions that are listed.
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

/// Why a commit did not do all that was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The session was ended, by a logout or by time. Nothing was changed.
    #[error("the session has ended; nothing was changed")]
    Ended,
    /// A renewal or a move must know the current state of the session, and this node cannot tell it now. Nothing was
    /// changed.
    #[error(transparent)]
    CannotTell(#[from] LoadError),
    /// This node does not know the session. Nothing was changed.
    #[error("the session is unknown; nothing was changed")]
    Unknown,
    /// This node has left the cluster, or has stopped by itself: see [`crate::Mesh::failure`]. Nothing was changed;
    /// another node can make the change.
    #[error("this node has left the cluster; nothing was changed, send the request to another node")]
    Left,
    /// The change would exceed a configured limit. Nothing was changed.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The deadline passed before enough copies were acknowledged. The change stays and continues to replicate.
    #[error(
        "the change was made, but only {copies} other nodes acknowledged it before the deadline; it continues to \
         replicate"
    )]
    TimedOut {
        /// Other nodes that acknowledged the change in time.
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
    /// The value cannot be written as JSON, or the stored value cannot be read as the requested type.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl CommitError {
    /// Whether the change was made, but with fewer copies than asked for. It stays and continues to replicate. (This
    /// does not apply to a renewal: [`crate::Session::id`] says whether that was made.)
    #[must_use]
    pub const fn was_made(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::NoOtherNode | Self::TooFewCopies { .. })
    }
}

/// A configured limit would be exceeded.
#[derive(Debug, thiserror::Error)]
#[error("{found} {what}; the limit is {allowed} (`{setting}`); nothing was changed")]
pub struct LimitExceeded {
    /// What is limited.
    pub what: &'static str,
    /// The setting that limits it.
    pub setting: &'static str,
    /// The amount that the change would have reached.
    pub found: u64,
    /// The limit.
    pub allowed: u64,
}

/// A value does not fit its type.
#[derive(Debug, thiserror::Error)]
#[error("attribute `{key}` cannot be {action} as the requested type: {source}; nothing was changed")]
pub struct ValueError {
    /// The attribute.
    pub key: String,
    /// "read" or "written".
    pub action: &'static str,
    /// The error of serde.
    pub source: JsonError,
}

/// Why a value cannot be written as JSON, or JSON cannot be read as the requested type, with the position in it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(serde_json::Error);

impl JsonError {
    pub(crate) const fn new(error: serde_json::Error) -> Self {
        Self(error)
    }
}

/// Why a node stopped by itself. It no longer serves anything: each load returns "cannot tell", each commit is refused
/// with [`CommitError::Left`]. Data that only this node held is lost, as in a crash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A later incarnation of this node is in the cluster: a node of this name was started elsewhere while this process
    /// was frozen or cut off.
    #[error(
        "a later incarnation of `{name}` ({incarnation}) took this node's place while it was frozen or cut off; this \
         node has stopped, and what only it held is lost; end this process, and give each node its own `name`"
    )]
    Replaced {
        /// The name of both nodes.
        name: String,
        /// The number of the later incarnation.
        incarnation: u64,
    },
    /// A node that was there before speaks no version of the protocol that this one speaks. A node that starts stops for that;
    /// the others go on without it.
    #[error(
        "the node at {addr} speaks version {theirs} of the protocol, this node {ours}; they cannot be in one cluster, and \
         this node has stopped; update all nodes, one after the other, without leaving out a version"
    )]
    OtherVersion {
        /// The address of the other node.
        addr: SocketAddr,
        /// The versions that it speaks.
        theirs: Versions,
        /// Those of this node.
        ours: Versions,
    },
    /// A task that the node cannot run without has ended. Apart from a bug in this library, the usual cause is a panic
    /// in what the application logs with.
    #[error(
        "the task `{task}` of this node {how}; the node cannot run without it and has stopped, as in a crash; start it \
         again"
    )]
    Task {
        /// The name of the task.
        task: &'static str,
        /// How it ended: without a panic, or with the message of its panic.
        how: String,
    },
}

/// A node left, but could not hand over everything that it held.
#[derive(Debug, thiserror::Error)]
#[error("left after {waited:.1?} with {remaining} sessions not handed over; those without another copy are lost")]
pub struct LeaveError {
    /// Sessions that not every owner has acknowledged.
    pub remaining: usize,
    /// How long the hand-over ran.
    pub waited: Duration,
}
