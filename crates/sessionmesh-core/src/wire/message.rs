//! What two nodes say to each other over a link.
//!
//! The dialler of a link asks and the other side answers on the same connection, so a pair of nodes has two links,
//! one for each direction. The order of variants and fields is the protocol: the golden bytes in the tests show it.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::id::SessionId;
use crate::replication::delta::{Delta, SlotTombstones};
use crate::stamp::Stamp;
use crate::users::UserKey;

/// First field of a handshake: "SMSH" in little-endian bytes.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SMSH");

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub enum Message<'a> {
    /// Opens a link.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// Accepts a link.
    #[serde(borrow)]
    Welcome(Welcome<'a>),
    /// Refuses a link, and says why.
    Refused(Refused),
    /// Changes of sessions.
    #[serde(borrow)]
    Batch(Batch<'a>),
    /// The answers to a batch, one for each delta and then one for each slot, in its order.
    Answers(Answers),
    /// "I am here; are you, and do you keep me up to date?"
    Ping(Ping),
    /// The answer to a ping.
    Pong(Pong),
    /// "What do you hold of this session?"
    ReadQuery(ReadQuery),
    /// The answer to [`Message::ReadQuery`].
    #[serde(borrow)]
    ReadReply(ReadReply<'a>),
    /// "May these sessions expire?"
    ExpireAsk(ExpireAsk),
    /// The votes on [`Message::ExpireAsk`], one for each session, in its order.
    ExpireVotes(ExpireVotes),
    /// The digests of slots that both should hold.
    Audit(Audit),
    /// What the other side holds in the slots that differ.
    AuditDiffers(AuditDiffers),
    /// "Send me these sessions, and the tombstones of these slots."
    Want(Want),
    /// "I go, and have handed over what I held."
    Bye,
    /// "Which sessions of this user do you hold?"
    UserQuery(UserQuery),
    /// The answer to [`Message::UserQuery`].
    UserReply(UserReply),
    /// A message of the gossip, on a connection of its own, because datagrams do not pass.
    #[serde(borrow)]
    Gossip(Gossip<'a>),
    /// "What do you hold, and what have you done?", for operators.
    FiguresQuery(FiguresQuery),
    /// The answer to [`Message::FiguresQuery`].
    FiguresReply(FiguresReply),
}

/// Who dials, and whom it expects. Every version must understand it as it is here: later ones add fields at its end, and
/// [`crate::wire::codec::hello`] skips those that this one does not know.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// [`MAGIC`].
    pub magic: u32,
    /// The oldest version the dialler speaks.
    pub version_min: u16,
    /// The newest version the dialler speaks.
    pub version_max: u16,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The dialler's node name.
    pub name: &'a str,
    /// The dialler's incarnation.
    pub incarnation: u64,
    /// Where the dialler accepts links itself.
    pub addr: &'a str,
    /// The incarnation that the dialler expects to reach; 0 when it only wants to know who is there.
    pub expects: u64,
    /// The dialler's Lamport counter.
    pub counter: u64,
}

/// Who answered. Later versions add fields at its end only, as to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Welcome<'a> {
    /// The version that both will speak.
    pub version: u16,
    /// The node's name.
    pub name: &'a str,
    /// Its incarnation. Another one than expected is an empty node.
    pub incarnation: u64,
    /// Its Lamport counter.
    pub counter: u64,
}

/// Why a link was refused. Later versions add reasons at its end only, for diallers that know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub enum Refused {
    /// Another cluster lives here.
    Cluster,
    /// No common protocol version; the range of the refusing side.
    Version {
        /// Its oldest version.
        min: u16,
        /// Its newest version.
        max: u16,
    },
    /// A newer incarnation of the dialler's name is known.
    Stale {
        /// The incarnation that is known.
        known: u64,
    },
}

