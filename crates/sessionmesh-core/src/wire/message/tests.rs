use std::collections::BTreeSet;

use super::*;
use crate::arbitrary::{id, stamp};
use crate::replication::delta::{Content, WireAttribute, WireEnd};
use crate::session::Successor;
use crate::wire::codec;
use crate::wire::version::Version;

#[test]
fn an_answer_is_one_byte_and_every_other_byte_is_none() {
    let table = [
        (0, CopyState::Kept, false),
        (1, CopyState::InTransit, false),
        (2, CopyState::NeedsWhole, false),
        (4, CopyState::Kept, true),
        (5, CopyState::InTransit, true),
        (6, CopyState::NeedsWhole, true),
    ];
    for code in 0..=u8::MAX {
        let expected = table.iter().find(|(of, ..)| *of == code);
        let expected = expected.map(|&(_, verdict, newer)| Answer { verdict, newer });
        assert_eq!(Answer::from_code(code), expected, "{code}");
        assert!(expected.is_none_or(|answer| answer.code() == code));
    }
}

#[test]
fn a_handshake_starts_with_the_name_of_the_protocol() {
    assert_eq!(MAGIC.to_le_bytes(), *b"SMSH");
}

fn delta(content: Content<'_>) -> Delta<'_> {
    Delta { id: id(0xaa), from: stamp(1, 2), base: 3, digest: 4, age_ms: 5, content }
}

fn session_delta(expired: Option<(Stamp, u64)>) -> Delta<'static> {
    let attributes = vec![
        WireAttribute { key: "a", value: None, stamp: stamp(6, 7) },
        WireAttribute { key: "bc", value: Some(b"de"), stamp: stamp(8, 9) },
    ];
    delta(Content::Session { created_ms: 6, idle_limit_ms: 7, idle_limit_stamp: stamp(8, 9), expired, attributes })
}

fn tombstone(successor: Option<Successor>) -> Delta<'static> {
    delta(Content::Tombstone(end(successor)))
}

const fn end(successor: Option<Successor>) -> WireEnd {
    WireEnd { stamp: stamp(6, 7), successor, retention_ms: 8, age_ms: 9 }
}

