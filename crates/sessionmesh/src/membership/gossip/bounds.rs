//! What a gossip message may ask of us, judged before the library decodes it.

use std::collections::BTreeSet;

use chitchat::{ChitchatId, Deserializable, Serializable};

use super::super::NAME_BYTES_MAX;
use super::delta;

/// Incarnations known at one time, dead ones of the last minutes included. The digest of so many takes at most 60 KB.
const INCARNATIONS_MAX: usize = 512;
/// So many more if they are the first ones of their name: names in a crash loop must not keep other nodes out.
const FIRST_LIVES_MAX: usize = 128;
/// The largest digest, in bytes. The library makes messages of up to 65,510 bytes, and needs room for a delta beside it.
const DIGEST_BYTES_MAX: usize = 64_000;
/// What a digest says of an incarnation beside its id, in bytes: its heartbeat and two versions.
const COUNTERS_BYTES: usize = 24;

/// Whether there is room for the incarnations that a message introduces, besides those that are known.
pub(super) fn fits<'a>(
    is_known: impl Fn(&ChitchatId) -> bool,
    known: impl ExactSizeIterator<Item = &'a ChitchatId> + Clone,
    introduced: &[ChitchatId],
) -> bool {
    let unknown: Vec<&ChitchatId> = introduced.iter().filter(|id| !is_known(id)).collect();
    let all = known.len() + unknown.len();
    if unknown.is_empty() || all <= INCARNATIONS_MAX {
        return true;
    }
    let names: BTreeSet<&str> = known.clone().map(|id| &*id.node_id).collect();
    let first_lives = unknown.iter().all(|id| !names.contains(&*id.node_id));
    let bytes = |id: &ChitchatId| id.serialized_len() + COUNTERS_BYTES;
    let digest: usize = known.map(bytes).chain(unknown.into_iter().map(bytes)).sum();
    first_lives && all <= INCARNATIONS_MAX + FIRST_LIVES_MAX && digest <= DIGEST_BYTES_MAX
}

/// Magic number and protocol version of the gossip library's messages.
const HEADER: [u8; 3] = [0x53, 0xB0, 0];

/// The incarnations a message introduces, or `None` when it must not be decoded.
pub(super) fn introduced(message: &[u8]) -> Option<Vec<ChitchatId>> {
    let (&kind, mut rest) = message.strip_prefix(&HEADER)?.split_first()?;
    match kind {
        0 => digest(&mut rest),
        1 => digest(&mut rest).filter(|_| delta::is_sound(rest)),
        2 => delta::is_sound(rest).then(Vec::new),
        3 => Some(Vec::new()),
        _ => None,
    }
}

/// A digest: a count, and for each incarnation its id, heartbeat and two versions.
fn digest(rest: &mut &[u8]) -> Option<Vec<ChitchatId>> {
    let count = u16::deserialize(rest).ok()?;
    let mut ids = Vec::new();
    for _ in 0..count {
        let id = ChitchatId::deserialize(rest).ok()?;
        <[u8; COUNTERS_BYTES]>::deserialize(rest).ok()?;
        if id.node_id.len() > NAME_BYTES_MAX {
            return None;
        }
        ids.push(id);
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use chitchat::ChitchatMessage;
    use proptest::prelude::*;

    use super::*;

    fn syn(name: &str) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.push(0);
        1u16.serialize(&mut bytes);
        ChitchatId::new(name, 7, ([127, 0, 0, 1], 9).into()).serialize(&mut bytes);
        [0u8; COUNTERS_BYTES].serialize(&mut bytes);
        "cluster".serialize(&mut bytes);
        bytes
    }

    #[test]
    fn an_honest_message_passes_and_names_whom_it_introduces() {
        let bytes = syn("a");
        assert!(ChitchatMessage::deserialize(&mut &bytes[..]).is_ok());
        assert_eq!(introduced(&bytes).unwrap()[0].node_id.as_ref(), "a");
        let mut bytes = Vec::new();
        ChitchatMessage::BadCluster.serialize(&mut bytes);
        assert_eq!(introduced(&bytes), Some(Vec::new()));
    }

    #[test]
    fn names_in_a_crash_loop_keep_no_other_node_out() {
        let life = |name: &str, number| ChitchatId::new(name, number, ([127, 0, 0, 1], 9).into());
        let known: BTreeSet<ChitchatId> = (0..512).map(|number| life(&format!("n{}", number % 10), number)).collect();
        let fits = |introduced: &[ChitchatId]| fits(|id| known.contains(id), known.iter(), introduced);
        assert!(fits(&[life("n1", 1)]), "it is known");
        assert!(!fits(&[life("n1", 1_000)]), "another life in the loop");
        assert!(fits(&[life("n1", 1), life("web-1", 1)]), "a newcomer");
        // What a newcomer hears first are all of them at once.
        let itself = [life("web-1", 1)];
        let all: Vec<ChitchatId> = known.iter().cloned().collect();
        assert!(super::fits(|id| itself.contains(id), itself.iter(), &all));
        let strangers: Vec<ChitchatId> = (0..129).map(|number| life(&format!("s{number}"), 1)).collect();
        assert!(!fits(&strangers), "there is an end to it");
    }

    #[test]
    fn however_long_the_names_are_the_digest_of_all_leaves_room_for_a_delta() {
        let (none, longest) = (BTreeSet::new(), "n".repeat(NAME_BYTES_MAX - 3));
        let lives = |count: usize, name: &str| -> Vec<ChitchatId> {
            let addr = ([0xfe80, 0, 0, 0, 0, 0, 0, 1], 9).into();
            (100..100 + count).map(|number| ChitchatId::new(format!("{name}{number}"), 1, addr)).collect()
        };
        let fits = |introduced: &[ChitchatId]| fits(|_| false, none.iter(), introduced);
        assert!(fits(&lives(INCARNATIONS_MAX, &longest)));
        assert!(fits(&lives(INCARNATIONS_MAX + FIRST_LIVES_MAX, "n")));
        assert!(!fits(&lives(INCARNATIONS_MAX + FIRST_LIVES_MAX, &longest)));
    }

    #[test]
    fn long_names_are_refused() {
        assert_eq!(introduced(&syn(&"a".repeat(NAME_BYTES_MAX + 1))), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_or_the_decoding_behind_it_panic(
            kind in 0u8..4, tail in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let bytes = [&HEADER[..], &[kind], &tail].concat();
            if introduced(&bytes).is_some() {
                let _ = ChitchatMessage::deserialize(&mut &bytes[..]);
            }
            let _ = introduced(&tail);
        }
    }
}
