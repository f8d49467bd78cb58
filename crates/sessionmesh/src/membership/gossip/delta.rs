//! What a delta may say, read before the library applies it.
//!
//! The library takes a delta for one that it wrote itself, and so do its newer versions. What arrives need not be one, so
//! only what a member can have written gets past this: of a node its values, or how far it has counted if it has none.
//! What the decoder behind this refuses by itself is not looked at.

use chitchat::{ChitchatId, Deserializable};

/// Blocks in one delta. Honest ones carry 16 KiB each, so this is 512 KiB of gossip or about 2,000 members' data;
/// dishonest ones unpack to 64 KiB each, so this is 2 MiB.
const BLOCKS_MAX: usize = 32;
/// What a block unpacks to at most, as in the library.
const BLOCK_BYTES_MAX: usize = 65_535;

/// The longest key and value, in bytes. Members say things of 200 bytes at most; this leaves room for later versions, and a
/// value still fits into a message beside the largest digest.
const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1_024;

/// Whether a member can have written the delta that `bytes` begin with.
pub(super) fn is_sound(bytes: &[u8]) -> bool {
    unpacked(bytes).is_some_and(|operations| are_sound(&operations))
}

/// The operations of a delta: blocks of a kind (1 compressed, 2 plain), a length and so many bytes; kind 0 ends them.
fn unpacked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut operations = Vec::new();
    for _ in 0..=BLOCKS_MAX {
        let kind = u8::deserialize(&mut rest).ok()?;
        if kind == 0 {
            return Some(operations);
        }
        let length = u16::deserialize(&mut rest).ok()?;
        let (block, after) = rest.split_at_checked(usize::from(length))?;
        match kind {
            1 => operations.extend(zstd::bulk::decompress(block, BLOCK_BYTES_MAX).ok()?),
            2 => operations.extend_from_slice(block),
            _ => return None,
        }
        rest = after;
    }
    None
}

/// What the last operation was.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// Which node the next ones are about.
    Node,
    Value,
    /// All there is of a node; or nothing yet.
    All,
}

fn are_sound(mut rest: &[u8]) -> bool {
    let mut last = Some(Said::All);
    while let Some(said) = last
        && !rest.is_empty()
    {
        last = operation(&mut rest, said);
    }
    last.is_some()
}

/// Takes one operation off `rest`. `None` if it may not follow the last one, or says what no member says.
fn operation(rest: &mut &[u8], last: Said) -> Option<Said> {
    match (u8::deserialize(rest).ok()?, last) {
        (0, _) => {
            ChitchatId::deserialize(rest).ok()?;
            // Up to which version it has forgotten what was removed, and after which one it tells.
            <[u8; 16]>::deserialize(rest).ok()?;
            Some(Said::Node)
        }
        (1, Said::Node | Said::Value) => {
            let (key, value) = (String::deserialize(rest).ok()?, String::deserialize(rest).ok()?);
            // Its version, and whether it is removed.
            <[u8; 9]>::deserialize(rest).ok()?;
            let is_key = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
            (is_key && value.len() <= VALUE_BYTES_MAX).then_some(Said::Value)
        }
        (2, Said::Node) => {
            u64::deserialize(rest).ok()?;
            Some(Said::All)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chitchat::{ChitchatMessage, Serializable};
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str) -> Vec<u8> {
        let mut bytes = vec![0];
        ChitchatId::new(name, 7, ([127, 0, 0, 1], 9).into()).serialize(&mut bytes);
        [0u8; 16].serialize(&mut bytes);
        bytes
    }

    fn value(key: &str, value: &str, version: u64) -> Vec<u8> {
        let mut bytes = vec![1];
        key.serialize(&mut bytes);
        value.serialize(&mut bytes);
        version.serialize(&mut bytes);
        bytes.push(0);
        bytes
    }

    fn counted(version: u64) -> Vec<u8> {
        let mut bytes = vec![2];
        version.serialize(&mut bytes);
        bytes
    }

    /// A delta of one block.
    fn block(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        [&[kind], &length.to_le_bytes()[..], bytes, &[0]].concat()
    }

    fn is_decoded(delta: &[u8]) -> bool {
        let message = [&[0x53, 0xB0, 0, 2], delta].concat();
        ChitchatMessage::deserialize(&mut &message[..]).is_ok()
    }

    #[test]
    fn what_members_write_passes_compressed_or_not() {
        let said =
            [node("a"), value("zone", "", 1), value("state", "ready", 3), node("b"), node("c"), counted(9)].concat();
        let compressed = zstd::bulk::compress(&said, 0).unwrap();
        for delta in [block(2, &said), block(1, &compressed), vec![0]] {
            assert!(is_sound(&delta) && is_decoded(&delta));
        }
    }

    #[test]
    fn what_no_member_writes_is_refused() {
        let long = "a".repeat(KEY_BYTES_MAX + 1);
        let longer = "a".repeat(VALUE_BYTES_MAX + 1);
        // All of it is decoded, and harmless.
        for said in [
            vec![node("a"), value("", "", 1)],
            vec![node("a"), value("the zone", "", 1)],
            vec![node("a"), value(&long, "", 1)],
            vec![node("a"), value("zone", &longer, 1)],
            vec![node("a"), counted(1), value("zone", "", 2)],
        ] {
            let delta = block(2, &said.concat());
            assert!(is_decoded(&delta));
            assert!(!is_sound(&delta), "{said:?}");
        }
        assert!(!is_sound(&block(2, &counted(1))), "of whom?");
        assert!(!is_sound(&block(3, &node("a"))));
    }

    #[test]
    fn what_is_cut_off_is_refused_and_what_follows_a_delta_is_not_looked_at() {
        let delta = block(2, &[node("a"), value("zone", "b", 1)].concat());
        for length in 0..delta.len() {
            assert!(!is_sound(&delta[..length]));
        }
        assert!(is_sound(&[&delta[..], &[9; 9]].concat()));
        let said = [node("a"), value("zone", "b", 1)].concat();
        for length in node("a").len() + 1..said.len() {
            assert!(!is_sound(&block(2, &said[..length])));
        }
    }

    #[test]
    fn many_blocks_are_refused() {
        let blocks = |count| [[2, 0, 0].repeat(count), vec![0]].concat();
        assert!(is_sound(&blocks(BLOCKS_MAX)));
        assert!(!is_sound(&blocks(BLOCKS_MAX + 1)));
    }

    #[test]
    fn a_block_that_unpacks_to_too_much_is_refused() {
        let packed = |bytes: usize| block(1, &zstd::bulk::compress(&vec![0; bytes], 0).unwrap());
        assert!(unpacked(&packed(BLOCK_BYTES_MAX)).is_some());
        assert!(unpacked(&packed(BLOCK_BYTES_MAX + 1)).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..3) {
            is_sound(&bytes);
            is_sound(&block(kind, &bytes));
            is_sound(&block(2, &[node("a"), bytes].concat()));
        }
    }
}