/// Changes of sessions, numbered for their answers.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Batch<'a> {
    /// Number of the batch on this link.
    pub seq: u64,
    /// The sender's Lamport counter.
    pub counter: u64,
    /// The changes.
    #[serde(borrow)]
    pub deltas: Vec<Delta<'a>>,
    /// The tombstones of whole slots.
    pub tombstones: Vec<SlotTombstones>,
}

/// What became of each part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Answers {
    /// Number of the batch.
    pub seq: u64,
    /// The answerer's Lamport counter.
    pub counter: u64,
    /// Hash of the answerer's view when it answered.
    pub view: u64,
    /// One [`Answer::code`] for each delta, and then one for the tombstones of each slot.
    pub codes: Vec<u8>,
}

/// What the receiver of a delta says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it has the session now, and as what.
    pub verdict: CopyState,
    /// It holds something that the sender lacks, and will send it.
    pub newer: bool,
}

/// Whether the receiver of a delta has the session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It holds at least what was sent, and considers itself an owner.
    Kept,
    /// It holds at least what was sent, but by its view others are the owners.
    InTransit,
    /// The delta does not fit what it holds: it needs the whole session.
    NeedsWhole,
}

impl Answer {
    /// As one byte: 0 kept, 1 passing, 2 needs whole; plus 4 for newer.
    pub const fn code(self) -> u8 {
        let verdict = match self.verdict {
            CopyState::Kept => 0,
            CopyState::InTransit => 1,
            CopyState::NeedsWhole => 2,
        };
        verdict | if self.newer { 4 } else { 0 }
    }

    /// From its byte; `None` for a byte that is no answer.
    pub const fn from_code(code: u8) -> Option<Self> {
        let verdict = match code & 3 {
            0 => CopyState::Kept,
            1 => CopyState::InTransit,
            2 => CopyState::NeedsWhole,
            _ => return None,
        };
        if code > 7 {
            return None;
        }
        Some(Self { verdict, newer: code & 4 != 0 })
    }
}

/// Asks for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Ping {
    /// When it was sent, on the sender's clock; comes back in the pong.
    pub sent: u64,
    /// Hash of the sender's view.
    pub view: u64,
    /// The sender's Lamport counter.
    pub counter: u64,
    /// The sender is leaving.
    pub leaving: bool,
}

/// Grants or denies a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Pong {
    /// [`Ping::sent`], returned.
    pub sent: u64,
    /// Hash of the answerer's view.
    pub view: u64,
    /// The answerer's Lamport counter.
    pub counter: u64,
    /// The answerer leaves no write acknowledged without the asker until the lease, counted from `sent`, has run out;
    /// and it once had nothing waiting for the asker under this view.
    pub granted: bool,
    /// Nothing waits for the asker at this moment.
    pub clear: bool,
}

/// Asks for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct ReadQuery {
    /// Number of the question on this link.
    pub request: u64,
    /// The session.
    pub id: SessionId,
    /// Digest of what the asker holds; 0 for nothing.
    pub digest: u64,
    /// The question comes from an access now, which the owners must know of.
    pub access: bool,
}

/// What the answerer holds of a session.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct ReadReply<'a> {
    /// Number of the question.
    pub request: u64,
    /// Hash of the answerer's view.
    pub view: u64,
    /// The answerer is an owner and knows that it has missed nothing.
    pub current: bool,
    /// What it holds.
    #[serde(borrow)]
    pub held: Held<'a>,
}

/// What a node holds of a session.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub enum Held<'a> {
    /// The same as the asker; milliseconds since the last access.
    Same {
        /// Age of the last access.
        age_ms: u64,
    },
    /// This: the session whole, or its tombstone.
    #[serde(borrow)]
    This(Delta<'a>),
    /// Nothing.
    Nothing,
    /// It is joining and cannot tell yet.
    Abstains,
}

/// Asks the other owners whether sessions may expire.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct ExpireAsk {
    /// Number of the question on this link.
    pub request: u64,
    /// The sessions.
    pub items: Vec<ExpireItem>,
}

