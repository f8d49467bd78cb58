//! What a message on a link says, in a few words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sessionmesh_core::id::NodeHash;
use sessionmesh_core::replication::delta::{Content, Delta, SlotTombstones, WireAttribute, WireEnd};
use sessionmesh_core::session::Successor;
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::codec::{self, CodecError};
use sessionmesh_core::wire::message::{Answer, AuditDiffers, Batch, CopyState, Held, Message, ReadReply, Want};
use sessionmesh_core::wire::version::Version;

use super::timeline::Topic;
use super::{clip, node_named};

/// The longest description, in characters.
const TEXT_CHARS_MAX: usize = 120;
/// Sessions of one message that are named.
const SESSIONS_MAX: usize = 3;
/// Attributes of one session that are named.
const ATTRIBUTES_MAX: usize = 3;

/// Puts messages into words. Learns from handshakes who writes under which hash, and from questions what their answers
/// are about.
#[derive(Debug, Default)]
pub struct Describer {
    writers: BTreeMap<u64, usize>,
    /// By link and number: the sessions of batches and questions that were not answered yet.
    asked: BTreeMap<(usize, Asked, u64), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Batch,
    Question,
}

impl Describer {
    /// What `bytes`, one message on this link, say.
    pub fn describe(&mut self, link: usize, bytes: &[u8]) -> (Topic, String) {
        let (topic, text) = match decode(bytes) {
            Ok(message) => self.message(link, &message),
            Err(_) => (Topic::Unknown, format!("{} bytes that are no message", bytes.len())),
        };
        (topic, clip(&text, TEXT_CHARS_MAX))
    }

    fn message(&mut self, link: usize, message: &Message<'_>) -> (Topic, String) {
        match message {
            Message::Hello(hello) => {
                self.learn(hello.name, hello.incarnation);
                let probe = if hello.expects == 0 { ", who is there?" } else { "" };
                (Topic::Presence, format!("hello from {}{probe}", hello.name))
            }
            Message::Welcome(welcome) => {
                self.learn(welcome.name, welcome.incarnation);
                (Topic::Presence, format!("welcome by {}", welcome.name))
            }
            Message::Refused(why) => (Topic::Presence, format!("refused: {why:?}")),
            Message::Bye => (Topic::Presence, "bye".to_owned()),
            Message::Batch(batch) => self.batch(link, batch),
            Message::Answers(answers) => {
                let ids = self.asked.remove(&(link, Asked::Batch, answers.seq)).unwrap_or_default();
                (Topic::Answer, format!("answers batch {}: {} {ids}", answers.seq, codes(&answers.codes)))
            }
            Message::Ping(ping) => (Topic::Background, if ping.leaving { "ping, leaving" } else { "ping" }.to_owned()),
            Message::Pong(pong) => {
                let clear = if pong.clear { "" } else { ", something waits" };
                (Topic::Background, format!("pong, {}{clear}", if pong.granted { "granted" } else { "not granted" }))
            }
            Message::ReadQuery(ask) => {
                self.asked.insert((link, Asked::Question, ask.request), format!(" of {}", ask.id));
                let held = if ask.digest == 0 { ", holds nothing" } else { "" };
                let access = if ask.access { "" } else { ", no access" };
                (Topic::Question, format!("asks {} for {}{held}{access}", ask.request, ask.id))
            }
            Message::ReadReply(told) => self.read_reply(link, told),
            Message::ExpireAsk(ask) => {
                let items = listed(&ask.items, SESSIONS_MAX, ", ", |item| item.id.to_string());
                (Topic::Question, format!("asks {}: may they expire? {items}", ask.request))
            }
            Message::ExpireVotes(votes) => {
                let yes = votes.nothing_later.iter().filter(|vote| **vote).count();
                (Topic::Question, format!("votes on {}: {yes} of {} may", votes.request, votes.nothing_later.len()))
            }
            // Every few seconds. If they find anything, the answer says so.
            Message::Audit(audit) => {
                (Topic::Background, format!("audit {} of {} slots", audit.request, audit.slots.len()))
            }
            Message::AuditDiffers(differs) => audit_differs(differs),
            Message::Want(want) => wanted(want),
            Message::UserQuery(ask) => (Topic::Question, format!("asks {}: sessions of a user?", ask.request)),
            Message::UserReply(told) => {
                let current = if told.current { "" } else { ", not current" };
                let ids = listed(&told.ids, SESSIONS_MAX, ", ", ToString::to_string);
                (Topic::Question, format!("tells {}: {ids}{current}", told.request))
            }
            Message::FiguresQuery(ask) => (Topic::Background, format!("asks {}: figures?", ask.request)),
            Message::FiguresReply(told) => (Topic::Background, format!("tells {}: its figures", told.request)),
            Message::Gossip(gossip) => (Topic::Background, format!("gossip, {} bytes", gossip.bytes.len())),
        }
    }

