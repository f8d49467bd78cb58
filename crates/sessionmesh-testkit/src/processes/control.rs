//! What a test says to a node process (`testnode`) and hears from it: one line of JSON each way, over a Unix socket.
//!
//! A Unix socket and not a loopback port, so that it also reaches a node in another network namespace, and so that a
//! request can wait in the socket of a process that is stopped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sessionmesh::{Config, SessionId};

/// The attributes of a session in a test: all are texts.
pub type Attributes = BTreeMap<String, String>;

/// What a node process is started with, as its one argument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The settings of the node.
    pub config: Config,
    /// A directory of its own, for [`CONTROL`] and [`OUTCOME`].
    pub dir: std::path::PathBuf,
}

/// The control socket in the directory of a node process.
pub const CONTROL: &str = "control";
/// The file with the [`Outcome`] of the start, in the directory of a node process.
pub const OUTCOME: &str = "outcome";

/// How a start ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The node runs, and others reach it here.
    Started(std::net::SocketAddr),
    /// It refused to start, for this reason.
    Refused(String),
}

/// The acknowledgement that a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// What the configuration says.
    #[default]
    Configured,
    /// None.
    Local,
    /// So many other nodes.
    Copies(u8),
    /// Every owner.
    Owners,
}

/// What a node process can be asked. The requests of one connection are answered one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Waits until the node is ready: [`Figures`] of that very moment.
    Ready,
    /// Whether it is ready: `bool`.
    IsReady,
    /// `Vec<Seen>`.
    Members,
    /// [`Figures`].
    Stats,
    /// What happened since this was asked last: `Vec<Happened>`.
    Events,
    /// Creates sessions: `Vec<Done>`.
    Create {
        /// What is in each.
        sessions: Vec<Attributes>,
        /// What each waits for.
        ack: Wish,
    },
    /// Creates sessions with one attribute `value` each that cannot be compressed: `Vec<Done>`.
    Fill {
        /// How many.
        sessions: usize,
        /// The length of the attribute.
        value_bytes: usize,
    },
    /// Loads each session, writes the attributes and commits: `Vec<Done>`.
    Write {
        /// Which sessions, and what is written to each.
        writes: Vec<(SessionId, Attributes)>,
        /// What each waits for.
        ack: Wish,
    },
    /// Loads sessions: `Vec<Loaded>`.
    Load(Vec<SessionId>),
    /// Ends sessions: `Vec<Done>`.
    Invalidate(Vec<SessionId>),
    /// Gives sessions another id, which is in the answer: `Vec<Done>`.
    Renew(Vec<SessionId>),
    /// Who should hold them: `Vec<Vec<String>>`, the primary first.
    Owners(Vec<SessionId>),
    /// The digest of what is held here of each: `Vec<Option<u64>>`.
    Digests(Vec<SessionId>),
    /// Leaves within so many milliseconds: how many sessions could not be handed over, `usize`.
    Leave(u64),
}

/// What became of a change of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// It has the copies that were asked for, and so many were confirmed.
    Acknowledged(SessionId, usize),
    /// It was not acknowledged; it may have been made all the same.
    Failed(SessionId, String),
}

impl Done {
    /// The session, if its change was acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> Option<SessionId> {
        match self {
            Self::Acknowledged(id, _) => Some(*id),
            Self::Failed(..) => None,
        }
    }
}

/// What came of loading one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loaded {
    /// It is there, with these attributes.
    Session(Attributes),
    /// There is none.
    None,
    /// It is not known whether there is one.
    CannotTell(String),
}

/// A member as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its life.
    pub incarnation: u64,
    /// `Joining`, `Ready` or `Leaving`.
    pub state: String,
}

/// The figures of a node that tests look at; see `sessionmesh::Stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names and meanings are those of `sessionmesh::Stats`")]
pub struct Figures {
    pub sessions: usize,
    pub ended: usize,
    pub owned: usize,
    pub outbox: usize,
    pub suspected: Vec<String>,
    pub suspicions: u64,
    pub late_ms: u64,
    pub busy: bool,
    pub local_reads: u64,
    pub remote_reads: u64,
    pub commit_timeouts: u64,
    pub audit_differences: u64,
    pub bytes_decoded: u64,
    /// By the names of the reasons.
    pub refusals: BTreeMap<String, u64>,
}

/// Something that a node told its application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happened {
    /// A session was created, expired, ended or renewed.
    Session(String, SessionId),
    /// A member came.
    Up(String),
    /// A member went; it said so before, or not.
    Down(String, bool),
}
