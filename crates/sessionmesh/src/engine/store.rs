//! The sessions that this node holds: a concurrent map, with the digests of its slots.
//!
//! Nothing here is async, so no guard of the map is ever held across an await.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;
use sessionmesh_core::id::{SLOTS, SessionId, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::outbox::Version;
use sessionmesh_core::probe::{self, Bug};
use sessionmesh_core::session::{Record, access_tolerance_ms};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::users::{Users, Watched};

/// Neighbouring slots share one map, so that a walk can take one at a time and let others work in between.
const STRIPES: usize = 64;
const SLOTS_PER_STRIPE: usize = SLOTS / STRIPES;
/// Locks in each stripe. Fixed, so that the order of a walk does not depend on the number of cores.
const SHARDS_PER_STRIPE: usize = 2;

/// Session ids are random already; the low bytes serve as the hash.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(5) ^ u64::from_le_bytes(word);
        }
    }
}

/// The option takes no space, and lets a change own the entry while it works on it.
type Map = DashMap<SessionId, Option<Entry>, BuildHasherDefault<IdHasher>>;

/// What the node holds of one session.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// The last access that other nodes were told of.
    pub(crate) access_told: Moment,
}

impl Entry {
    pub(crate) fn new(record: Record) -> Self {
        let access_told = record.access;
        Self { record, access_told }
    }

    /// What the copy is now, for comparison with what was sent.
    pub(crate) fn version(&self) -> Version {
        (self.record.session.digest(), self.record.access)
    }

    /// The copy after a merge with what another node knew, which tells the other owners of the accesses until `known`.
    /// What this node has noted since, and was about to tell, is still to be told.
    pub(crate) fn merged(record: Record, told: Moment, known: Moment) -> Self {
        Self { access_told: told.max(known.min(record.access)), record }
    }

    /// Notes an access. Says whether the other owners must hear of it; then it counts as told, and it is for the caller to
    /// do so.
    #[must_use]
    pub(crate) fn access(&mut self, now: Moment) -> bool {
        self.record.access = self.record.access.max(now);
        let tell = must_be_told(self.record.session.idle_limit().ms, self.access_told, now);
        if tell {
            self.access_told = now;
        }
        tell && !probe::planted(Bug::AccessNotPassedOn)
    }
}

/// Whether an access of now must be told to the owners, if the last one of which they know was at `told`: so soon that,
/// with the advance that they ignore, they miss no more than a tenth of the idle limit.
pub(crate) fn must_be_told(idle_limit_ms: u64, told: Moment, now: Moment) -> bool {
    now.ms_since(told) >= (idle_limit_ms / 10 - access_tolerance_ms(idle_limit_ms)).max(1)
}

/// All sessions of a node.
#[derive(Debug)]
pub(crate) struct Store {
    stripes: Vec<Map>,
    digests: Vec<AtomicU64>,
    live: AtomicUsize,
    ended: AtomicUsize,
    /// Only if the node was given a rule that finds users.
    users: Option<Users>,
}

impl Store {
    pub(crate) fn new(users: Option<Users>) -> Self {
        let map =
            || DashMap::with_capacity_and_hasher_and_shard_amount(0, BuildHasherDefault::default(), SHARDS_PER_STRIPE);
        Self {
            stripes: (0..STRIPES).map(|_| map()).collect(),
            digests: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            live: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            users,
        }
    }

    /// A copy of what is held. The content is shared, not copied.
    pub(crate) fn get(&self, id: SessionId) -> Option<Entry> {
        self.stripe(id).get(&id).and_then(|entry| entry.value().clone())
    }

    /// Reads what is held under the map's lock.
    pub(crate) fn read<R>(&self, id: SessionId, read: impl FnOnce(Option<&Entry>) -> R) -> R {
        match self.stripe(id).get(&id) {
            Some(entry) => read(entry.value().as_ref()),
            None => read(None),
        }
    }

    /// Looks at what is held, and may note accesses: nothing that is summed over all sessions.
    pub(crate) fn visit<R>(&self, id: SessionId, look: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        self.stripe(id).get_mut(&id)?.value_mut().as_mut().map(look)
    }

    /// Notes an access of which all owners were told by the node that had it.
    pub(crate) fn access_silently(&self, id: SessionId, now: Moment) {
        self.visit(id, |entry| {
            entry.record.access = entry.record.access.max(now);
            entry.access_told = entry.record.access;
        });
    }

