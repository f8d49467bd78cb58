//! The session: a value that merges.
//!
//! Every part of a session is a join semilattice, and so is their product: merging is commutative, associative and
//! idempotent. Source: M. Shapiro et al., "Conflict-free Replicated Data Types", 2011.
//!
//! `record`: a session with its last access. `removed`: how many removals it remembers. `end`: how it ends. `digest`:
//! when two copies are the same.

use std::sync::Arc;

use crate::failpoint::{self, Bug};
use crate::stamp::Stamp;

mod digest;
mod end;
mod record;
mod removed;

use digest::{attribute_hash, created_hash, limit_hash};
pub use end::{Expired, Invalidated, MOVED_READABLE_MS, RETENTION_MS_MAX, Successor, digest_in_slot};
pub use record::{Record, Status, access_tolerance_ms};
pub use removed::REMOVED_MAX;

/// An attribute's value: opaque bytes, shared and never changed in place.
pub type ValueBytes = Arc<[u8]>;

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

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.attributes.binary_search_by(|a| (*a.key).cmp(key))
    }
}

/// Whether a value of stamp `new` takes the place of one of stamp `old`.
fn outranks(new: Stamp, old: Stamp) -> bool {
    if failpoint::planted(Bug::StampsBackwards) && new.node != old.node {
        return new < old;
    }
    new > old || (failpoint::planted(Bug::LastArrivalWins) && new != old)
}

#[cfg(test)]
mod tests;
