//! The session: a value that merges.
//!
//! Every part of a session is a join semilattice, and so is their product: merging is commutative, associative and
//! idempotent. Source: M. Shapiro et al., "Conflict-free Replicated Data Types", 2011.

use std::collections::BTreeSet;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::failpoint::{self, Bug};
use crate::moment::Moment;
use crate::stamp::Stamp;

mod end;

pub use end::{Expired, Invalidated, MOVED_READABLE_MS, RETENTION_MS_MAX, Successor, digest_in_slot};

/// An attribute's value: opaque bytes, shared and never changed in place.
pub type ValueBytes = Arc<[u8]>;

/// So many removed attributes a session remembers, at most, and those whose keys have about so many bytes together: the ones
/// that were removed last. Twice what a session may hold at a time, so that a removal is known to all owners long before it
/// is forgotten: an older copy could bring back what was removed.
///
/// A removal stays if fewer, and smaller ones together, came later. In a union that holds if it holds for what stayed on
/// each side, so copies that merged are the same.
pub const REMOVED_MAX: usize = 8_192;
const REMOVED_BYTES_MAX: usize = 32 << 20;

/// Which bytes are hashed into a digest, and how. It is in the handshake; nodes of different versions do not link.
pub const DIGEST_VERSION: u16 = 2;

/// One attribute, live or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute's name.
    pub key: Arc<str>,
    /// The value, or `None` for a removed attribute, whose stamp must outlive it.
    pub value: Option<ValueBytes>,
    /// When it was written or removed.
    pub stamp: Stamp,
}

/// The idle limit: after so long without an access the session may be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdleLimit {
    /// When it was set. First, so that the later setting is the larger value.
    pub stamp: Stamp,
    /// The limit in milliseconds, at least 1.
    pub ms: u64,
}

/// The replicated content of one session, without its last access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    attributes: Vec<Attribute>,
    idle_limit: IdleLimit,
    created_ms: u64,
    digest: u64,
    end: Option<Box<End>>,
}

/// Few sessions have one, so it is kept out of line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Expired(Expired),
    Invalidated(Invalidated),
}

/// A session with its last access: what a node holds of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The content. Shared with the requests that read it; changed copy-on-write.
    pub session: Arc<Session>,
    /// The last access, on the holder's clock.
    pub access: Moment,
}

/// Whether a session may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It lives.
    Live,
    /// It was idle for too long. A later access or revision, coming from elsewhere, would overrule this.
    Expired,
    /// It was ended for good.
    Invalidated {
        /// What took its place, if it goes on under another id.
        successor: Option<Successor>,
    },
}

impl Session {
    /// A new session without attributes. `created_ms` is wall-clock time, for display only.
    pub fn new(created_ms: u64, idle_limit: IdleLimit) -> Self {
        let mut session = Self { attributes: Vec::new(), idle_limit, created_ms, digest: 0, end: None };
        session.digest = session.computed_digest();
        session
    }

    /// The tombstone of an ended session.
    pub fn tombstone(end: Invalidated) -> Self {
        let limit = IdleLimit { stamp: Stamp::ZERO, ms: 0 };
        let mut session = Self {
            attributes: Vec::new(),
            idle_limit: limit,
            created_ms: 0,
            digest: 0,
            end: Some(Box::new(End::Invalidated(end))),
        };
        session.digest = session.computed_digest();
        session
    }

    /// The live value of `key`.
    pub fn get(&self, key: &str) -> Option<&ValueBytes> {
        self.attribute(key)?.value.as_ref()
    }

    /// The attribute `key`, live or removed.
    pub fn attribute(&self, key: &str) -> Option<&Attribute> {
        self.position(key).ok().map(|at| &self.attributes[at])
    }

    /// All attributes, removed ones too, sorted by key.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The live attributes, sorted by key.
    pub fn live(&self) -> impl Iterator<Item = (&Arc<str>, &ValueBytes)> {
        self.attributes.iter().filter_map(|a| a.value.as_ref().map(|value| (&a.key, value)))
    }

