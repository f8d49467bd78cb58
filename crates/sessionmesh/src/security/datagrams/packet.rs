//! The bytes of a sealed datagram.
//!
//! In clear: `SMs1`; the key id (8); the life of the sender (16), a random number of its own for each start of a process; a
//! random nonce (12). Then sealed by ChaCha20-Poly1305, under a key of that life: a number that grows (8); what it is (1);
//! the token of the sender (8) and of the receiver (8); the payload. Numbers are little-endian.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::security::key_ring::{Key, KeyId};

/// How a sealed datagram begins; the digit is the version of the sealing.
const MARK: [u8; 4] = *b"SMs1";
const LIFE_AT: usize = MARK.len() + 8;
const NONCE_AT: usize = LIFE_AT + 16;
const SEALED_AT: usize = NONCE_AT + 12;
const TAG_BYTES: usize = 16;
const INNER_BYTES: usize = 25;
/// What sealing adds to a payload, in bytes.
pub(crate) const ADDED_BYTES: usize = SEALED_AT + INNER_BYTES + TAG_BYTES;

/// One life of a node, as datagrams name it.
pub(super) type Life = [u8; 16];
/// What a receiver wants to see in what is meant for it now.
pub(super) type Token = u64;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Something for the receiver with that token.
    Payload = 0,
    /// Asks the receiver for its token.
    Greeting = 1,
    /// Tells it; the payload is that of the greeting.
    Answer = 2,
    /// For everybody in a multicast group. It may be an old one, sent again by somebody else.
    Beacon = 3,
    /// Something that a later version knows, and this one does not.
    Later = u8::MAX,
}

impl Kind {
    const fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Payload,
            1 => Self::Greeting,
            2 => Self::Answer,
            3 => Self::Beacon,
            _ => Self::Later,
        }
    }
}

/// What is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inner {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) sender: Token,
    pub(super) receiver: Token,
    pub(super) payload: Vec<u8>,
}

/// What a datagram says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outer {
    pub(super) key: KeyId,
    pub(super) life: Life,
}

/// The key of the datagrams of one life of a node.
pub(super) struct LifeKey(LessSafeKey);

impl std::fmt::Debug for LifeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LifeKey(hidden)")
    }
}

impl LifeKey {
    pub(super) fn new(key: &Key, life: &Life) -> Self {
        let bytes = key.datagram_key(life);
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*bytes).expect("a key has 32 bytes")))
    }

    pub(super) fn seal(&self, outer: Outer, nonce: [u8; 12], inner: &Inner) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ADDED_BYTES + inner.payload.len());
        bytes.extend_from_slice(&MARK);
        bytes.extend_from_slice(&outer.key.0);
        bytes.extend_from_slice(&outer.life);
        bytes.extend_from_slice(&nonce);
        let mut sealed = inner.number.to_le_bytes().to_vec();
        sealed.push(inner.kind as u8);
        sealed.extend_from_slice(&inner.sender.to_le_bytes());
        sealed.extend_from_slice(&inner.receiver.to_le_bytes());
        sealed.extend_from_slice(&inner.payload);
        let (nonce, context) = (Nonce::assume_unique_for_key(nonce), Aad::from(&bytes));
        self.0.seal_in_place_append_tag(nonce, context, &mut sealed).expect("a datagram is far below the limit");
        bytes.extend_from_slice(&sealed);
        bytes
    }

    /// What is in it, or `None` if this key did not seal just these bytes.
    pub(super) fn open(&self, datagram: &[u8]) -> Option<Inner> {
        let (clear, sealed) = datagram.split_at_checked(SEALED_AT)?;
        let nonce = Nonce::try_assume_unique_for_key(clear.get(NONCE_AT..)?).ok()?;
        let mut sealed = sealed.to_vec();
        let inner = self.0.open_in_place(nonce, Aad::from(clear), &mut sealed).ok()?;
        let (number, rest) = inner.split_first_chunk()?;
        let (&[kind], rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        let (receiver, payload) = rest.split_first_chunk()?;
        Some(Inner {
            number: u64::from_le_bytes(*number),
            kind: Kind::of(kind),
            sender: Token::from_le_bytes(*sender),
            receiver: Token::from_le_bytes(*receiver),
            payload: payload.to_vec(),
        })
    }
}

/// Whether somebody with a secret sent this.
pub(crate) fn is_sealed(datagram: &[u8]) -> bool {
    datagram.starts_with(&MARK)
}

/// What a datagram says in clear, if it is one of ours.
pub(super) fn outer(datagram: &[u8]) -> Option<Outer> {
    let rest = datagram.strip_prefix(&MARK)?;
    if datagram.len() < ADDED_BYTES {
        return None;
    }
    let (key, rest) = rest.split_first_chunk()?;
    let life = rest.first_chunk()?;
    Some(Outer { key: KeyId(*key), life: *life })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::key_ring::KeyRing;
    use crate::security::secret::Secret;

    fn sealed() -> (LifeKey, Vec<u8>, Inner) {
        let ring = KeyRing::new(&[Secret::generate()], "shop").unwrap();
        let outer = Outer { key: ring.keys()[0].id, life: [7; 16] };
        let key = LifeKey::new(&ring.keys()[0], &outer.life);
        let inner = Inner { number: 5, kind: Kind::Payload, sender: 6, receiver: 7, payload: b"gossip".to_vec() };
        let datagram = key.seal(outer, [9; 12], &inner);
        assert_eq!(super::outer(&datagram), Some(outer));
        (key, datagram, inner)
    }

    #[test]
    fn what_is_sealed_opens_and_adds_what_it_says() {
        let (key, datagram, inner) = sealed();
        assert_eq!(datagram.len(), ADDED_BYTES + inner.payload.len());
        assert_eq!(key.open(&datagram), Some(inner));
    }

    /// Every version greets so whom it does not know. The bytes were made by another implementation of RFC 8439.
    #[test]
    fn the_bytes_of_a_sealed_datagram_are_part_of_the_protocol() {
        let secret = Secret::parse("3q2Jf0dXUzVbq7mRk1sYgE5wA9tLhPcOiZ8nTuB6vKo=").unwrap();
        let ring = KeyRing::new(&[secret], "shop").unwrap();
        let outer = Outer { key: ring.keys()[0].id, life: [7; 16] };
        let inner = Inner { number: 5, kind: Kind::Payload, sender: 6, receiver: 7, payload: b"gossip".to_vec() };
        let datagram = LifeKey::new(&ring.keys()[0], &outer.life).seal(outer, [9; 12], &inner);
        let hex: String = datagram.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "534d7331c5374af23146c6d7070707070707070707070707070707070909090909090909090909097e317b3e389c646d \
            4606149e23fba40e2f601224ac4073943565b503dc94086b8a42fa26f94ee9c7352410831ffc95";
        assert_eq!(hex, expected.replace(' ', ""));
    }

    #[test]
    fn one_bit_changed_anywhere_and_any_cut_opens_nothing() {
        let (key, datagram, _) = sealed();
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1 << (at % 8);
            assert_eq!(key.open(&changed), None, "byte {at}");
            assert_eq!(key.open(&datagram[..at]), None, "cut at {at}");
        }
    }
}
