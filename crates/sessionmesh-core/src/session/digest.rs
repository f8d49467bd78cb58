//! The digest of a session: the XOR of a hash for each of its parts, so that a change costs only the part that changed.
//!
//! Which bytes are hashed, and how, is part of the protocol: a version that changes it computes the digests of the version
//! before, too, and says those on links of that version.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Attribute, End, IdleLimit, Session};
use crate::stamp::Stamp;

const SEED_ATTRIBUTE: u64 = 0x6d65_7368_0001;
const SEED_LIMIT: u64 = 0x6d65_7368_0002;
const SEED_CREATED: u64 = 0x6d65_7368_0003;
const SEED_EXPIRED: u64 = 0x6d65_7368_0004;

impl Session {
    /// The digest of all that a delta from `from` leaves out: the attributes older than it. 0 when there are none.
    pub fn base_digest(&self, from: Stamp) -> u64 {
        if from == Stamp::ZERO {
            return 0;
        }
        self.attributes.iter().filter(|a| a.stamp < from).fold(0, |sum, a| sum ^ attribute_hash(a))
    }

    /// [`Session::base_digest`] without the attributes of these keys: what a delta that carries them finds in place.
    pub fn base_digest_without<'k>(&self, from: Stamp, keys: impl Iterator<Item = &'k str>) -> u64 {
        let replaced = keys.filter_map(|key| self.attribute(key)).filter(|a| a.stamp < from);
        replaced.fold(self.base_digest(from), |sum, a| sum ^ attribute_hash(a))
    }

    /// The digest from scratch; equal to [`Session::digest`], which is kept up to date in O(1) per change.
    pub fn computed_digest(&self) -> u64 {
        if self.invalidated().is_some() {
            return self.end_hash();
        }
        self.base_digest(Stamp::DIGEST_ONLY)
            ^ limit_hash(self.idle_limit)
            ^ created_hash(self.created_ms)
            ^ self.end_hash()
    }

    pub(super) fn end_hash(&self) -> u64 {
        match self.end.as_deref() {
            None => 0,
            Some(End::Expired(mark)) => stamp_hash(SEED_EXPIRED, mark.revision),
            Some(End::Invalidated(end)) => end.digest(),
        }
    }
}

fn stamp_hash(seed: u64, stamp: Stamp) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&stamp.counter.to_le_bytes());
    bytes[8..].copy_from_slice(&stamp.node.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

pub(super) fn limit_hash(limit: IdleLimit) -> u64 {
    xxh3_64_with_seed(&limit.ms.to_le_bytes(), stamp_hash(SEED_LIMIT, limit.stamp))
}

pub(super) fn created_hash(created_ms: u64) -> u64 {
    xxh3_64_with_seed(&created_ms.to_le_bytes(), SEED_CREATED)
}

/// Hashes key and value one after the other, each seeded by what came before, so that no boundary can shift.
pub(super) fn attribute_hash(attribute: &Attribute) -> u64 {
    let key = xxh3_64_with_seed(attribute.key.as_bytes(), stamp_hash(SEED_ATTRIBUTE, attribute.stamp));
    match &attribute.value {
        Some(value) => xxh3_64_with_seed(value, key),
        None => !key,
    }
}
