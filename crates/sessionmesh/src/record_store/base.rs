//! What a record was when it was loaded, as fingerprints that travel in the record itself.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessionmesh_core::id::SessionId;

use super::value::RecordValue;

/// The key under which a loaded record carries the fingerprints of what was loaded. It is never stored.
pub const BASE_KEY: &str = "sessionmesh.base";

/// Characters of 16 and of 8 bytes in unpadded base64.
const PAIR_CHARS: usize = 22;
const CHECK_CHARS: usize = 11;

/// Hashes with a key that this process drew: a record is saved where it was loaded, and nobody can look for collisions.
pub(crate) fn keyed() -> &'static RandomState {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new)
}

/// A number of its own for each record that is loaded or created.
fn next_load() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The name of a session that a record may carry: whoever sees the record's attributes must not learn the id.
pub(super) fn source_of(id: SessionId) -> u64 {
    keyed().hash_one(id)
}

/// One attribute: hashes of its key and of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    key: u64,
    value: u64,
}

/// What a record was when it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// The session that it was loaded from.
    pub(super) source: u64,
    /// This one loading of it.
    pub(super) load: u64,
    /// Sorted by key.
    attributes: Vec<Fingerprint>,
}

impl Base {
    /// What `values` are now, as the record with the number `load`.
    pub(super) fn of<V: RecordValue>(source: u64, load: u64, values: &HashMap<String, V>) -> Self {
        let attributes = values.iter().filter(|(key, _)| *key != BASE_KEY);
        let fingerprint =
            |(key, value): (&String, &V)| Fingerprint { key: keyed().hash_one(&**key), value: keyed().hash_one(value) };
        let mut attributes: Vec<Fingerprint> = attributes.map(fingerprint).collect();
        attributes.sort_unstable_by_key(|attribute| attribute.key);
        Self { source, load, attributes }
    }

    /// Whether the record had an attribute `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether the record had an attribute `key` of this value.
    pub(super) fn has_same<V: RecordValue>(&self, key: &str, value: &V) -> bool {
        self.value(key).is_some_and(|before| before == keyed().hash_one(value))
    }

    fn value(&self, key: &str) -> Option<u64> {
        let key = keyed().hash_one(key);
        let at = self.attributes.binary_search_by_key(&key, |attribute| attribute.key).ok()?;
        Some(self.attributes[at].value)
    }

    /// Reads what [`BaseWriter::finish`] wrote in this process; `None` for anything else.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (pairs, check) = text.split_at_checked(text.len().checked_sub(CHECK_CHARS)?)?;
        let mut hasher = keyed().build_hasher();
        let mut pairs = pairs.as_bytes().chunks(PAIR_CHARS).map(|chars| {
            let pair = decode::<16>(chars)?;
            hasher.write(&pair);
            Some(unpair(pair))
        });
        let (source, load) = pairs.next()??;
        let attributes = pairs.map(|pair| pair.map(|(key, value)| Fingerprint { key, value }));
        let mut attributes = attributes.collect::<Option<Vec<_>>>()?;
        if decode::<8>(check.as_bytes())? != hasher.finish().to_le_bytes() {
            return None;
        }
        attributes.sort_unstable_by_key(|attribute| attribute.key);
        Some(Self { source, load, attributes })
    }
}

fn pair(high: u64, low: u64) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}

#[allow(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
fn unpair(pair: [u8; 16]) -> (u64, u64) {
    let pair = u128::from_le_bytes(pair);
    ((pair >> 64) as u64, pair as u64)
}

fn decode<const N: usize>(chars: &[u8]) -> Option<[u8; N]> {
    // The decoder asks for room by the number of characters, rounded up.
    let mut bytes = [0; PAIR_CHARS];
    let length = URL_SAFE_NO_PAD.decode_slice(chars, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
}

/// Writes a [`Base`] as text while a record is put together: one allocation, one pass.
#[derive(Debug)]
pub(super) struct BaseWriter {
    text: String,
    hasher: std::hash::DefaultHasher,
}

impl BaseWriter {
    /// A record of about so many attributes that comes from `source`.
    pub(super) fn new(source: u64, attributes: usize) -> Self {
        // Two more for the quotes of JSON text.
        let text = String::with_capacity((attributes + 1) * PAIR_CHARS + CHECK_CHARS + 2);
        let mut writer = Self { text, hasher: keyed().build_hasher() };
        writer.push(source, next_load());
        writer
    }

    /// Adds an attribute.
    pub(super) fn add<V: RecordValue>(&mut self, key: &str, value: &V) {
        self.push(keyed().hash_one(key), keyed().hash_one(value));
    }

    fn push(&mut self, high: u64, low: u64) {
        let pair = pair(high, low);
        self.hasher.write(&pair);
        URL_SAFE_NO_PAD.encode_string(pair, &mut self.text);
    }

    /// The text for [`BASE_KEY`].
    pub(super) fn finish(mut self) -> String {
        URL_SAFE_NO_PAD.encode_string(self.hasher.finish().to_le_bytes(), &mut self.text);
        self.text
    }
}

/// What `values` carries of its own past. A broken one, or one of another process, counts as none.
pub(super) fn base_in<V: RecordValue>(values: &HashMap<String, V>) -> Option<Base> {
    let carried = values.get(BASE_KEY)?;
    let base = carried.as_text().and_then(Base::read);
    if base.is_none() {
        tracing::warn!(
            "the attribute {BASE_KEY:?} of a record is broken or from another process; the whole record is written"
        );
    }
    base
}

/// Lets `values` carry what they are now.
pub(super) fn rebase<V: RecordValue>(source: u64, values: &mut HashMap<String, V>) {
    values.remove(BASE_KEY);
    let mut writer = BaseWriter::new(source, values.len());
    for (key, value) in &*values {
        writer.add(key, value);
    }
    values.insert(BASE_KEY.to_owned(), V::from_text(writer.finish()));
}
