//! The identity of a session, and the slot that every identity falls into.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128_with_seed};

/// The number of slots. Placement is decided per slot, never per session. Part of the protocol.
pub const SLOTS: usize = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 12;
const SLOT_MASK: u16 = (1 << SLOT_BITS) - 1;
const ENCODED_CHARS: usize = 22;
/// Bytes of an id before its check.
const CHECKED_BYTES: usize = 14;
/// The seeds of the check and of heirs. Part of the protocol.
const CHECK_SEED: u64 = u64::from_be_bytes(*b"id-check");
const HEIR_SEED: u64 = u64::from_be_bytes(*b"id--heir");

/// One of the [`SLOTS`] groups of sessions that are placed together.
///
/// A slot always lies in `0..SLOTS`. It has no wire format of its own: messages carry a `u16`, and [`Slot::new`]
/// refuses what a peer must not say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of this number, if there is one.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number <= SLOT_MASK { Some(Self(number)) } else { None }
    }

    /// The slot of the lowest 12 bits of `number`, for drawing a slot at random.
    #[must_use]
    pub const fn masked(number: u16) -> Self {
        Self(number & SLOT_MASK)
    }

    /// All slots in ascending order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..1 << SLOT_BITS).map(Self)
    }

    /// The number of this slot, as messages carry it.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The smallest id that lies in this slot.
    #[must_use]
    pub const fn first(self) -> SessionId {
        let [high, low] = (self.0 << 4).to_be_bytes();
        SessionId([high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// The position of this slot in a table of [`SLOTS`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The secret name of a session: its [`Slot`] in the top 12 bits, 100 random bits, and a check of 16 bits over both.
///
/// The check is not a secret, and no protection against anybody who reads this page. It shows at once, without asking
/// other nodes, that a made-up or mistyped id belongs to no session: see [`SessionId::is_minted`].
///
/// Anybody who knows the id *is* the user, so `Debug` and `Display` print only a short hash such as `#1f3a9c02`, which is keyed
/// where there is a cluster secret: see [`key_short_hashes`]. Use
/// [`SessionId::encode`] for text that a cookie can carry. Serialising the id (serde or wincode, the same 16 bytes in
/// bincode's format) writes the id itself.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    wincode::SchemaWrite,
    wincode::SchemaRead,
)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new id in `slot`: random bits, the top 12 overwritten by the slot, the last 16 by the check.
    ///
    /// Hidden, since the traits of one version of `rand` are no part of what applications may use.
    #[doc(hidden)]
    pub fn mint<R: rand::RngCore + rand::CryptoRng + ?Sized>(rng: &mut R, slot: Slot) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self::checked(bytes, slot)
    }

    fn checked(mut bytes: [u8; 16], slot: Slot) -> Self {
        let [high, low] = (slot.0 << 4).to_be_bytes();
        bytes[0] = high;
        bytes[1] = low | (bytes[1] & 0x0f);
        let check = check_of(&bytes);
        bytes[CHECKED_BYTES..].copy_from_slice(&check);
        Self(bytes)
    }

    /// Whether this id can have been minted: its check is right. If not, no session ever had it. One in 65,536 made-up
    /// ids passes.
    #[must_use]
    pub fn is_minted(&self) -> bool {
        self.0[CHECKED_BYTES..] == check_of(&self.0)
    }

    /// An id in the same slot, for a session whose own id ended although nobody wanted that: see the record stores of
    /// `sessionmesh`. It is always the same one, and does not lead back to this id.
    #[must_use]
    pub fn heir(&self) -> Self {
        Self::checked(xxh3_128_with_seed(&self.0, HEIR_SEED).to_be_bytes(), self.slot())
    }

    /// The slot of this id. It never changes.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        Slot(u16::from_be_bytes([self.0[0], self.0[1]]) >> 4)
    }

    /// The id of these bytes. Every 16 bytes are an id.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of this id, most significant first. Secret.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id as 22 characters of unpadded base64url, for a cookie. Secret.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads the text that [`SessionId::encode`] wrote, and nothing else: each id has one text.
    ///
    /// # Errors
    ///
    /// [`InvalidSessionId`] for any other text. The error does not repeat the text.
    pub fn decode(text: &str) -> Result<Self, InvalidSessionId> {
        if text.len() != ENCODED_CHARS {
            return Err(InvalidSessionId);
        }
        let mut decoded = [0; ENCODED_CHARS];
        let bytes = URL_SAFE_NO_PAD.decode_slice(text, &mut decoded).map_err(|_| InvalidSessionId)?;
        decoded[..bytes].try_into().map(Self).map_err(|_| InvalidSessionId)
    }

    /// A hash that logs may show: it distinguishes ids, and does not lead back to them. Once [`key_short_hashes`] was called, only
    /// who has its key can tell whether a given id has this hash.
    #[must_use]
    pub fn short_hash(&self) -> u32 {
        (xxh3_64_with_seed(&self.0, SHORT_HASH_KEY.load(Ordering::Relaxed)) >> 32) as u32
    }
}

/// The key of all short hashes of this process; 0 until there is one.
static SHORT_HASH_KEY: AtomicU64 = AtomicU64::new(0);

/// Has all short hashes of this process depend on `key`. The first key stays: what a log calls by one hash must not get another
/// one in the middle of it.
///
/// For the whole process, since `Debug` and `Display` of an id cannot know for which node they are called.
pub fn key_short_hashes(key: u64) {
    let _ = SHORT_HASH_KEY.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
}

