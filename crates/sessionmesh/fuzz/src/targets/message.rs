//! A message of a link, and what its changes make of a session.

use sessionmesh_core::moment::Moment;
use sessionmesh_core::replication::delta::{Applied, Content, Delta, SlotTombstones, WireAttribute, WireEnd};
use sessionmesh_core::session::Successor;
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::users::UserKey;
use sessionmesh_core::wire::codec::{DECODED_BYTES_FACTOR, SMALL_BYTES, decode, encode, replies_to};
use sessionmesh_core::wire::message::*;
use sessionmesh_core::wire::version::{Version, Versions};

use crate::{Outcome, Target, memory};

/// What decodes messages: what it reads is what was written, in memory that the bytes justify; and a change that is merged
/// again changes nothing.
pub const TARGET: Target = Target { name: "message", check, seeds };

fn check(bytes: &[u8]) -> Outcome {
    let replies = replies_to(bytes);
    let bound = DECODED_BYTES_FACTOR * bytes.len().max(SMALL_BYTES);
    let Ok(message) = memory::within(bound, || decode(bytes, Version::NEWEST)) else { return Outcome::Refused };
    assert_eq!(encode(&message, Version::NEWEST).expect("what was read is not too large"), bytes);
    assert_eq!(replies, question(&message), "the first bytes say to what it replies");
    match &message {
        Message::Batch(batch) => batch.deltas.iter().for_each(merges),
        Message::ReadReply(ReadReply { held: Held::This(delta), .. }) => merges(delta),
        Message::Answers(answers) => {
            for code in &answers.codes {
                assert!(Answer::from_code(*code).is_none_or(|answer| answer.code() == *code));
            }
        }
        _ => {}
    }
    Outcome::Read
}

const fn question(message: &Message<'_>) -> Option<u64> {
    match message {
        Message::ReadReply(told) => Some(told.request),
        Message::ExpireVotes(votes) => Some(votes.request),
        Message::AuditDiffers(differs) => Some(differs.request),
        Message::UserReply(told) => Some(told.request),
        Message::FiguresReply(told) => Some(told.request),
        _ => None,
    }
}

/// Merging is repeatable, and what came of it is the same session wherever it is sent.
fn merges(delta: &Delta<'_>) {
    let now = Moment::START.plus_ms(1_000_000);
    let mut held = None;
    if delta.apply(&mut held, now) == Applied::NeedsWhole {
        assert!(held.is_none(), "nothing of it was taken");
        return;
    }
    let first = held.clone().expect("it was merged");
    let again = delta.apply(&mut held, now);
    assert!(matches!(again, Applied::Merged { changed: false, .. }), "{again:?}");
    assert_eq!(held.as_ref(), Some(&first));
    let whole = Delta::since(delta.id, &first, Stamp::ZERO, now);
    assert_eq!(whole.digest, first.session.digest());
    let mut elsewhere = None;
    let applied = whole.apply(&mut elsewhere, now);
    assert_eq!(applied, Applied::Merged { changed: true, newer: false });
    let elsewhere = elsewhere.expect("it was merged");
    assert_eq!((elsewhere.session.digest(), elsewhere.status()), (first.session.digest(), first.status()));
}

const ID: sessionmesh::SessionId = sessionmesh::SessionId::from_bytes([0xab; 16]);

const fn stamp(counter: u64) -> Stamp {
    Stamp { counter, node: 7 }
}

