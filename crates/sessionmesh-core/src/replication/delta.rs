//! What travels of a session: all of it, what changed since a stamp, or only the question "do you have this?".

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::failpoint::{self, Bug};
use crate::id::SessionId;
use crate::moment::Moment;
use crate::session::{
    Attribute, Expired, IdleLimit, Invalidated, REMOVED_MAX, RETENTION_MS_MAX, Record, Session, Successor,
    access_tolerance_ms,
};
use crate::stamp::Stamp;

/// The part of a session that changed at or after a stamp, borrowed from the session or from the received frame.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Delta<'a> {
    /// Whose session it is.
    pub id: SessionId,
    /// Everything older than this was left out.
    pub from: Stamp,
    /// Digest of what was left out. A receiver that holds anything else there cannot use the delta.
    pub base: u64,
    /// Digest of the sender's whole session.
    pub digest: u64,
    /// Milliseconds since the last access that the sender knows of.
    pub age_ms: u64,
    /// The content.
    #[serde(borrow)]
    pub content: Content<'a>,
}

/// What a delta carries.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub enum Content<'a> {
    /// A session, ended by idleness at most.
    Session {
        /// Wall-clock creation time in milliseconds since the Unix epoch.
        created_ms: u64,
        /// The idle limit in milliseconds.
        idle_limit_ms: u64,
        /// When the limit was set.
        idle_limit_stamp: Stamp,
        /// The mark of its expiry: the revision, and the age of the access in milliseconds.
        expired: Option<(Stamp, u64)>,
        /// The attributes, sorted by key.
        #[serde(borrow)]
        attributes: Vec<WireAttribute<'a>>,
    },
    /// The tombstone of a session that was ended for good.
    Tombstone(WireEnd),
}

/// How a session was ended for good, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct WireEnd {
    /// When it was ended.
    pub stamp: Stamp,
    /// What took its place.
    pub successor: Option<Successor>,
    /// How long the tombstone is kept, in milliseconds.
    pub retention_ms: u64,
    /// How long ago it was ended, in milliseconds, so that passing it on does not renew it.
    pub age_ms: u64,
}

impl WireEnd {
    /// What to say of `end` at the sender's time `now`.
    pub fn of(end: &Invalidated, now: Moment) -> Self {
        let Invalidated { successor, stamp, retention_ms, since } = *end;
        Self { stamp, successor, retention_ms, age_ms: now.ms_since(since) }
    }

    /// The end, at the receiver's time `now`.
    pub fn to_end(&self, now: Moment) -> Invalidated {
        let Self { stamp, successor, retention_ms, age_ms } = *self;
        Invalidated { successor, stamp, retention_ms: retention_ms.min(RETENTION_MS_MAX), since: now.minus_ms(age_ms) }
    }
}

/// Tombstones of one slot, which travel together when a node hands over or repairs many.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct SlotTombstones {
    /// The number of the slot; in four bytes, so that this takes no more than twice as much memory.
    pub slot: u32,
    /// Digest of all that the sender holds of the slot: see [`crate::tombstones::Tombstones::digest`].
    pub digest: u64,
    /// All of them; none for the question whether the receiver has the same.
    pub ended: Vec<(SessionId, WireEnd)>,
}

/// An attribute on the wire.
#[derive(Clone, Debug, PartialEq, Eq, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct WireAttribute<'a> {
    /// The name.
    pub key: &'a str,
    /// The value; none when it was removed.
    pub value: Option<&'a [u8]>,
    /// When it was written or removed.
    pub stamp: Stamp,
}

impl WireAttribute<'_> {
    /// The attribute, with memory of its own.
    pub fn to_attribute(&self) -> Attribute {
        Attribute { key: Arc::from(self.key), value: self.value.map(Arc::from), stamp: self.stamp }
    }
}

/// What came of merging a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The receiver now holds at least what was sent.
    Merged {
        /// Its content changed.
        changed: bool,
        /// It holds something that the sender lacks.
        newer: bool,
    },
    /// The delta does not fit what the receiver holds. Nothing of it was taken; the whole session is needed.
    NeedsWhole,
}

impl<'a> Delta<'a> {
    /// What `record` has that is not older than `from`, at the sender's time `now`.
    pub fn since(id: SessionId, record: &'a Record, from: Stamp, now: Moment) -> Self {
        let session = &*record.session;
        let content = match session.invalidated() {
            Some(end) => Content::Tombstone(WireEnd::of(end, now)),
            None => Content::Session {
                created_ms: session.created_ms(),
                idle_limit_ms: session.idle_limit().ms,
                idle_limit_stamp: session.idle_limit().stamp,
                expired: session.expired().map(|mark| (mark.revision, now.ms_since(mark.access))),
                attributes: session
                    .attributes()
                    .iter()
                    .filter(|a| a.stamp >= from)
                    .map(|a| WireAttribute { key: &a.key, value: a.value.as_deref(), stamp: a.stamp })
                    .collect(),
            },
        };
        // The idle limit always travels, so only attributes can be missing.
        let base = if session.invalidated().is_some() { 0 } else { session.base_digest(from) };
        Self { id, from, base, digest: session.digest(), age_ms: now.ms_since(record.access), content }
    }

    /// Whether this alone makes a complete session.
    pub fn is_whole(&self) -> bool {
        matches!(self.content, Content::Tombstone(_)) || (self.base == 0 && self.from != Stamp::DIGEST_ONLY)
    }

