use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::arbitrary::{id, messages, stamp};
use crate::replication::delta::{Content, Delta, SlotTombstones, WireAttribute, WireEnd};
use crate::stamp::Stamp;
use crate::wire::message::{Batch, MAGIC, Refused, Want, Welcome};

fn encode(message: &Message<'_>) -> Result<Vec<u8>, CodecError> {
    super::encode(message, Version::NEWEST)
}

fn decode(bytes: &[u8]) -> Result<Message<'_>, CodecError> {
    super::decode(bytes, Version::NEWEST)
}

fn bincode_encode(message: &Message<'_>) -> Vec<u8> {
    bincode::serde::encode_to_vec(message, bincode::config::legacy()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_message_survives_the_journey(message in messages()) {
        let bytes = encode(&message).unwrap();
        prop_assert_eq!(decode(&bytes).unwrap(), message);
    }

    #[test]
    fn the_first_bytes_tell_to_which_question_a_message_replies(message in messages()) {
        let question = match &message {
            Message::ReadReply(told) => Some(told.request),
            Message::ExpireVotes(votes) => Some(votes.request),
            Message::AuditDiffers(differs) => Some(differs.request),
            Message::UserReply(told) => Some(told.request),
            Message::FiguresReply(told) => Some(told.request),
            _ => None,
        };
        prop_assert_eq!(replies_to(&encode(&message).unwrap()), question);
    }

    #[test]
    fn the_bytes_are_those_of_bincode(message in messages()) {
        let bytes = encode(&message).unwrap();
        prop_assert_eq!(&bytes, &bincode_encode(&message));
        let (decoded, read) =
            bincode::serde::borrow_decode_from_slice::<Message<'_>, _>(&bytes, bincode::config::legacy()).unwrap();
        prop_assert_eq!((decoded, read), (message, bytes.len()));
    }

    #[test]
    fn random_bytes_are_refused_or_are_the_message_they_say(tag in 0..20_u8, rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[tag, 0, 0, 0], &rest[..]].concat();
        refused_or_canonical(&bytes)?;
        refused_or_canonical(&rest)?;
    }

    #[test]
    fn damaged_messages_are_refused_or_are_the_message_they_say(
        message in messages(),
        other in messages(),
        damage in damages(),
    ) {
        let (mut bytes, other) = (encode(&message).unwrap(), encode(&other).unwrap());
        for damage in damage {
            damage.strike(&mut bytes, &other);
        }
        refused_or_canonical(&bytes)?;
    }

    #[test]
    fn a_message_cut_short_or_continued_is_refused(message in messages(), cut: Index, more in 1..9_usize) {
        let mut bytes = encode(&message).unwrap();
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.extend(vec![0; more]);
        prop_assert!(decode(&bytes).is_err());
    }
}

/// There is one way to write each message, so what is read is what was written.
fn refused_or_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = decode(bytes) {
        prop_assert_eq!(&encode(&message).unwrap()[..], bytes);
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Truncate(Index),
    Extend(Vec<u8>),
    Splice(Index, Index),
    Length(Index, u64),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let length = prop_oneof![Just(u64::MAX), Just(1 << 40), Just(1 << 63), Just(u64::MAX / 48 + 1), 0..100_u64];
    let damage = prop_oneof![
        (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        any::<Index>().prop_map(Damage::Truncate),
        prop::collection::vec(any::<u8>(), 1..9).prop_map(Damage::Extend),
        (any::<Index>(), any::<Index>()).prop_map(|(here, there)| Damage::Splice(here, there)),
        (any::<Index>(), length).prop_map(|(at, length)| Damage::Length(at, length)),
    ];
    prop::collection::vec(damage, 1..4)
}

impl Damage {
    fn strike(self, bytes: &mut Vec<u8>, other: &[u8]) {
        match self {
            Self::Extend(more) => bytes.extend(more),
            _ if bytes.is_empty() => {}
            Self::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Splice(here, there) => {
                bytes.truncate(here.index(bytes.len()));
                bytes.extend(&other[there.index(other.len())..]);
            }
            Self::Length(at, length) => {
                let at = at.index(bytes.len());
                let end = bytes.len().min(at + 8);
                bytes[at..end].copy_from_slice(&length.to_le_bytes()[..end - at]);
            }
        }
    }
}

fn delta<'a>(attributes: Vec<WireAttribute<'a>>) -> Delta<'a> {
    let content =
        Content::Session { created_ms: 1, idle_limit_ms: 2, idle_limit_stamp: stamp(1, 1), expired: None, attributes };
    Delta { id: id(1), from: Stamp::ZERO, base: 0, digest: 1, age_ms: 1, content }
}