    /// Bytes of all keys, removed ones too, and of all values together.
    pub fn bytes(&self) -> usize {
        self.attributes.iter().map(|a| a.key.len() + a.value.as_ref().map_or(0, |value| value.len())).sum()
    }

    /// About how many bytes the attributes that are not older than `from` take on the wire.
    pub fn wire_bytes_since(&self, from: Stamp) -> usize {
        let attribute = |a: &Attribute| 33 + a.key.len() + a.value.as_ref().map_or(0, |value| value.len());
        128 + self.attributes.iter().filter(|a| a.stamp >= from).map(attribute).sum::<usize>()
    }

    /// The idle limit with its stamp.
    pub const fn idle_limit(&self) -> IdleLimit {
        self.idle_limit
    }

    /// When the session was created, in milliseconds since the Unix epoch, by the clock of the node that made it.
    pub const fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// Two copies with the same digest are the same copy (64 bits; the last access is not in it).
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The newest stamp in the session.
    pub fn revision(&self) -> Stamp {
        if let Some(end) = self.invalidated() {
            return end.stamp;
        }
        self.attributes.iter().map(|a| a.stamp).fold(self.idle_limit.stamp, Stamp::max)
    }

    /// How it was ended for good, if it was.
    pub fn invalidated(&self) -> Option<&Invalidated> {
        match self.end.as_deref() {
            Some(End::Invalidated(end)) => Some(end),
            _ => None,
        }
    }

    /// The mark of its expiry, if it has one. Whether it still holds, [`Record::status`] says.
    pub fn expired(&self) -> Option<&Expired> {
        match self.end.as_deref() {
            Some(End::Expired(mark)) => Some(mark),
            _ => None,
        }
    }

    /// Writes or removes one attribute, if `attribute` is newer than what is there. Says whether it was. An
    /// invalidated session takes nothing, nor does one that has seen [`REMOVED_MAX`] later removals take another one.
    pub fn put(&mut self, attribute: Attribute) -> bool {
        let before = self.digest;
        let is_removal = attribute.value.is_none();
        self.put_for_now(attribute);
        if is_removal {
            self.forget_removed();
        }
        self.digest != before
    }

    /// [`Session::put`] of each of them. Says whether anything changed.
    pub fn put_all(&mut self, attributes: impl Iterator<Item = Attribute>) -> bool {
        let (before, mut is_removal) = (self.digest, false);
        for attribute in attributes {
            is_removal |= attribute.value.is_none();
            self.put_for_now(attribute);
        }
        if is_removal {
            self.forget_removed();
        }
        self.digest != before
    }

    /// [`Session::put`], but too many removals may be remembered after it.
    fn put_for_now(&mut self, attribute: Attribute) {
        if self.invalidated().is_some() {
            return;
        }
        match self.position(&attribute.key) {
            Ok(at) => {
                if !outranks(attribute.stamp, self.attributes[at].stamp) {
                    return;
                }
                self.digest ^= attribute_hash(&self.attributes[at]) ^ attribute_hash(&attribute);
                // The key stays: it may be shared with other sessions.
                let Attribute { key: _, value, stamp } = attribute;
                let mine = &mut self.attributes[at];
                (mine.value, mine.stamp) = (value, stamp);
            }
            Err(at) => {
                self.digest ^= attribute_hash(&attribute);
                self.attributes.reserve_exact(1);
                self.attributes.insert(at, attribute);
            }
        }
    }