    fn batch(&mut self, link: usize, batch: &Batch<'_>) -> (Topic, String) {
        let name = |item: &Part| match item {
            Part::Delta(delta) => delta.id.to_string(),
            Part::Slot(of_slot) => format!("slot {}", of_slot.slot),
        };
        let deltas = batch.deltas.iter().map(Part::Delta);
        let parts: Vec<Part> = deltas.chain(batch.tombstones.iter().map(Part::Slot)).collect();
        self.asked.insert((link, Asked::Batch, batch.seq), listed(&parts, SESSIONS_MAX, " ", name));
        let of = match parts.len() {
            1 => String::new(),
            items => format!("{items} items: "),
        };
        let parts = listed(&parts, SESSIONS_MAX, ", ", |part| match part {
            Part::Delta(delta) => self.delta(delta),
            Part::Slot(of_slot) => tombstones(of_slot),
        });
        (Topic::Change, format!("batch {}: {of}{parts}", batch.seq))
    }

    fn read_reply(&mut self, link: usize, told: &ReadReply<'_>) -> (Topic, String) {
        let current = if told.current { "" } else { ", not current" };
        // Where the session follows it needs no name.
        let of = self.asked.remove(&(link, Asked::Question, told.request)).unwrap_or_default();
        let of = if matches!(told.held, Held::This(_)) { "" } else { &of };
        (Topic::Question, format!("tells {}{of}: {}{current}", told.request, self.held(&told.held)))
    }

    fn learn(&mut self, name: &str, incarnation: u64) {
        if let Some(node) = node_named(name) {
            self.writers.insert(NodeHash::of(name, incarnation).0, node);
        }
    }

    fn held(&self, held: &Held<'_>) -> String {
        match held {
            Held::Same { .. } => "the same".to_owned(),
            Held::This(delta) => self.delta(delta),
            Held::Nothing => "nothing".to_owned(),
            Held::Abstains => "abstains".to_owned(),
        }
    }

    /// `#ab12cd34 since 7.n1 tab0=5`.
    fn delta(&self, delta: &Delta<'_>) -> String {
        let mut text = delta.id.to_string();
        match &delta.content {
            Content::Tombstone(WireEnd { successor, .. }) => {
                text += " ended";
                if let Some(successor) = successor {
                    let _ = match successor {
                        Successor::Renewed(id) => write!(text, ", now {id}"),
                        Successor::Moved(id) => write!(text, ", moved to {id}"),
                    };
                }
            }
            Content::Session { .. } if delta.from == Stamp::DIGEST_ONLY => text += " the same?",
            Content::Session { attributes, expired, .. } => {
                text += &if delta.is_whole() { " whole".to_owned() } else { self.since(delta.from) };
                if expired.is_some() {
                    text += " expired";
                }
                if !attributes.is_empty() {
                    let _ = write!(text, " {}", listed(attributes, ATTRIBUTES_MAX, " ", attribute));
                }
            }
        }
        text
    }

    fn since(&self, stamp: Stamp) -> String {
        match self.writers.get(&stamp.node) {
            Some(node) => format!(" since {}.n{node}", stamp.counter),
            None => format!(" since {}", stamp.counter),
        }
    }
}

fn audit_differs(differs: &AuditDiffers) -> (Topic, String) {
    if !differs.comparable {
        return (Topic::Audit, format!("audit {}: other views, not compared", differs.request));
    }
    if differs.slots.is_empty() && differs.tombstones.is_empty() && !differs.more {
        return (Topic::Background, format!("audit {}: all the same", differs.request));
    }
    let held = listed(&differs.held, SESSIONS_MAX, ", ", |(id, _)| id.to_string());
    let (slots, tombstones) = (differs.slots.len(), differs.tombstones.len());
    let also = if tombstones == 0 { String::new() } else { format!(", tombstones of {tombstones}") };
    (Topic::Audit, format!("audit {}: {slots} slots differ{also}, holds {held}", differs.request))
}

