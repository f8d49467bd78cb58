//! The tombstones of one slot: small, and a value that merges.
//!
//! Anybody can make a server write one, by logging in and out. So they are packed, and there is a bound.

use crate::id::SessionId;
use crate::moment::Moment;
use crate::session::{Invalidated, Successor};
use crate::stamp::Stamp;

/// How many tombstones a slot may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// So many, but for those of sessions that ended at `before` or later.
    pub most: usize,
    /// Whoever holds a session that ended earlier had the time to hear of it. A tombstone that is forgotten before has not
    /// done its work yet.
    pub before: Moment,
}

/// All tombstones of one slot.
///
/// It holds at most as many as it is told; of more, those with the latest stamps. The latest few of a union are the latest
/// few of the latest few of each side, so such a bound fits merging: owners with the same bound come to hold the same ones,
/// in whatever order they hear of them. (Where two ends of one id meet, the one that wins may have the earlier stamp; then
/// it takes another exchange or two.)
///
/// One takes 27 bytes, or 44 if the session went on under another id, and a sixteenth of that as room to grow.
#[derive(Clone, Debug, Default)]
pub struct Tombstones {
    over: Rows<Nothing>,
    went_on: Rows<Successor>,
    origins: Origins,
    digest: u64,
    /// Before this none has served its time.
    due: Option<Moment>,
}

impl Tombstones {
    /// How `id` ended.
    pub fn get(&self, id: SessionId) -> Option<Invalidated> {
        self.over.get(id, &self.origins).or_else(|| self.went_on.get(id, &self.origins))
    }

    /// `id` ended so, whatever was known of it. Then the earliest ones are forgotten until there are as many as `bound` says,
    /// this one perhaps. Returns how many were.
    pub fn put(&mut self, id: SessionId, end: Invalidated, bound: Bound) -> usize {
        self.remove(id);
        if self.origins.0.len() > ORIGINS_UNUSED + 2 * self.len() {
            self.forget_origins();
        }
        let origin = self.origins.number(Origin::of(&end));
        match end.successor {
            None => self.over.insert(Row::new(id, &end, origin, Nothing)),
            Some(successor) => self.went_on.insert(Row::new(id, &end, origin, successor)),
        }
        self.digest ^= end.digest_of(id);
        let due = end.since.plus_ms(end.retention_ms);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        self.keep_to(bound)
    }

    fn keep_to(&mut self, bound: Bound) -> usize {
        let excess = self.len().saturating_sub(bound.most);
        if excess == 0 {
            return 0;
        }
        let mut earliest: Vec<_> = self.iter().map(|(id, end)| (end.stamp, id, end.since)).collect();
        earliest.select_nth_unstable(excess - 1);
        earliest.truncate(excess);
        let forgotten = earliest.iter().filter(|(_, id, since)| *since < bound.before && self.remove(*id));
        forgotten.count()
    }

    /// Forgets the tombstone of `id`. Says whether there was one.
    pub fn remove(&mut self, id: SessionId) -> bool {
        let removed = self.over.remove(id, &self.origins).or_else(|| self.went_on.remove(id, &self.origins));
        if let Some(end) = &removed {
            self.digest ^= end.digest_of(id);
        }
        removed.is_some()
    }

    /// Forgets those that have served their time, and returns how many. It looks at them only when the first is due, and not
    /// again within `pause_ms`: so much longer than needed one may be kept.
    pub fn forget_spent(&mut self, now: Moment, pause_ms: u64) -> usize {
        if self.due.is_none_or(|due| now <= due) {
            return 0;
        }
        let before = self.len();
        self.over.forget_spent(now, &self.origins);
        self.went_on.forget_spent(now, &self.origins);
        self.forget_origins();
        self.digest = self.iter().fold(0, |sum, (id, end)| sum ^ end.digest_of(id));
        let due = self.iter().map(|(_, end)| end.since.plus_ms(end.retention_ms)).min();
        self.due = due.map(|due| due.max(now.plus_ms(pause_ms)));
        before - self.len()
    }

    /// Forgets the origins that no tombstone has any more.
    fn forget_origins(&mut self) {
        let before = std::mem::take(&mut self.origins);
        self.over.renumber(&before, &mut self.origins);
        self.went_on.renumber(&before, &mut self.origins);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, Invalidated)> + '_ {
        self.over.iter(&self.origins).chain(self.went_on.iter(&self.origins))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.over.0.len() + self.went_on.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Two with the same digest hold the same tombstones (64 bits); 0 for none.
    pub const fn digest(&self) -> u64 {
        self.digest
    }
}

/// What many ends have in common: who made them, for how long they are remembered, and roughly when they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    node: u64,
    retention_ms: u64,
    /// What is left of the counter of the stamp, and of the time, without their last bytes.
    counter: u64,
    since: u64,
}