    /// Forgets the earliest removals that are too many.
    fn forget_removed(&mut self) {
        let is_removed = |(_, a): &(usize, &Attribute)| a.value.is_none();
        let removed = || self.attributes.iter().enumerate().filter(is_removed);
        if removed().count() <= REMOVED_MAX && removed().map(|(_, a)| a.key.len()).sum::<usize>() <= REMOVED_BYTES_MAX {
            return;
        }
        let mut latest_first: Vec<(Stamp, usize)> = removed().map(|(at, a)| (a.stamp, at)).collect();
        latest_first.sort_unstable_by(|a, b| b.cmp(a));
        let (mut later, mut bytes, mut forgotten) = (0, 0, BTreeSet::new());
        for (_, at) in latest_first {
            if later >= REMOVED_MAX || bytes >= REMOVED_BYTES_MAX {
                forgotten.insert(at);
                self.digest ^= attribute_hash(&self.attributes[at]);
            }
            later += 1;
            bytes += self.attributes[at].key.len();
        }
        let mut at = 0..;
        self.attributes.retain(|_| !at.next().is_some_and(|at| forgotten.contains(&at)));
    }

    /// Puts equal keys in the place of the keys, to share their memory.
    ///
    /// # Panics
    ///
    /// If `equal` returns another key.
    pub fn replace_keys(&mut self, equal: impl Fn(&Arc<str>) -> Arc<str>) {
        for attribute in &mut self.attributes {
            let key = equal(&attribute.key);
            assert_eq!(key, attribute.key, "a key is replaced by an equal one");
            attribute.key = key;
        }
    }

    /// Sets the idle limit, if the setting is newer. Says whether it was.
    pub fn set_idle_limit(&mut self, limit: IdleLimit) -> bool {
        if self.invalidated().is_some() || limit <= self.idle_limit {
            return false;
        }
        self.digest ^= limit_hash(self.idle_limit) ^ limit_hash(limit);
        self.idle_limit = limit;
        true
    }

    /// Ends the session for good and forgets its content. Says whether anything changed.
    pub fn invalidate(&mut self, end: Invalidated) -> bool {
        let Some(mine) = self.invalidated().copied() else {
            *self = Self::tombstone(end);
            return true;
        };
        let mut merged = mine;
        let changed = merged.merge(&end);
        if merged != mine {
            *self = Self::tombstone(merged);
        }
        changed
    }

    /// Marks the session as expired at what `mark` says. Says whether anything changed.
    pub fn expire(&mut self, mark: Expired) -> bool {
        if self.invalidated().is_some() || self.expired().is_some_and(|mine| *mine >= mark) {
            return false;
        }
        self.digest ^= self.end_hash();
        self.end = Some(Box::new(End::Expired(mark)));
        self.digest ^= self.end_hash();
        true
    }

    /// Merges what another copy holds. Says whether this copy changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        if let Some(end) = other.invalidated() {
            return self.invalidate(*end);
        }
        if self.invalidated().is_some() {
            return false;
        }
        let mut changed = self.set_idle_limit(other.idle_limit) | self.set_created(other.created_ms);
        changed |= self.put_all(other.attributes.iter().cloned());
        if let Some(mark) = other.expired() {
            changed |= self.expire(*mark);
        }
        changed
    }

    /// Takes the smaller of two creation times. Says whether it changed.
    pub fn set_created(&mut self, created_ms: u64) -> bool {
        if self.invalidated().is_some() || created_ms >= self.created_ms {
            return false;
        }
        self.digest ^= created_hash(self.created_ms) ^ created_hash(created_ms);
        self.created_ms = created_ms;
        true
    }

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

    fn end_hash(&self) -> u64 {
        match self.end.as_deref() {
            None => 0,
            Some(End::Expired(mark)) => stamp_hash(SEED_EXPIRED, mark.revision),
            Some(End::Invalidated(end)) => end.digest(),
        }
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.attributes.binary_search_by(|a| (*a.key).cmp(key))
    }
}

impl Record {
    /// A record of `session`, last accessed at `access`.
    pub fn new(session: Session, access: Moment) -> Self {
        Self { session: Arc::new(session), access }
    }