/// One session that may expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct ExpireItem {
    /// The session.
    pub id: SessionId,
    /// The newest stamp that the asker holds of it.
    pub revision: Stamp,
    /// Age of the last access that the asker knows of, in milliseconds.
    pub age_ms: u64,
}

/// The votes of one owner.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct ExpireVotes {
    /// Number of the question.
    pub request: u64,
    /// One for each session: true for "nothing later here, and it is fenced until your verdict".
    pub nothing_later: Vec<bool>,
}

/// Digests of slots.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Audit {
    /// Number of the audit on this link.
    pub request: u64,
    /// Hash of the asker's view.
    pub view: u64,
    /// Slots that both own by that view, with the digests of their sessions and of their tombstones.
    pub slots: Vec<(u16, u64, u64)>,
}

/// The content of slots that differ.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct AuditDiffers {
    /// Number of the audit.
    pub request: u64,
    /// Whether the views agree. If not, nothing was compared.
    pub comparable: bool,
    /// The slots whose sessions differ and are listed completely in `held`.
    pub slots: Vec<u16>,
    /// The slots whose tombstones differ.
    pub tombstones: Vec<u16>,
    /// Slots that differ but did not fit; ask again for them.
    pub more: bool,
    /// Every session that the answerer holds in those slots and that was not ended for good, with its digest.
    pub held: Vec<(SessionId, u64)>,
}

/// Asks for the sessions of a user, a page at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct UserQuery {
    /// Number of the question on this link.
    pub request: u64,
    /// By which rule the asker tells whose a session is. Who goes by another one cannot answer.
    pub rule: u64,
    /// The user.
    pub user: UserKey,
    /// The last id of the page before; none asks for the first page.
    pub after: Option<SessionId>,
}

/// One page of the sessions of a user that the answerer holds.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct UserReply {
    /// Number of the question.
    pub request: u64,
    /// Hash of the answerer's view.
    pub view: u64,
    /// The answerer's Lamport counter.
    pub counter: u64,
    /// The answerer goes by the same rule, and knows that it has missed nothing of what it owns.
    pub current: bool,
    /// Their ids, ascending, at most [`USER_IDS_MAX`].
    pub ids: Vec<SessionId>,
    /// There are more after the last one.
    pub more: bool,
}

/// Ids in one [`UserReply`].
pub const USER_IDS_MAX: usize = 4096;

/// Gossip that does not pass as datagrams.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Gossip<'a> {
    /// Where the sender receives gossip: its answers go there.
    pub addr: &'a str,
    /// The message, in the bytes of the gossip library.
    pub bytes: &'a [u8],
}

/// Asks a member for its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct FiguresQuery {
    /// Number of the question on this link.
    pub request: u64,
}

/// The figures of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct FiguresReply {
    /// Number of the question.
    pub request: u64,
    /// What it holds and has done.
    pub figures: Figures,
}

/// What a node holds, and what it has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Figures {
    /// Live sessions of which it is the primary.
    pub primary: u64,
    /// Live sessions of which it is another owner.
    pub replica: u64,
    /// Tombstones and expired sessions that it holds.
    pub ended: u64,
    /// Bytes of the keys and values of all sessions that it holds.
    pub bytes: u64,
    /// Sessions with changes that wait to be sent to other nodes, or are on their way.
    pub waiting: u64,
    /// Commits that were made on it.
    pub commits: u64,
    /// Reads that it answered from its own memory.
    pub local_reads: u64,
    /// Reads for which it asked others.
    pub remote_reads: u64,
    /// Reads that could not tell whether there is a session.
    pub cannot_tell: u64,
    /// How late it does its work, in milliseconds.
    pub late_ms: u64,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Want {
    /// Sessions.
    pub ids: Vec<SessionId>,
    /// Slots, of which to send all tombstones.
    pub tombstones: Vec<u16>,
}

#[cfg(test)]
mod tests;