fn told(held: Held<'_>) -> Message<'_> {
    Message::ReadReply(ReadReply { request: 1, view: 2, current: true, held })
}

/// A name for each variant. A new one does not compile until it has a name, and then needs its golden bytes.
fn kinds(message: &Message<'_>) -> Vec<&'static str> {
    match message {
        Message::Hello(_) => vec!["hello"],
        Message::Welcome(_) => vec!["welcome"],
        Message::Refused(Refused::Cluster) => vec!["refused cluster"],
        Message::Refused(Refused::Version { .. }) => vec!["refused version"],
        Message::Refused(Refused::Stale { .. }) => vec!["refused stale"],
        Message::Batch(batch) => {
            let of_slot = |tombstones: &SlotTombstones| match tombstones.ended.as_slice() {
                [] => "question for the tombstones of a slot",
                _ => "tombstones of a slot",
            };
            let deltas = batch.deltas.iter().map(|delta| content_kind(&delta.content));
            deltas.chain(batch.tombstones.iter().map(of_slot)).collect()
        }
        Message::Answers(_) => vec!["answers"],
        Message::Ping(_) => vec!["ping"],
        Message::Pong(_) => vec!["pong"],
        Message::ReadQuery(_) => vec!["ask"],
        Message::ReadReply(ReadReply { held: Held::Same { .. }, .. }) => vec!["told same"],
        Message::ReadReply(ReadReply { held: Held::This(_), .. }) => vec!["told this"],
        Message::ReadReply(ReadReply { held: Held::Nothing, .. }) => vec!["told nothing"],
        Message::ReadReply(ReadReply { held: Held::Abstains, .. }) => vec!["told abstains"],
        Message::ExpireAsk(_) => vec!["expire ask"],
        Message::ExpireVotes(_) => vec!["expire votes"],
        Message::Audit(_) => vec!["audit"],
        Message::AuditDiffers(_) => vec!["audit differs"],
        Message::Want(_) => vec!["want"],
        Message::Bye => vec!["bye"],
        Message::UserQuery(UserQuery { after: None, .. }) => vec!["ask user"],
        Message::UserQuery(UserQuery { after: Some(_), .. }) => vec!["ask user for more"],
        Message::UserReply(_) => vec!["told user"],
        Message::Gossip(_) => vec!["gossip"],
        Message::FiguresQuery(_) => vec!["ask figures"],
        Message::FiguresReply(_) => vec!["told figures"],
    }
}

const fn content_kind(content: &Content<'_>) -> &'static str {
    match content {
        Content::Session { expired: None, .. } => "session",
        Content::Session { expired: Some(_), .. } => "session expired",
        Content::Tombstone(WireEnd { successor: None, .. }) => "tombstone",
        Content::Tombstone(WireEnd { successor: Some(Successor::Renewed(_)), .. }) => "tombstone renewed",
        Content::Tombstone(WireEnd { successor: Some(Successor::Moved(_)), .. }) => "tombstone moved",
    }
}

const KINDS: usize = 32;

const fn hello() -> Message<'static> {
    Message::Hello(Hello {
        magic: MAGIC,
        version_min: 1,
        version_max: 2,
        cluster: "c",
        name: "no",
        incarnation: 4,
        addr: "a:1",
        expects: 5,
        counter: 6,
    })
}

/// One of each kind, with its bytes in hex. A change here is another version of the protocol, and
/// [`crate::wire::version::Version::OLDEST`] must be that one: links of the version before cannot be spoken any more.
fn golden() -> Vec<(Message<'static>, &'static str)> {
    [golden_changes(), golden_questions()].concat()
}

fn golden_changes() -> Vec<(Message<'static>, &'static str)> {
    let batch = |delta| Message::Batch(Batch { seq: 1, counter: 2, deltas: vec![delta], tombstones: Vec::new() });
    let of_slot = |ended| {
        let tombstones = vec![SlotTombstones { slot: 0x0abc, digest: 3, ended }];
        Message::Batch(Batch { seq: 1, counter: 2, deltas: Vec::new(), tombstones })
    };
    vec![
        (
            hello(),
            "00000000 534d5348 01000200 01000000 00000000 63020000 00000000 006e6f04 00000000 00000003 \
            00000000 00000061 3a310500 00000000 00000600 00000000 0000",
        ),
        (
            Message::Welcome(Welcome { version: 1, name: "no", incarnation: 2, counter: 3 }),
            "01000000 01000200 00000000 00006e6f 02000000 00000000 03000000 00000000",
        ),
        (Message::Refused(Refused::Cluster), "02000000 00000000"),
        (Message::Refused(Refused::Version { min: 1, max: 2 }), "02000000 01000000 01000200"),
        (Message::Refused(Refused::Stale { known: 4 }), "02000000 02000000 04000000 00000000"),
        (
            batch(session_delta(None)),
            "03000000 01000000 00000000 02000000 00000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa \
            01000000 00000000 02000000 00000000 03000000 00000000 04000000 00000000 05000000 00000000 00000000 \
            06000000 00000000 07000000 00000000 08000000 00000000 09000000 00000000 00020000 00000000 00010000 \
            00000000 00610006 00000000 00000007 00000000 00000002 00000000 00000062 63010200 00000000 00006465 \
            08000000 00000000 09000000 00000000 00000000 00000000",
        ),
        (
            batch(session_delta(Some((stamp(1, 2), 3)))),
            "03000000 01000000 00000000 02000000 00000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa \
            01000000 00000000 02000000 00000000 03000000 00000000 04000000 00000000 05000000 00000000 00000000 \
            06000000 00000000 07000000 00000000 08000000 00000000 09000000 00000000 01010000 00000000 00020000 \
            00000000 00030000 00000000 00020000 00000000 00010000 00000000 00610006 00000000 00000007 00000000 \
            00000002 00000000 00000062 63010200 00000000 00006465 08000000 00000000 09000000 00000000 00000000 \
            00000000",
        ),
        (
            batch(tombstone(None)),
            "03000000 01000000 00000000 02000000 00000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa \
            01000000 00000000 02000000 00000000 03000000 00000000 04000000 00000000 05000000 00000000 01000000 \
            06000000 00000000 07000000 00000000 00080000 00000000 00090000 00000000 00000000 00000000 00",
        ),
        (
            batch(tombstone(Some(Successor::Renewed(id(0xbb))))),
            "03000000 01000000 00000000 02000000 00000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa \
            01000000 00000000 02000000 00000000 03000000 00000000 04000000 00000000 05000000 00000000 01000000 \
            06000000 00000000 07000000 00000000 01000000 00bbbbbb bbbbbbbb bbbbbbbb bbbbbbbb bb080000 00000000 \
            00090000 00000000 00000000 00000000 00",
        ),
        (
            batch(tombstone(Some(Successor::Moved(id(0xbb))))),
            "03000000 01000000 00000000 02000000 00000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa \
            01000000 00000000 02000000 00000000 03000000 00000000 04000000 00000000 05000000 00000000 01000000 \
            06000000 00000000 07000000 00000000 01010000 00bbbbbb bbbbbbbb bbbbbbbb bbbbbbbb bb080000 00000000 \
            00090000 00000000 00000000 00000000 00",
        ),
        (
            of_slot(vec![(id(0xaa), end(None))]),
            "03000000 01000000 00000000 02000000 00000000 00000000 00000000 01000000 00000000 bc0a0000 03000000 \
            00000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa 06000000 00000000 07000000 00000000 \
            00080000 00000000 00090000 00000000 00",
        ),
        (
            of_slot(Vec::new()),
            "03000000 01000000 00000000 02000000 00000000 00000000 00000000 01000000 00000000 bc0a0000 03000000 \
            00000000 00000000 00000000",
        ),
        (
            Message::Answers(Answers { seq: 1, counter: 2, view: 3, codes: vec![0, 1, 6] }),
            "04000000 01000000 00000000 02000000 00000000 03000000 00000000 03000000 00000000 000106",
        ),
        (
            Message::Ping(Ping { sent: 1, view: 2, counter: 3, leaving: true }),
            "05000000 01000000 00000000 02000000 00000000 03000000 00000000 01",
        ),
        (
            Message::Pong(Pong { sent: 1, view: 2, counter: 3, granted: true, clear: false }),
            "06000000 01000000 00000000 02000000 00000000 03000000 00000000 0100",
        ),
    ]
}

fn golden_questions() -> Vec<(Message<'static>, &'static str)> {
    let user = UserKey::from_bytes([0xcc; 16]);
    let figures = Figures {
        primary: 2,
        replica: 3,
        ended: 4,
        bytes: 5,
        waiting: 6,
        commits: 7,
        local_reads: 8,
        remote_reads: 9,
        cannot_tell: 10,
        late_ms: 11,
    };
    let item = ExpireItem { id: id(0xaa), revision: stamp(2, 3), age_ms: 4 };
    let differs = AuditDiffers {
        request: 1,
        comparable: true,
        slots: vec![0x0abc],
        tombstones: vec![0x0def],
        more: false,
        held: vec![(id(0xaa), 2)],
    };
    vec![
        (
            Message::ReadQuery(ReadQuery { request: 1, id: id(0xaa), digest: 2, access: true }),
            "07000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa 02000000 00000000 01",
        ),
        (told(Held::Same { age_ms: 3 }), "08000000 01000000 00000000 02000000 00000000 01000000 00030000 00000000 00"),
        (
            told(Held::This(tombstone(None))),
            "08000000 01000000 00000000 02000000 00000000 01010000 00aaaaaa aaaaaaaa aaaaaaaa aaaaaaaa \
            aa010000 00000000 00020000 00000000 00030000 00000000 00040000 00000000 00050000 00000000 \
            00010000 00060000 00000000 00070000 00000000 00000800 00000000 00000900 00000000 0000",
        ),
        (told(Held::Nothing), "08000000 01000000 00000000 02000000 00000000 01020000 00"),
        (told(Held::Abstains), "08000000 01000000 00000000 02000000 00000000 01030000 00"),
        (
            Message::ExpireAsk(ExpireAsk { request: 1, items: vec![item] }),
            "09000000 01000000 00000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa 02000000 \
            00000000 03000000 00000000 04000000 00000000",
        ),
        (
            Message::ExpireVotes(ExpireVotes { request: 1, nothing_later: vec![true, false] }),
            "0a000000 01000000 00000000 02000000 00000000 0100",
        ),
        (
            Message::Audit(Audit { request: 1, view: 2, slots: vec![(0x0abc, 3, 4)] }),
            "0b000000 01000000 00000000 02000000 00000000 01000000 00000000 bc0a0300 00000000 00000400 00000000 0000",
        ),
        (
            Message::AuditDiffers(differs),
            "0c000000 01000000 00000000 01010000 00000000 00bc0a01 00000000 000000ef 0d000100 00000000 0000aaaa \
            aaaaaaaa aaaaaaaa aaaaaaaa aaaa0200 00000000 0000",
        ),
        (
            Message::Want(Want { ids: vec![id(0xaa)], tombstones: vec![0x0abc] }),
            "0d000000 01000000 00000000 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa 01000000 00000000 bc0a",
        ),
        (Message::Bye, "0e000000"),
        (
            Message::UserQuery(UserQuery { request: 1, rule: 2, user, after: None }),
            "0f000000 01000000 00000000 02000000 00000000 cccccccc cccccccc cccccccc cccccccc 00",
        ),
        (
            Message::UserQuery(UserQuery { request: 1, rule: 2, user, after: Some(id(0xaa)) }),
            "0f000000 01000000 00000000 02000000 00000000 cccccccc cccccccc cccccccc cccccccc 01aaaaaa aaaaaaaa \
            aaaaaaaa aaaaaaaa aa",
        ),
        (
            Message::UserReply(UserReply {
                request: 1,
                view: 2,
                counter: 3,
                current: true,
                ids: vec![id(0xaa)],
                more: false,
            }),
            "10000000 01000000 00000000 02000000 00000000 03000000 00000000 01010000 00000000 00aaaaaa aaaaaaaa \
            aaaaaaaa aaaaaaaa aa00",
        ),
        (
            Message::Gossip(Gossip { addr: "ab", bytes: b"cde" }),
            "11000000 02000000 00000000 61620300 00000000 00006364 65",
        ),
        (Message::FiguresQuery(FiguresQuery { request: 1 }), "12000000 01000000 00000000"),
        (
            Message::FiguresReply(FiguresReply { request: 1, figures }),
            "13000000 01000000 00000000 02000000 00000000 03000000 00000000 04000000 00000000 05000000 00000000 \
            06000000 00000000 07000000 00000000 08000000 00000000 09000000 00000000 0a000000 00000000 0b000000 00000000",
        ),
    ]
}

#[test]
fn the_bytes_of_every_kind_of_message_are_part_of_the_protocol() {
    let mut wrong = String::new();
    for (message, hex) in golden() {
        let bytes: String =
            codec::encode(&message, Version::NEWEST).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        if bytes != hex.replace(' ', "") {
            wrong += &format!("{:?}: {bytes}\n", kinds(&message));
        }
    }
    assert!(wrong.is_empty(), "these bytes changed:\n{wrong}");
}

#[test]
fn every_kind_of_message_has_its_golden_bytes() {
    let kinds: BTreeSet<_> = golden().iter().flat_map(|(message, _)| kinds(message)).collect();
    assert_eq!(kinds.len(), KINDS);
}
