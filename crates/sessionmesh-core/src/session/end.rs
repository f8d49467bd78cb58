//! How a session ends: for a while, by idleness; or for good, by a logout or because it goes on under another id.

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::id::SessionId;
use crate::moment::Moment;
use crate::stamp::Stamp;

/// "What was known up to this revision and this access has expired." A later revision or access overrules it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expired {
    /// The newest stamp that the expired session held.
    pub revision: Stamp,
    /// Its last access, on the holder's clock.
    pub access: Moment,
}

/// The id that took the place of an ended one, and whether reads may follow.
///
/// Writes under way to the old id follow in both cases. The order is that of the merge, in which the smaller one wins:
/// a renewal beats a move, since the old id must not be readable after a login; and then the smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub enum Successor {
    /// The session was renewed, as at a login: whoever knows the old id has nothing of the new one.
    Renewed(SessionId),
    /// The session only moved to an id in another slot: reads of the old id follow for [`MOVED_READABLE_MS`].
    Moved(SessionId),
}

impl Successor {
    /// The id.
    pub const fn id(self) -> SessionId {
        match self {
            Self::Renewed(id) | Self::Moved(id) => id,
        }
    }
}

/// How long after a move reads of the old id follow to the new one, in milliseconds: requests that were under way with
/// the old cookie come to their end by then.
pub const MOVED_READABLE_MS: u64 = 60_000;

/// The longest time for which a tombstone is kept, in milliseconds: 34 years.
pub const RETENTION_MS_MAX: u64 = (1 << 40) - 1;

const SEED_INVALIDATED: u64 = 0x6d65_7368_0005;

/// What a session of this digest adds to the digest of its slot, which is the XOR of all.
#[inline]
pub fn digest_in_slot(id: SessionId, digest: u64) -> u64 {
    xxh3_64_with_seed(id.as_bytes(), digest)
}

/// A session ended for good, by a logout or because it goes on under another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalidated {
    /// What took its place, if it goes on.
    pub successor: Option<Successor>,
    /// When it was ended.
    pub stamp: Stamp,
    /// How long its tombstone is kept, in milliseconds, at most [`RETENTION_MS_MAX`].
    pub retention_ms: u64,
    /// When it was ended, on the holder's clock. Not in the digest; of two, the earlier.
    pub since: Moment,
}

impl Invalidated {
    /// The id under which reads go on at `now`, if the session only moved, and that not long ago.
    pub fn readable_at(&self, now: Moment) -> Option<SessionId> {
        match self.successor {
            Some(Successor::Moved(id)) if now.ms_since(self.since) <= MOVED_READABLE_MS => Some(id),
            _ => None,
        }
    }

    /// Merges another end of the same id: of the two the smaller in rank, since the earlier time. Says whether it is
    /// another end now.
    pub fn merge(&mut self, other: &Self) -> bool {
        let since = self.since.min(other.since);
        let changed = other.rank() < self.rank();
        *self = Self { since, ..if changed { *other } else { *self } };
        changed
    }

    /// Whether its tombstone has been kept for long enough.
    pub fn is_spent(&self, now: Moment) -> bool {
        now.ms_since(self.since) > self.retention_ms
    }

    /// The digest of the tombstone of `id`, as a part of what a slot holds. Not the moment of the end.
    pub fn digest_of(&self, id: SessionId) -> u64 {
        digest_in_slot(id, self.digest())
    }

    /// The digest of the ended session. Not the moment of the end.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = Xxh3::with_seed(SEED_INVALIDATED);
        hasher.update(&self.stamp.counter.to_le_bytes());
        hasher.update(&self.stamp.node.to_le_bytes());
        hasher.update(&self.retention_ms.to_le_bytes());
        match self.successor {
            None => {}
            Some(Successor::Renewed(id)) => hasher.update(&[&[1], &id.as_bytes()[..]].concat()),
            Some(Successor::Moved(id)) => hasher.update(&[&[2], &id.as_bytes()[..]].concat()),
        }
        hasher.digest()
    }

    /// The smallest wins: a logout beats a renewal, a renewal beats a move, and of two of a kind the smaller successor.
    pub(super) fn rank(&self) -> (Option<Successor>, Stamp, u64) {
        (self.successor, self.stamp, self.retention_ms)
    }
}
