//! Lengths that lie: decoding takes no more memory than the received bytes justify.

use allocation_counter::measure;
use sessionmesh_core::id::SessionId;
use sessionmesh_core::replication::delta::{Content, Delta, SlotTombstones, WireAttribute, WireEnd};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::codec::{DECODED_BYTES_FACTOR, SMALL_BYTES, decode, encode};
use sessionmesh_core::wire::message::{
    Answers, Audit, AuditDiffers, Batch, ExpireAsk, ExpireItem, ExpireVotes, Gossip, Held, Message, ReadReply, Want,
    Welcome,
};
use sessionmesh_core::wire::version::Version;

const ID: SessionId = SessionId::from_bytes([1; 16]);
const LIES: [u64; 8] = [u64::MAX, 1 << 63, 1 << 40, 1 << 24, 1 << 20, 1 << 16, 1 << 12, 1 << 8];

fn delta() -> Delta<'static> {
    let attributes = vec![WireAttribute { key: "key", value: Some(b"value"), stamp: Stamp::ZERO }];
    let content =
        Content::Session { created_ms: 1, idle_limit_ms: 1, idle_limit_stamp: Stamp::ZERO, expired: None, attributes };
    Delta { id: ID, from: Stamp::ZERO, base: 0, digest: 0, age_ms: 0, content }
}

fn batch(deltas: usize) -> Message<'static> {
    Message::Batch(Batch { seq: 1, counter: 1, deltas: vec![delta(); deltas], tombstones: Vec::new() })
}

/// Messages with the positions of all lengths in them, and what each length says.
fn messages() -> Vec<(Message<'static>, Vec<(usize, u64)>)> {
    let item = ExpireItem { id: ID, revision: Stamp::ZERO, age_ms: 1 };
    let (slots, tombstones) = (vec![1; 3], vec![1; 2]);
    let differs = AuditDiffers { request: 1, comparable: true, slots, tombstones, more: true, held: vec![(ID, 1); 2] };
    let end = WireEnd { stamp: Stamp::ZERO, successor: None, retention_ms: 1, age_ms: 1 };
    let of_slots = vec![SlotTombstones { slot: 1, digest: 1, ended: vec![(ID, end); 2] }; 2];
    let told = ReadReply { request: 1, view: 1, current: true, held: Held::This(delta()) };
    let in_delta = |at: usize| [(at + 93, 1), (at + 101, 3), (at + 113, 5)];
    vec![
        (Message::Welcome(Welcome { version: 1, name: "name", incarnation: 1, counter: 1 }), vec![(6, 4)]),
        (batch(2), [&[(20, 2)], &in_delta(28)[..], &in_delta(28 + 142), &[(28 + 284, 0)]].concat()),
        (
            Message::Batch(Batch { seq: 1, counter: 1, deltas: Vec::new(), tombstones: of_slots }),
            vec![(20, 0), (28, 2), (36 + 12, 2), (36 + 20 + 98 + 12, 2)],
        ),
        (Message::Answers(Answers { seq: 1, counter: 1, view: 1, codes: vec![1; 3] }), vec![(28, 3)]),
        (Message::ReadReply(told), in_delta(25).to_vec()),
        (Message::ExpireAsk(ExpireAsk { request: 1, items: vec![item; 2] }), vec![(12, 2)]),
        (Message::ExpireVotes(ExpireVotes { request: 1, nothing_later: vec![true; 3] }), vec![(12, 3)]),
        (Message::Audit(Audit { request: 1, view: 1, slots: vec![(1, 1, 1); 2] }), vec![(20, 2)]),
        (Message::AuditDiffers(differs), vec![(13, 3), (27, 2), (40, 2)]),
        (Message::Want(Want { ids: vec![ID; 2], tombstones: vec![1; 3] }), vec![(4, 2), (44, 3)]),
        (Message::Gossip(Gossip { addr: "addr", bytes: b"bytes" }), vec![(4, 4), (16, 5)]),
    ]
}

/// The most memory that decoding `bytes` took at a time, and whether they were a message.
fn decoding(bytes: &[u8]) -> (u64, bool) {
    let mut decoded = false;
    let took = measure(|| decoded = decode(bytes, Version::NEWEST).is_ok());
    (took.bytes_max, decoded)
}

fn assert_bounded(bytes: &[u8]) {
    let bound = DECODED_BYTES_FACTOR * bytes.len().max(SMALL_BYTES);
    let (took, _) = decoding(bytes);
    assert!(took <= bound as u64, "{} bytes made the decoder take {took}", bytes.len());
}

fn with(bytes: &[u8], at: usize, length: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let end = bytes.len().min(at + 8);
    bytes[at..end].copy_from_slice(&length.to_le_bytes()[..end - at]);
    bytes
}

#[test]
fn every_length_that_lies_is_refused_without_taking_memory_for_it() {
    for (message, lengths) in messages() {
        let bytes = encode(&message, Version::NEWEST).expect("a small message");
        for (at, says) in lengths {
            assert_eq!(bytes[at..at + 8], says.to_le_bytes(), "the position of a length in {message:?}");
            for lie in LIES {
                let bytes = with(&bytes, at, lie);
                assert!(!decoding(&bytes).1, "{lie} at {at} of {message:?}");
                assert_bounded(&bytes);
            }
        }
    }
}

#[test]
fn whatever_stands_anywhere_takes_no_more_memory_than_the_bytes_justify() {
    for (message, _) in messages() {
        let bytes = encode(&message, Version::NEWEST).expect("a small message");
        for at in 0..bytes.len() {
            LIES.iter().for_each(|&lie| assert_bounded(&with(&bytes, at, lie)));
        }
    }
}

#[test]
fn the_bound_grows_with_the_bytes_also_when_a_large_message_lies_at_its_end() {
    let mut most = 0;
    for deltas in [1, 14, 15, 57, 58, 230, 231, 3_000, 3_700, 15_000] {
        let bytes = encode(&batch(deltas), Version::NEWEST).expect("a message below the limit");
        assert_bounded(&bytes);
        let last = bytes.len() - 8 - 142;
        for lie in LIES.into_iter().chain((0..20).map(|step| (bytes.len() as u64 >> step).max(2))) {
            for lying in [with(&bytes, last + 93, lie), with(&bytes, 20, lie)] {
                assert_bounded(&lying);
                most = most.max(decoding(&lying).0 / (lying.len().max(SMALL_BYTES) as u64));
            }
        }
    }
    assert!(most >= 4, "the worst case found takes only {most} times the bytes, so it is not the worst case");
}