/// The last bytes of the counter of a stamp.
const COUNTER_BYTES: usize = 4;
/// The last bytes of a time in milliseconds: 4.7 hours.
const SINCE_BYTES: usize = 3;

impl Origin {
    const fn of(end: &Invalidated) -> Self {
        Self {
            node: end.stamp.node,
            retention_ms: end.retention_ms,
            counter: end.stamp.counter >> (8 * COUNTER_BYTES),
            since: end.since.as_ms() >> (8 * SINCE_BYTES),
        }
    }
}

/// The origins of the tombstones of a slot: a few, so that each is kept once. One has the number of its place.
#[derive(Clone, Debug, Default)]
struct Origins(Vec<Origin>);

/// So many origins may be kept that no tombstone has, and another one for each tombstone.
const ORIGINS_UNUSED: usize = 8;

impl Origins {
    fn number(&mut self, origin: Origin) -> u32 {
        let known = self.0.iter().position(|known| *known == origin);
        let at = known.unwrap_or_else(|| {
            self.0.reserve_exact(1);
            self.0.push(origin);
            self.0.len() - 1
        });
        u32::try_from(at).expect("they are no more than the tombstones in memory")
    }

    fn of<S>(&self, row: &Row<S>) -> Origin {
        self.0[u32::from_le_bytes(row.origin) as usize]
    }
}

/// Tombstones of one kind, sorted by id.
#[derive(Clone, Debug)]
struct Rows<S>(Vec<Row<S>>);

/// One tombstone, packed: only bytes, so that nothing is lost to alignment.
#[derive(Clone, Copy, Debug)]
struct Row<S> {
    id: SessionId,
    counter: [u8; COUNTER_BYTES],
    since: [u8; SINCE_BYTES],
    origin: [u8; 4],
    successor: S,
}

/// No successor.
#[derive(Clone, Copy, Debug)]
struct Nothing;

impl From<Nothing> for Option<Successor> {
    fn from(_: Nothing) -> Self {
        None
    }
}

impl<S> Default for Rows<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Copy + Into<Option<Successor>>> Rows<S> {
    fn position(&self, id: SessionId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |row| row.id)
    }

    fn get(&self, id: SessionId, origins: &Origins) -> Option<Invalidated> {
        self.position(id).ok().map(|at| self.0[at].end(origins))
    }

    fn insert(&mut self, row: Row<S>) {
        let at = self.position(row.id).unwrap_or_else(|at| at);
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(room(self.0.len()));
        }
        self.0.insert(at, row);
    }

    fn remove(&mut self, id: SessionId, origins: &Origins) -> Option<Invalidated> {
        let at = self.position(id).ok()?;
        let end = self.0.remove(at).end(origins);
        self.give_back();
        Some(end)
    }

    fn forget_spent(&mut self, now: Moment, origins: &Origins) {
        self.0.retain(|row| !row.end(origins).is_spent(now));
        self.give_back();
    }

    fn renumber(&mut self, before: &Origins, after: &mut Origins) {
        for row in &mut self.0 {
            row.origin = after.number(before.of(row)).to_le_bytes();
        }
    }

    /// Gives back memory once a quarter of it is free.
    fn give_back(&mut self) {
        let len = self.0.len();
        if self.0.capacity() > len + len / 4 + 64 {
            self.0.shrink_to(len + room(len));
        }
    }

    fn iter<'a>(&'a self, origins: &'a Origins) -> impl Iterator<Item = (SessionId, Invalidated)> + 'a {
        self.0.iter().map(|row| (row.id, row.end(origins)))
    }
}

/// By how much a list of `len` rows grows when it is full.
fn room(len: usize) -> usize {
    (len / 16).max(4)
}

impl<S: Copy + Into<Option<Successor>>> Row<S> {
    fn new(id: SessionId, end: &Invalidated, origin: u32, successor: S) -> Self {
        Self {
            id,
            counter: last_bytes(end.stamp.counter),
            since: last_bytes(end.since.as_ms()),
            origin: origin.to_le_bytes(),
            successor,
        }
    }

    fn end(&self, origins: &Origins) -> Invalidated {
        let Origin { node, retention_ms, counter, since } = origins.of(self);
        Invalidated {
            successor: self.successor.into(),
            stamp: Stamp { counter: with_last_bytes(counter, self.counter), node },
            retention_ms,
            since: Moment::from_ms(with_last_bytes(since, self.since)),
        }
    }
}

fn last_bytes<const N: usize>(number: u64) -> [u8; N] {
    let bytes = number.to_le_bytes();
    std::array::from_fn(|at| bytes[at])
}

fn with_last_bytes<const N: usize>(before: u64, last: [u8; N]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(&last);
    before << (8 * N) | u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests;
