//! A recorded run as data, in simulated milliseconds since its start.

use crate::oracle::Violation;

/// Everything that was recorded of a run. Nodes are named by their number, as in scenarios.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Number of nodes.
    pub nodes: usize,
    /// The last moment of which anything is known.
    pub end_ms: u64,
    /// What nodes sent to each other, in the order of sending.
    pub messages: Vec<Message>,
    /// What the library logged, in order.
    pub notes: Vec<Note>,
    /// What clients asked, in the order of asking.
    pub requests: Vec<Request>,
    /// What the driver did and saw, in order.
    pub marks: Vec<Mark>,
    /// When nodes ran, by node and time.
    pub lives: Vec<Span>,
    /// When links were disturbed and nodes stood still, in the order of ending.
    pub disturbances: Vec<Disturbance>,
    /// The broken promise, if one was.
    pub violation: Option<Violation>,
}

/// A message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The number of the sending node.
    pub from: usize,
    /// The number of the node it is meant for.
    pub to: usize,
    /// When it was sent.
    pub sent_ms: u64,
    /// What became of it.
    pub fate: Fate,
    /// What carried it.
    pub carrier: Carrier,
    /// What it is about.
    pub topic: Topic,
    /// What it says, in a few words.
    pub text: String,
}

impl Message {
    /// When the other side had read it; `None` if it never did.
    #[must_use]
    pub fn arrived_ms(&self) -> Option<u64> {
        match self.fate {
            Fate::Arrived(at_ms) => Some(at_ms),
            Fate::UnderWay | Fate::Lost => None,
        }
    }

    /// Whether it is one of those that always flow and seldom matter.
    #[must_use]
    pub fn is_background(&self) -> bool {
        self.topic == Topic::Background
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The other side had read all of it at this moment.
    Arrived(u64),
    /// The recording ended before.
    UnderWay,
    /// It never arrived.
    Lost,
}

/// What carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A link, that is a TCP connection.
    Link,
    /// A datagram. A beacon, which is for all, is recorded once for each node that heard it.
    Datagram,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Who is there: the handshake of a link, and the farewell.
    Presence,
    /// Changes of sessions.
    Change,
    /// What became of changes.
    Answer,
    /// Questions about sessions and what is said to them.
    Question,
    /// Comparing what two nodes hold.
    Audit,
    /// Heartbeats of any sort.
    Background,
    /// It could not be read.
    Unknown,
}

/// Something that the library logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at_ms: u64,
    /// On which node, if on any.
    pub node: Option<usize>,
    /// How important it is.
    pub level: tracing::Level,
    /// The message and its fields.
    pub text: String,
}

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The node that serves it.
    pub node: usize,
    /// Who asks. One after the other: the next request of the same client begins when this one has ended.
    pub client: String,
    /// What is asked for.
    pub what: String,
    /// When it was sent.
    pub from_ms: u64,
    /// What came of it; `None` if it was still under way at the end.
    pub answer: Option<Answer>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it came.
    pub at_ms: u64,
    /// What it said.
    pub text: String,
    /// In one word.
    pub outcome: Outcome,
}

/// What came of a request, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was served, and a change is confirmed.
    Done,
    /// It was served: there is no such session, or it may not be changed.
    Refused,
    /// The node cannot tell, or does not know whether a change is safe.
    Unsure,
    /// The node died over it.
    Lost,
}

/// Something that the driver did or saw, about the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at_ms: u64,
    /// Of which sort.
    pub sort: Sort,
    /// In words.
    pub text: String,
}

/// Of which sort a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Something went wrong, or right again.
    Fault,
    /// A stage of the run.
    Stage,
}

/// A stretch of time on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The node.
    pub node: usize,
    /// Its first moment.
    pub from_ms: u64,
    /// Its last moment; the end of the recording if it went on.
    pub to_ms: u64,
}

/// A stretch of time in which something was disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// What.
    pub what: Disturbed,
    /// Its first moment.
    pub from_ms: u64,
    /// Its last moment; the end of the recording if it went on.
    pub to_ms: u64,
}

/// What is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disturbed {
    /// Nothing passes from the one node to the other.
    Cut(usize, usize),
    /// All between two nodes waits.
    Held(usize, usize),
    /// The node stands still.
    Frozen(usize),
}

/// A part of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from_ms: u64,
    /// Its last moment.
    pub to_ms: u64,
}

impl Window {
    /// All times.
    pub const ALL: Self = Self { from_ms: 0, to_ms: u64::MAX };

    /// Whether some of what lasts this long lies within.
    #[must_use]
    pub fn touches(&self, from_ms: u64, to_ms: u64) -> bool {
        from_ms <= self.to_ms && to_ms >= self.from_ms
    }
}

impl Timeline {
    /// The last so many milliseconds: before the broken promise, or before the end.
    #[must_use]
    pub fn last(&self, length_ms: u64) -> Window {
        let to_ms = self.violation.as_ref().map_or(self.end_ms, |violation| violation.at_ms);
        Window { from_ms: to_ms.saturating_sub(length_ms), to_ms }
    }

    /// When `node` did not run, between the start and the end of the recording.
    #[must_use]
    pub fn downtimes(&self, node: usize) -> Vec<Span> {
        let mut from_ms = 0;
        let mut downtimes = Vec::new();
        for life in self.lives.iter().filter(|life| life.node == node) {
            downtimes.push(Span { node, from_ms, to_ms: life.from_ms });
            from_ms = life.to_ms;
        }
        downtimes.push(Span { node, from_ms, to_ms: self.end_ms });
        downtimes.retain(|span| span.from_ms < span.to_ms);
        downtimes
    }
}