#[allow(clippy::cast_possible_truncation, reason = "the check has 16 bits")]
fn check_of(bytes: &[u8; 16]) -> [u8; 2] {
    (xxh3_64_with_seed(&bytes[..CHECKED_BYTES], CHECK_SEED) as u16).to_be_bytes()
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::decode(text)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:08x}", self.short_hash())
    }
}

/// The text is not a session id. Treat the request as one without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session id: expected 22 characters of canonical unpadded base64url")]
pub struct InvalidSessionId;

/// One incarnation of one node in 64 bits; breaks ties between stamps of the same counter. Part of the protocol.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    wincode::SchemaWrite,
    wincode::SchemaRead,
)]
pub struct NodeHash(pub u64);

impl NodeHash {
    /// The xxh3-64 of the name, followed by the incarnation in little-endian order.
    #[must_use]
    pub fn of(name: &str, incarnation: u64) -> Self {
        Self(xxh3_64(&[name.as_bytes(), &incarnation.to_le_bytes()].concat()))
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeHash({:016x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    const BYTES: [u8; 16] = [0xab, 0xcd, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn the_slot_is_the_top_twelve_bits() {
        assert_eq!(SessionId::from_bytes(BYTES).slot().number(), 0xabc);
        assert_eq!(Slot::new(4095), Some(Slot(4095)));
        assert_eq!(Slot::new(4096), None);
        assert_eq!(Slot::masked(0xfabc), Slot(0xabc));
        assert_eq!(Slot::all().len(), SLOTS);
        assert!(Slot::all().map(Slot::index).eq(0..SLOTS));
    }

    #[test]
    fn the_text_and_the_short_hash_are_part_of_the_protocol() {
        let id = SessionId::from_bytes(BYTES);
        assert_eq!(id.encode(), "q80CAwQFBgcICQoLDA0ODw");
        assert_eq!(format!("{id} {id:?}"), "#a12412f9 #a12412f9");
    }

    #[test]
    fn only_the_canonical_text_is_read() {
        let text = SessionId::from_bytes(BYTES).encode();
        assert_eq!(text.parse(), Ok(SessionId::from_bytes(BYTES)));
        let not_canonical = format!("{}x", &text[..21]);
        let standard_alphabet = format!("+{}", &text[1..]);
        let newline = format!("{}\n", &text[..21]);
        let umlauts = "ä".repeat(11);
        for wrong in [
            "",
            &text[..21],
            &format!("{text}A"),
            &format!("{text}=="),
            &not_canonical,
            &standard_alphabet,
            &newline,
            &umlauts,
        ] {
            assert_eq!(SessionId::decode(wrong), Err(InvalidSessionId), "{wrong:?}");
        }
        assert!(!InvalidSessionId.to_string().contains(&text[..4]));
    }

    #[test]
    fn the_check_and_the_heir_are_part_of_the_protocol() {
        let id = SessionId::checked(BYTES, Slot(0xabc));
        assert_eq!(id.encode(), "q80CAwQFBgcICQoLDA1pTg");
        assert_eq!(id.heir().encode(), "q8bMH2X1wvIfnwuFJdyR-Q");
        assert!(!SessionId::from_bytes(BYTES).is_minted());
    }

    #[test]
    fn an_id_that_was_made_up_is_known_as_such() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut made_up = || {
            let mut bytes = [0; 16];
            rand::RngCore::fill_bytes(&mut rng, &mut bytes);
            SessionId::from_bytes(bytes)
        };
        let passed = (0..10_000).filter(|_| made_up().is_minted()).count();
        assert!(passed <= 3, "{passed} of 10,000 passed");
    }

    #[test]
    fn every_bit_of_an_id_counts_for_its_check() {
        let id = SessionId::mint(&mut StdRng::seed_from_u64(3), Slot(7));
        for bit in 0..128 {
            let other = u128::from_be_bytes(*id.as_bytes()) ^ (1 << bit);
            assert!(!SessionId::from_bytes(other.to_be_bytes()).is_minted(), "bit {bit}");
        }
    }

    #[test]
    fn all_bits_outside_the_slot_are_drawn() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut ones, mut zeros) = (0_u128, 0_u128);
        for _ in 0..200 {
            let bits = u128::from_be_bytes(*SessionId::mint(&mut rng, Slot(0xabc)).as_bytes());
            (ones, zeros) = (ones | bits, zeros | !bits);
        }
        assert_eq!(ones & zeros, u128::MAX >> SLOT_BITS);
    }

    proptest! {
        #[test]
        fn a_minted_id_lies_in_its_slot(slot in 0..4096_u16, seed: u64) {
            let id = SessionId::mint(&mut StdRng::seed_from_u64(seed), Slot(slot));
            prop_assert_eq!(id.slot(), Slot(slot));
            prop_assert!(id.is_minted());
            let heir = id.heir();
            prop_assert!(heir.is_minted() && heir != id && heir.slot() == id.slot());
        }

        #[test]
        fn an_id_survives_text_and_both_codecs(bytes: [u8; 16]) {
            let id = SessionId::from_bytes(bytes);
            prop_assert_eq!(SessionId::decode(&id.encode()), Ok(id));
            let encoded = wincode::serialize(&id).unwrap();
            prop_assert_eq!(&encoded[..], &bytes[..]);
            prop_assert_eq!(bincode::serde::encode_to_vec(id, bincode::config::legacy()).unwrap(), &bytes[..]);
            prop_assert_eq!(wincode::deserialize::<SessionId>(&encoded).unwrap(), id);
        }

        #[test]
        fn any_text_is_refused_or_is_the_text_of_its_id(text in "[A-Za-z0-9_-]{22}|.{0,30}") {
            if let Ok(id) = SessionId::decode(&text) {
                prop_assert_eq!(id.encode(), text);
            }
        }
    }
}