    /// Merges this into what the receiver holds. On [`Applied::NeedsWhole`] nothing was changed.
    pub fn apply(&self, held: &mut Option<Record>, now: Moment) -> Applied {
        self.apply_at(held, now, now)
    }

    /// [`Delta::apply`] of what may have waited since `heard` before it was read: its age counts from then, so that an
    /// access is not taken for a later one.
    pub fn apply_at(&self, held: &mut Option<Record>, now: Moment, heard: Moment) -> Applied {
        let Some(record) = held else {
            if !self.is_whole() {
                return Applied::NeedsWhole;
            }
            let mut record = self.to_record(now);
            record.access = record.access.min(heard.minus_ms(self.age_ms));
            record.rest();
            let newer = record.session.digest() != self.digest;
            *held = Some(record);
            return Applied::Merged { changed: true, newer };
        };
        let fits = || self.is_whole() || self.fits(&record.session) || self.completes(&record.session, now);
        if !fits() && !failpoint::planted(Bug::UnfitDeltaMerged) {
            return Applied::NeedsWhole;
        }
        // An advance that the journey of the message could explain is none, or repeated passing on would creep.
        let access = heard.minus_ms(self.age_ms);
        if access > record.access.plus_ms(access_tolerance_ms(record.session.idle_limit().ms)) {
            record.access = access;
        }
        let changed = if record.session.digest() == self.digest && self.marks(&record.session, now) {
            false
        } else {
            self.merge_into(Arc::make_mut(&mut record.session), now)
        };
        record.rest();
        Applied::Merged { changed, newer: record.session.digest() != self.digest }
    }

    /// Whether `session` holds what was left out: nothing else that old, but for what the delta replaces. An ended
    /// session takes nothing, so everything fits it.
    fn fits(&self, session: &Session) -> bool {
        let attributes = match &self.content {
            Content::Session { attributes, .. } => attributes.as_slice(),
            Content::Tombstone(_) => &[],
        };
        let keys = attributes.iter().map(|a| a.key);
        session.invalidated().is_some() || session.base_digest_without(self.from, keys) == self.base
    }

    /// Whether merging this makes `session` what the sender holds, though it does not hold what was left out: the sender has
    /// forgotten early removals that the session remembers until then.
    fn completes(&self, session: &Session, now: Moment) -> bool {
        session.attributes().len() >= REMOVED_MAX && self.from != Stamp::DIGEST_ONLY && {
            let mut merged = session.clone();
            self.merge_into(&mut merged, now);
            merged.digest() == self.digest
        }
    }

    /// The record that a whole session or a tombstone describes.
    pub fn to_record(&self, now: Moment) -> Record {
        let access = now.minus_ms(self.age_ms);
        match &self.content {
            Content::Tombstone(end) => Record::tombstone(end.to_end(now)),
            Content::Session { created_ms, idle_limit_ms, idle_limit_stamp, .. } => {
                let limit = IdleLimit { stamp: *idle_limit_stamp, ms: (*idle_limit_ms).max(1) };
                let mut session = Session::new(*created_ms, limit);
                self.merge_into(&mut session, now);
                Record::new(session, access)
            }
        }
    }

    /// The largest counter that the delta names, for the receiver's clock.
    pub fn counter(&self) -> u64 {
        match &self.content {
            Content::Tombstone(end) => end.stamp.counter,
            Content::Session { idle_limit_stamp, attributes, .. } => {
                attributes.iter().map(|a| a.stamp.counter).fold(idle_limit_stamp.counter, u64::max)
            }
        }
    }

    fn merge_into(&self, session: &mut Session, now: Moment) -> bool {
        match &self.content {
            Content::Tombstone(end) => session.invalidate(end.to_end(now)),
            Content::Session { created_ms, idle_limit_ms, idle_limit_stamp, expired, attributes } => {
                let limit = IdleLimit { stamp: *idle_limit_stamp, ms: (*idle_limit_ms).max(1) };
                let later = |end: &Invalidated| end.stamp.counter < self.counter();
                if failpoint::planted(Bug::WriteRevivesEnded) && session.invalidated().is_some_and(later) {
                    *session = Session::new(*created_ms, limit);
                }
                let mut changed = session.set_created(*created_ms) | session.set_idle_limit(limit);
                changed |= session.put_all(attributes.iter().map(WireAttribute::to_attribute));
                if let Some((revision, age_ms)) = expired
                    && !self.marks(session, now)
                {
                    changed |= session.expire(Expired { revision: *revision, access: now.minus_ms(*age_ms) });
                }
                changed
            }
        }
    }

    /// Whether `session` already has the end that this carries: digests leave the moments of an end out. Of the same
    /// expiry, told twice, the age differs by what the messages travelled.
    fn marks(&self, session: &Session, now: Moment) -> bool {
        match &self.content {
            Content::Tombstone(_) | Content::Session { expired: None, .. } => true,
            Content::Session { expired: Some((revision, age_ms)), .. } => session.expired().is_some_and(|mine| {
                let tolerance = access_tolerance_ms(session.idle_limit().ms);
                (mine.revision, mine.access.plus_ms(tolerance)) >= (*revision, now.minus_ms(*age_ms))
            }),
        }
    }
}

#[cfg(test)]
mod tests;