fn batch(deltas: Vec<Delta<'_>>) -> Message<'_> {
    Message::Batch(Batch { seq: 1, counter: 1, deltas, tombstones: Vec::new() })
}

/// The elements that take most memory for their bytes are attributes without key and value, deltas without attributes,
/// numbered slots, and slots without tombstones.
#[test]
fn the_limit_on_reserved_memory_refuses_no_honest_message_of_any_size() {
    let steps = [SMALL_BYTES, 0x2000, 0x8000, 0x2_0000, 0x8_0000].into_iter();
    let sizes = steps.flat_map(|size| [size - 200, size, size + 200]).chain([200, (20 << 20) - 200]);
    for bytes in sizes {
        let nothing = || WireAttribute { key: "", value: None, stamp: stamp(1, 1) };
        let attributes = vec![delta((0..bytes / 25).map(|_| nothing()).collect())];
        let deltas = (0..bytes / 101).map(|_| delta(Vec::new())).collect();
        for deltas in [attributes, deltas] {
            let message = batch(deltas);
            let encoded = encode(&message).unwrap();
            assert!(decode(&encoded).unwrap() == message, "{} bytes", encoded.len());
        }
        let question = || SlotTombstones { slot: 1, digest: 1, ended: Vec::new() };
        let end = WireEnd { stamp: stamp(1, 1), successor: None, retention_ms: 1, age_ms: 1 };
        let whole = SlotTombstones { ended: vec![(id(1), end); bytes / 49], ..question() };
        for tombstones in [(0..bytes / 20).map(|_| question()).collect(), vec![whole]] {
            let message = Message::Batch(Batch { seq: 1, counter: 1, deltas: Vec::new(), tombstones });
            assert!(decode(&encode(&message).unwrap()).unwrap() == message, "tombstones, {bytes} bytes");
        }
        let slots = (0..bytes / 18).map(|_| (1, 1, 1)).collect();
        let message = Message::Audit(crate::wire::message::Audit { request: 1, view: 1, slots });
        assert!(decode(&encode(&message).unwrap()).unwrap() == message);
    }
}

#[test]
fn a_message_above_the_limit_is_neither_written_nor_read() {
    let value = vec![7; MESSAGE_BYTES_MAX];
    let attribute = WireAttribute { key: "", value: Some(&value), stamp: stamp(1, 1) };
    let message = batch(vec![delta(vec![attribute])]);
    assert!(matches!(encode(&message), Err(CodecError::TooLarge { .. })));
    let bytes = bincode_encode(&message);
    assert!(matches!(decode(&bytes), Err(CodecError::TooLarge { bytes: length }) if length == bytes.len()));
    let ids = Message::Want(Want { ids: vec![id(1); MESSAGE_BYTES_MAX / 16], tombstones: Vec::new() });
    assert!(matches!(encode(&ids), Err(CodecError::TooLarge { .. })));
}

#[test]
fn keys_and_values_are_borrowed_from_the_bytes() {
    let attribute = WireAttribute { key: "key", value: Some(b"value"), stamp: stamp(1, 1) };
    let bytes = encode(&batch(vec![delta(vec![attribute])])).unwrap();
    let Message::Batch(batch) = decode(&bytes).unwrap() else { panic!("a batch stays a batch") };
    let Content::Session { attributes, .. } = &batch.deltas[0].content else { panic!("a session stays a session") };
    let within = bytes.as_ptr_range();
    assert!(within.contains(&attributes[0].key.as_ptr()));
    assert!(within.contains(&attributes[0].value.unwrap().as_ptr()));
}

#[test]
fn later_versions_may_go_on_where_the_first_words_end() {
    let hello = Hello {
        magic: MAGIC,
        version_min: 4,
        version_max: 7,
        cluster: "shop",
        name: "n1",
        incarnation: 1,
        addr: "10.0.0.1:7700",
        expects: 2,
        counter: 3,
    };
    let mut bytes = encode_first(&Message::Hello(hello.clone())).unwrap();
    bytes.extend(b"what comes later");
    let read = super::hello(&bytes).expect("it begins as one");
    assert_eq!((read.magic, read.versions, read.hello.unwrap()), (MAGIC, Versions::new(4, 7), hello));
    for answer in [
        Message::Welcome(Welcome { version: 4, name: "n2", incarnation: 5, counter: 6 }),
        Message::Refused(Refused::Version { min: 4, max: 5 }),
    ] {
        let mut bytes = encode_first(&answer).unwrap();
        bytes.extend(b"what comes later");
        assert_eq!(decode_first(&bytes).unwrap(), answer);
    }
}

/// So a node can refuse it with its own versions.
#[test]
fn of_a_hello_in_another_form_the_versions_are_read_and_of_anything_else_nothing() {
    let head = [&[0; 4][..], &MAGIC.to_le_bytes(), &[9, 0, 11, 0]].concat();
    let read = hello(&head).expect("the head is all there");
    assert!(read.magic == MAGIC && read.versions == Versions::new(9, 11) && read.hello.is_err());
    for at in 0..head.len() {
        assert!(hello(&head[..at]).is_none(), "{at}");
    }
    assert!(hello(&encode_first(&Message::Bye).unwrap()).is_none());
    let welcome = Message::Welcome(Welcome { version: 4, name: "n2", incarnation: 5, counter: 6 });
    assert!(hello(&encode_first(&welcome).unwrap()).is_none());
}

proptest! {
    #[test]
    fn a_link_takes_messages_of_its_own_version_only(message in messages()) {
        let (newest, rehearsed) = (Version::NEWEST, Version::REHEARSED);
        let bytes = super::encode(&message, rehearsed).unwrap();
        prop_assert_eq!(super::decode(&bytes, rehearsed).unwrap(), message.clone());
        prop_assert_eq!(replies_to(&bytes), replies_to(&encode(&message).unwrap()));
        prop_assert!(super::decode(&bytes, newest).is_err());
        let earlier = super::encode(&message, newest).unwrap();
        // By chance a message may end with the number of the later version; what is left then is no message.
        prop_assert!(super::decode(&earlier, rehearsed).is_err());
    }

    #[test]
    fn no_first_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for bytes in [bytes.clone(), [&[0; 4][..], &MAGIC.to_le_bytes(), &bytes].concat()] {
            let _ = hello(&bytes);
            let _ = decode_first(&bytes);
        }
    }
}