fn wanted(want: &Want) -> (Topic, String) {
    let ids = listed(&want.ids, SESSIONS_MAX, ", ", ToString::to_string);
    let slots = want.tombstones.len();
    let also = if slots == 0 { String::new() } else { format!(", tombstones of {slots} slots") };
    (Topic::Audit, format!("wants {ids}{also}"))
}

fn attribute(attribute: &WireAttribute<'_>) -> String {
    match attribute.value {
        Some(value) => format!("{}={}", attribute.key, clip(&String::from_utf8_lossy(value), 12)),
        None => format!("{} removed", attribute.key),
    }
}

/// Equal answers in a row are counted.
fn codes(codes: &[u8]) -> String {
    let runs = codes.chunk_by(|one, other| one == other).map(|run| {
        let word = match Answer::from_code(run[0]) {
            None => "invalid".to_owned(),
            Some(Answer { verdict, newer }) => {
                let verdict = match verdict {
                    CopyState::Kept => "kept",
                    CopyState::InTransit => "passing",
                    CopyState::NeedsWhole => "needs whole",
                };
                format!("{verdict}{}", if newer { " + newer" } else { "" })
            }
        };
        if run.len() == 1 { word } else { format!("{word} ×{}", run.len()) }
    });
    runs.collect::<Vec<_>>().join(", ")
}

fn listed<T>(items: &[T], most: usize, separator: &str, word: impl Fn(&T) -> String) -> String {
    let mut words: Vec<String> = items.iter().take(most).map(word).collect();
    if items.len() > most {
        words.push(format!("and {} more", items.len() - most));
    }
    words.join(separator)
}

/// One of the things in a batch.
enum Part<'a> {
    Delta(&'a Delta<'a>),
    Slot(&'a SlotTombstones),
}

/// `slot 7: 3 tombstones`.
/// One message, whichever version its link speaks.
fn decode(bytes: &[u8]) -> Result<Message<'_>, CodecError> {
    codec::decode(bytes, Version::NEWEST).or_else(|_| codec::decode(bytes, Version::REHEARSED))
}

fn tombstones(of_slot: &SlotTombstones) -> String {
    match of_slot.ended.len() {
        0 => format!("slot {}: the same tombstones?", of_slot.slot),
        ended => format!("slot {}: {ended} tombstones", of_slot.slot),
    }
}

#[cfg(test)]
mod tests {
    use sessionmesh_core::wire::message::{Answers, Welcome};

    use super::*;

    fn describe(describer: &mut Describer, message: &Message<'_>) -> (Topic, String) {
        describer.describe(0, &codec::encode_first(message).expect("it is small"))
    }

    #[test]
    fn stamps_are_named_after_nodes_that_introduced_themselves() {
        let mut describer = Describer::default();
        let stamp = Stamp { counter: 7, node: NodeHash::of("n1", 99).0 };
        let attributes = vec![WireAttribute { key: "tab0", value: Some(b"5"), stamp }];
        let content = Content::Session {
            created_ms: 1,
            idle_limit_ms: 2,
            idle_limit_stamp: Stamp::ZERO,
            expired: None,
            attributes,
        };
        let id = sessionmesh_core::id::SessionId::from_bytes([7; 16]);
        let delta = Delta { id, from: stamp, base: 1, digest: 2, age_ms: 0, content };
        let batch = Message::Batch(Batch { seq: 12, counter: 8, deltas: vec![delta], tombstones: Vec::new() });
        assert_eq!(describe(&mut describer, &batch), (Topic::Change, format!("batch 12: {id} since 7 tab0=5")));
        describe(&mut describer, &Message::Welcome(Welcome { version: 1, name: "n1", incarnation: 99, counter: 0 }));
        assert_eq!(describe(&mut describer, &batch).1, format!("batch 12: {id} since 7.n1 tab0=5"));
        let answers = Message::Answers(Answers { seq: 12, counter: 0, view: 0, codes: vec![0] });
        assert_eq!(describe(&mut describer, &answers), (Topic::Answer, format!("answers batch 12: kept {id}")));
    }

    #[test]
    fn nothing_is_longer_than_a_line() {
        let answers = Answers { seq: 1, counter: 0, view: 0, codes: (0..100).map(|at| at % 3).collect() };
        let (topic, text) = describe(&mut Describer::default(), &Message::Answers(answers));
        assert_eq!(topic, Topic::Answer);
        assert_eq!(text.chars().count(), TEXT_CHARS_MAX);
        assert!(text.starts_with("answers batch 1: kept, passing, needs whole, kept"), "{text}");
        assert_eq!(Describer::default().describe(0, b"").0, Topic::Unknown);
    }
}