    /// Changes what is held of `id`, in any way, under the map's lock.
    pub(crate) fn update<R>(&self, id: SessionId, change: impl FnOnce(&mut Option<Entry>) -> R) -> R {
        match self.stripe(id).entry(id) {
            MapEntry::Occupied(mut occupied) => {
                let held = occupied.get_mut();
                let before = Weight::of(id, held.as_ref());
                let watched = self.users.as_ref().map(|users| (users, users.watched(held.as_ref())));
                let result = change(held);
                self.weigh(id, before, Weight::of(id, held.as_ref()));
                if let Some((users, before)) = watched {
                    users.changed(id, &before, held.as_ref());
                }
                if held.is_none() {
                    occupied.remove();
                }
                result
            }
            MapEntry::Vacant(vacant) => {
                let mut held = None;
                let result = change(&mut held);
                if held.is_some() {
                    self.weigh(id, Weight::default(), Weight::of(id, held.as_ref()));
                    if let Some(users) = &self.users {
                        users.changed(id, &Watched::default(), held.as_ref());
                    }
                    vacant.insert(held);
                }
                result
            }
        }
    }

    /// What `pick` finds in one stripe of [`Store::stripes`], sorted by id.
    pub(crate) fn scan<T>(
        &self,
        stripe: usize,
        mut pick: impl FnMut(SessionId, &Entry) -> Option<T>,
    ) -> Vec<(SessionId, T)> {
        let mut found: Vec<(SessionId, T)> = self.stripes[stripe]
            .iter()
            .filter_map(|entry| pick(*entry.key(), entry.value().as_ref()?).map(|picked| (*entry.key(), picked)))
            .collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for stripe in Self::stripes() {
            for (id, ()) in self.scan(stripe, |_, _| Some(())) {
                self.update(id, |held| *held = None);
            }
        }
    }

    /// Passes through every lock: what others changed under one before is visible afterwards.
    pub(crate) fn pass_through(&self) {
        for stripe in Self::stripes() {
            self.scan(stripe, |_, _| None::<()>);
        }
    }

    /// The stripes to scan, and the slots of each.
    pub(crate) fn stripes() -> impl Iterator<Item = usize> {
        0..STRIPES
    }

    /// The stripe that holds a slot.
    pub(crate) const fn stripe_of(slot: Slot) -> usize {
        slot.index() / SLOTS_PER_STRIPE
    }

    /// The digest of all that is held in a slot: 0 when that is nothing.
    pub(crate) fn slot_digest(&self, slot: Slot) -> u64 {
        self.digests[slot.index()].load(Ordering::Acquire)
    }

    /// Whose the sessions are, if the node was given a rule that finds users.
    pub(crate) const fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// Sessions that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Tombstones and expired sessions.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    fn stripe(&self, id: SessionId) -> &Map {
        &self.stripes[Self::stripe_of(id.slot())]
    }

    fn weigh(&self, id: SessionId, before: Weight, after: Weight) {
        if before.digest != after.digest {
            self.digests[id.slot().index()].fetch_xor(before.digest ^ after.digest, Ordering::AcqRel);
        }
        shift(&self.live, before.live, after.live);
        shift(&self.ended, before.ended, after.ended);
    }
}

/// What one entry adds to the sums over all.
#[derive(Clone, Copy, Default)]
struct Weight {
    digest: u64,
    live: bool,
    ended: bool,
}

impl Weight {
    fn of(id: SessionId, entry: Option<&Entry>) -> Self {
        entry.map_or_else(Self::default, |entry| {
            let session = &entry.record.session;
            let ended = session.invalidated().is_some() || session.expired().is_some();
            Self { digest: xxh3_64_with_seed(id.as_bytes(), session.digest()), live: !ended, ended }
        })
    }
}

fn shift(sum: &AtomicUsize, before: bool, after: bool) {
    match (before, after) {
        (false, true) => drop(sum.fetch_add(1, Ordering::Relaxed)),
        (true, false) => drop(sum.fetch_sub(1, Ordering::Relaxed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use sessionmesh_core::session::{IdleLimit, Session};
    use sessionmesh_core::stamp::Stamp;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::START.plus_ms(ms)
    }

    fn entry() -> Entry {
        let limit = IdleLimit { stamp: Stamp::ZERO, ms: 8_000 };
        Entry::new(Record::new(Session::new(1, limit), at(0)))
    }

    #[test]
    fn an_access_is_told_once_the_owners_would_miss_a_tenth_of_the_limit() {
        let mut entry = entry();
        assert!(!entry.access(at(399)));
        assert!(entry.access(at(400)));
        assert!(!entry.access(at(799)), "counted from the one that was told");
        assert!(entry.access(at(800)));
    }

    #[test]
    fn what_another_node_tells_is_no_telling_of_what_was_noted_here() {
        let mut entry = entry();
        assert!(!entry.access(at(390)));
        let mut merged = Entry::merged(entry.record, entry.access_told, at(100));
        assert_eq!(merged.record.access, at(390));
        assert!(merged.access(at(500)), "others know of nothing after 100");
    }
}