    /// The tombstone of an ended session. It was last accessed when it ended.
    pub fn tombstone(end: Invalidated) -> Self {
        Self::new(Session::tombstone(end), end.since)
    }

    /// Merges another copy, also its last access. Says whether the content changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.access = self.access.max(other.access);
        let same = other.session.digest() == self.session.digest() && other.session.end == self.session.end;
        let changed = !same && Arc::make_mut(&mut self.session).merge(&other.session);
        self.rest();
        changed
    }

    /// Ends the session for good and forgets its content. Says whether anything changed.
    pub fn invalidate(&mut self, end: Invalidated) -> bool {
        let changed = Arc::make_mut(&mut self.session).invalidate(end);
        self.rest();
        changed
    }

    /// Nobody accesses what has ended, so that its end is all there is to know of it.
    pub(crate) fn rest(&mut self) {
        if let Some(end) = self.session.invalidated() {
            self.access = end.since;
        }
    }

    /// Whether the session lives. An expiry mark counts only against what it knew.
    pub fn status(&self) -> Status {
        match self.session.end.as_deref() {
            None => Status::Live,
            Some(End::Invalidated(end)) => Status::Invalidated { successor: end.successor },
            Some(End::Expired(mark)) => {
                let known = self.session.revision() <= mark.revision
                    && self.access <= mark.access.plus_ms(access_tolerance_ms(self.session.idle_limit.ms));
                if known { Status::Expired } else { Status::Live }
            }
        }
    }

    /// Milliseconds since the last access.
    pub const fn idle_ms(&self, now: Moment) -> u64 {
        now.ms_since(self.access)
    }

    /// Whether the session lives and its idle limit has not passed, whatever other nodes know.
    pub fn is_usable(&self, now: Moment) -> bool {
        self.status() == Status::Live && !self.is_past_limit(now)
    }

    /// Whether the idle limit has passed, whatever other nodes know.
    pub fn is_past_limit(&self, now: Moment) -> bool {
        self.idle_ms(now) > self.session.idle_limit.ms
    }
}

/// By how much two notes of one access may differ, since an age does not say how long it travelled: a twentieth of
/// the idle limit, at most a second.
pub fn access_tolerance_ms(idle_limit_ms: u64) -> u64 {
    (idle_limit_ms / 20).min(1_000)
}

/// Whether a value of stamp `new` takes the place of one of stamp `old`.
fn outranks(new: Stamp, old: Stamp) -> bool {
    if failpoint::planted(Bug::StampsBackwards) && new.node != old.node {
        return new < old;
    }
    new > old || (failpoint::planted(Bug::LastArrivalWins) && new != old)
}

const SEED_ATTRIBUTE: u64 = 0x6d65_7368_0001;
const SEED_LIMIT: u64 = 0x6d65_7368_0002;
const SEED_CREATED: u64 = 0x6d65_7368_0003;
const SEED_EXPIRED: u64 = 0x6d65_7368_0004;

fn stamp_hash(seed: u64, stamp: Stamp) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&stamp.counter.to_le_bytes());
    bytes[8..].copy_from_slice(&stamp.node.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

fn limit_hash(limit: IdleLimit) -> u64 {
    xxh3_64_with_seed(&limit.ms.to_le_bytes(), stamp_hash(SEED_LIMIT, limit.stamp))
}

fn created_hash(created_ms: u64) -> u64 {
    xxh3_64_with_seed(&created_ms.to_le_bytes(), SEED_CREATED)
}

/// Hashes key and value one after the other, each seeded by what came before, so that no boundary can shift.
fn attribute_hash(attribute: &Attribute) -> u64 {
    let key = xxh3_64_with_seed(attribute.key.as_bytes(), stamp_hash(SEED_ATTRIBUTE, attribute.stamp));
    match &attribute.value {
        Some(value) => xxh3_64_with_seed(value, key),
        None => !key,
    }
}

#[cfg(test)]
mod tests;