fn session(expired: Option<(Stamp, u64)>) -> Delta<'static> {
    let attributes = vec![
        WireAttribute { key: "cart", value: Some(br#"["tea"]"#), stamp: stamp(5) },
        WireAttribute { key: "theme", value: None, stamp: stamp(6) },
        WireAttribute { key: "user", value: Some(br#""ada""#), stamp: stamp(4) },
    ];
    let content =
        Content::Session { created_ms: 1_000, idle_limit_ms: 60_000, idle_limit_stamp: stamp(3), expired, attributes };
    Delta { id: ID, from: Stamp::ZERO, base: 0, digest: 4, age_ms: 50, content }
}

const fn end(successor: Option<Successor>) -> WireEnd {
    WireEnd { stamp: stamp(9), successor, retention_ms: 900_000, age_ms: 10 }
}

fn changes() -> Vec<Message<'static>> {
    let tombstone = |successor| Delta { content: Content::Tombstone(end(successor)), ..session(None) };
    let part = Delta { from: stamp(5), base: 77, ..session(None) };
    let deltas = vec![session(None), session(Some((stamp(6), 70_000))), part, tombstone(None)];
    let ended = vec![(ID, end(None)), (ID, end(Some(Successor::Renewed(ID.heir()))))];
    let tombstones =
        vec![SlotTombstones { slot: 2_748, digest: 3, ended }, SlotTombstones { slot: 1, digest: 2, ended: vec![] }];
    let told = |held| Message::ReadReply(ReadReply { request: 3, view: 4, current: true, held });
    vec![
        Message::Batch(Batch { seq: 1, counter: 12, deltas, tombstones }),
        Message::Answers(Answers { seq: 1, counter: 13, view: 4, codes: vec![0, 1, 2, 4, 5, 6] }),
        Message::ReadQuery(ReadQuery { request: 3, id: ID, digest: 5, access: true }),
        told(Held::Same { age_ms: 3 }),
        told(Held::This(tombstone(Some(Successor::Moved(ID.heir()))))),
        told(Held::Nothing),
        told(Held::Abstains),
    ]
}

fn others() -> Vec<Message<'static>> {
    let item = ExpireItem { id: ID, revision: stamp(3), age_ms: 60_001 };
    let held = vec![(ID, 4), (ID.heir(), 5)];
    let differs =
        AuditDiffers { request: 5, comparable: true, slots: vec![1, 2], tombstones: vec![3], more: false, held };
    let (request, view, counter) = (6, 4, 14);
    vec![
        Message::Hello(Hello {
            magic: MAGIC,
            version_min: Versions::OURS.oldest(),
            version_max: Versions::OURS.newest(),
            cluster: "shop",
            name: "web-1",
            incarnation: 1_700_000_000_000,
            addr: "10.0.0.1:7700",
            expects: 1,
            counter,
        }),
        Message::Welcome(Welcome { version: Versions::OURS.newest(), name: "web-2", incarnation: 3, counter }),
        Message::Refused(Refused::Cluster),
        Message::Refused(Refused::Version { min: 1, max: 2 }),
        Message::Refused(Refused::Stale { known: 4 }),
        Message::Ping(Ping { sent: 1, view, counter, leaving: false }),
        Message::Pong(Pong { sent: 1, view, counter, granted: true, clear: true }),
        Message::ExpireAsk(ExpireAsk { request, items: vec![item; 2] }),
        Message::ExpireVotes(ExpireVotes { request, nothing_later: vec![true, false] }),
        Message::Audit(Audit { request, view, slots: vec![(1, 2, 3), (4_095, 5, 6)] }),
        Message::AuditDiffers(differs),
        Message::Want(Want { ids: vec![ID], tombstones: vec![1, 2] }),
        Message::Bye,
        Message::UserQuery(UserQuery { request, rule: 5, user: UserKey::of("ada"), after: Some(ID) }),
        Message::UserReply(UserReply { request, view, counter, current: true, ids: vec![ID, ID.heir()], more: true }),
        Message::FiguresQuery(FiguresQuery { request }),
        Message::FiguresReply(FiguresReply { request, figures: Figures::default() }),
        Message::Gossip(Gossip { addr: "10.0.0.1:7700", bytes: b"\x53\xb0\x00\x03" }),
    ]
}

/// One of each kind.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let messages = changes().into_iter().chain(others());
    messages.map(|message| encode(&message, Version::NEWEST).expect("a small message")).collect()
}
