//! What a gossip datagram may ask of us, judged before the library decodes it.
//!
//! Names in it are bounded by the datagram, but its compressed blocks are not: a 64 KiB datagram could unpack to 280 MB
//! and that to gigabytes of decoded operations.

use std::collections::BTreeSet;

use chitchat::{ChitchatId, Deserializable};

use super::super::NAME_BYTES_MAX;

/// Blocks in one datagram. Honest ones carry 16 KiB each, so this is 512 KiB of gossip or about 2,000 members' data;
/// dishonest ones unpack to 64 KiB each, so this is 2 MiB.
const BLOCKS_MAX: usize = 32;

/// Incarnations known at one time, dead ones of the last minutes included. Their digest must fit a message: 512 of them
/// take at most 60 KB.
const INCARNATIONS_MAX: usize = 512;
/// So many more if they are the first ones of their name: names in a crash loop must not keep other nodes out.
const FIRST_LIVES_MAX: usize = 128;

/// Whether there is room for the incarnations that a message introduces, besides those that are known.
pub(super) fn fits<'a>(
    is_known: impl Fn(&ChitchatId) -> bool,
    known: impl ExactSizeIterator<Item = &'a ChitchatId>,
    introduced: &[ChitchatId],
) -> bool {
    let unknown: Vec<&ChitchatId> = introduced.iter().filter(|id| !is_known(id)).collect();
    let all = known.len() + unknown.len();
    if unknown.is_empty() || all <= INCARNATIONS_MAX {
        return true;
    }
    let names: BTreeSet<&str> = known.map(|id| &*id.node_id).collect();
    let first_lives = unknown.iter().all(|id| !names.contains(&*id.node_id));
    first_lives && all <= INCARNATIONS_MAX + FIRST_LIVES_MAX
}

/// Magic number and protocol version of the gossip library's datagrams.
const HEADER: [u8; 3] = [0x53, 0xB0, 0];

/// The incarnations a datagram introduces, or `None` when it must not be decoded.
pub(super) fn introduced(datagram: &[u8]) -> Option<Vec<ChitchatId>> {
    let (&kind, mut rest) = datagram.strip_prefix(&HEADER)?.split_first()?;
    match kind {
        0 => digest(&mut rest),
        1 => digest(&mut rest).filter(|_| blocks_are_few(rest)),
        2 => blocks_are_few(rest).then(Vec::new),
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
        <[u8; 24]>::deserialize(rest).ok()?;
        if id.node_id.len() > NAME_BYTES_MAX {
            return None;
        }
        ids.push(id);
    }
    Some(ids)
}

/// A delta: blocks of a kind (1 compressed, 2 plain), a length and so many bytes; kind 0 ends them.
fn blocks_are_few(mut rest: &[u8]) -> bool {
    for _ in 0..=BLOCKS_MAX {
        match u8::deserialize(&mut rest) {
            Ok(0) => return true,
            Ok(1 | 2) => {}
            _ => return false,
        }
        let length = u16::deserialize(&mut rest).unwrap_or(u16::MAX);
        let Some(after) = rest.get(usize::from(length)..) else {
            return false;
        };
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use chitchat::{ChitchatMessage, Serializable};
    use proptest::prelude::*;

    use super::*;

    fn syn(name: &str) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.push(0);
        1u16.serialize(&mut bytes);
        ChitchatId::new(name, 7, ([127, 0, 0, 1], 9).into()).serialize(&mut bytes);
        [0u8; 24].serialize(&mut bytes);
        "cluster".serialize(&mut bytes);
        bytes
    }

    #[test]
    fn an_honest_datagram_passes_and_names_whom_it_introduces() {
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
    fn long_names_and_many_blocks_are_refused() {
        assert_eq!(introduced(&syn(&"a".repeat(NAME_BYTES_MAX + 1))), None);
        let ack = |blocks| [&HEADER[..], &[2], &[2, 1, 0, 9].repeat(blocks), &[0]].concat();
        assert!(introduced(&ack(BLOCKS_MAX)).is_some());
        assert!(introduced(&ack(BLOCKS_MAX + 1)).is_none());
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
