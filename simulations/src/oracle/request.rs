//! What clients ask for, and what they are told.

use std::collections::{BTreeMap, BTreeSet};

use sessionmesh::{InvalidatedAll, SessionId};

/// An attribute: the number of the tab that alone writes it, or [`SHARED`].
pub type Key = usize;
/// The attribute that all tabs write.
pub const SHARED: Key = 99;
/// The name of the attribute that all tabs count up.
pub const COUNTER: &str = "counter";

/// An attribute's value: its number, and something to give it weight.
pub type Padded = (u64, Option<String>);

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A new session, with this value of the tab's attribute.
    Create(u64),
    /// A look at the session.
    Read,
    /// A look, a pause of so many milliseconds, and a new value of the tab's attribute.
    Write(u64, u64),
    /// A look, and a new value of the shared attribute.
    Share(u64),
    /// One more, atomically.
    Count,
    /// A look, and the removal of the tab's attribute, under this number.
    Remove(u64),
    /// The end of the session.
    Logout,
    /// Another id for the session.
    Renew,
    /// A look, a pause of so many milliseconds, and a commit without a change by the handle that was kept.
    Keep(u64),
    /// A look, and a touch after the pause.
    Touch,
    /// A look, and after the pause the value that was seen is written again: of the tab's attribute, or of the shared one.
    Rewrite(Key),
    /// A look at what the node holds.
    Held,
    /// A look, and a value that is larger than allowed.
    TooLarge(u64),
    /// The session moves to the node that serves it, if it is not at home there.
    Move,
    /// A look under the id that the session had before it moved.
    ReadMoved,
    /// A look, and a list of all sessions of the user.
    List,
    /// A look, and the end of all sessions of the user.
    EndAll,
    /// The same for all but this one.
    EndOthers,
}

impl What {
    /// Whether the session may get another id by it.
    #[must_use]
    pub const fn gives_id(self) -> bool {
        matches!(self, Self::Renew | Self::Move)
    }

    /// The attribute that is written by this tab, the number of the write, and whether it is a removal.
    #[must_use]
    pub fn write(self, tab: usize) -> Option<(Key, u64, bool)> {
        match self {
            Self::Create(value) | Self::Write(value, _) | Self::TooLarge(value) => Some((tab, value, false)),
            Self::Share(value) => Some((SHARED, value, false)),
            Self::Remove(value) => Some((tab, value, true)),
            _ => None,
        }
    }
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of the login.
    pub login: usize,
    /// Who writes.
    pub tab: usize,
    /// What is asked for.
    pub what: What,
    /// Of which session; none for a new one.
    pub id: Option<SessionId>,
    /// The node that serves it.
    pub node: usize,
    /// The life of that node.
    pub life: u32,
    /// When it was sent.
    pub start_ms: u64,
    /// Members of that node's view that held the session as its owners, alive, when it was sent: node and life.
    pub holders: BTreeSet<(usize, u32)>,
    /// Since when the session was certainly not used; `None` if another request is under way.
    pub quiet_since: Option<u64>,
    /// The pause after the look, of requests that say none themselves.
    pub pause_ms: u64,
    /// After so long nobody waits for the answer any more, and the request is dropped.
    pub patience_ms: Option<u64>,
    /// A new session is of this user.
    pub user: Option<usize>,
    /// A new session has this idle limit.
    pub idle_ms: Option<u64>,
    /// A record store is used.
    pub is_record: bool,
}

/// What was told of the sessions of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsersTold {
    /// They are these.
    List(Vec<SessionId>),
    /// They have ended, but the end of some is not confirmed.
    Ended {
        /// These.
        unconfirmed: Vec<SessionId>,
    },
    /// There may be more.
    CannotTell {
        /// Why.
        why: String,
        /// So many were ended.
        ended: usize,
    },
}

/// What a load said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// "Cannot tell."
    CannotTell(String),
    /// There is no such session.
    Nothing,
    /// The session, with its attributes.
    Session(BTreeMap<String, u64>),
}

impl Seen {
    pub(super) fn value(&self, key: Key) -> Option<u64> {
        match self {
            Self::Session(values) => values.get(&name(key)).copied(),
            _ => None,
        }
    }
}

/// What became of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// None was asked for, or the load left nothing to change.
    Nothing,
    /// It was confirmed by so many other nodes, for this session.
    Acked(SessionId, usize),
    /// A record store says that it was done; so it was, if nothing was wrong.
    Saved(SessionId),
    /// It was made, but not confirmed in time.
    Unconfirmed(SessionId, String),
    /// It was not made.
    Refused(String),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the load said, if there was one, and how many milliseconds it took.
    pub seen: Option<(Seen, u64)>,
    /// What became of the change.
    pub did: Did,
    /// How many milliseconds the change took.
    pub took_ms: u64,
    /// What the counter was counted up to.
    pub counted: Option<u64>,
    /// A commit changed nothing, since all was as it was to be; or a touch may have reached nobody.
    pub unchanged: bool,
    /// What was told of the sessions of the user.
    pub users: Option<UsersTold>,
}

impl From<InvalidatedAll> for UsersTold {
    fn from(InvalidatedAll { unconfirmed, .. }: InvalidatedAll) -> Self {
        Self::Ended { unconfirmed }
    }
}

impl Reply {
    /// After no time.
    #[must_use]
    pub fn of(seen: Option<(Seen, u64)>, did: Did) -> Self {
        Self { seen, did, took_ms: 0, counted: None, unchanged: false, users: None }
    }

    /// In a few words.
    #[must_use]
    pub fn brief(&self) -> String {
        let seen = match &self.seen {
            Some((Seen::Session(values), _)) => {
                values.iter().map(|(key, value)| format!("{key}={value} ")).collect::<String>()
            }
            Some((Seen::Nothing, _)) => "none ".to_owned(),
            Some((Seen::CannotTell(why), _)) => format!("cannot tell ({why}) "),
            None => String::new(),
        };
        let did = match &self.did {
            Did::Nothing => String::new(),
            Did::Acked(id, copies) => format!("acknowledged by {copies}: {id}"),
            Did::Saved(id) => format!("saved: {id}"),
            Did::Unconfirmed(id, why) => format!("made, not confirmed: {id} ({why})"),
            Did::Refused(why) => format!("refused ({why})"),
        };
        let users = self.users.as_ref().map(|users| format!(" {users:?}")).unwrap_or_default();
        seen + &did + &users
    }
}

/// What a node says of sessions, and in which of its lives.
pub type Said = (usize, u32, BTreeMap<SessionId, Seen>);

/// The name of an attribute.
#[must_use]
pub fn name(key: Key) -> String {
    if key == SHARED { "shared".to_owned() } else { format!("tab{key}") }
}
