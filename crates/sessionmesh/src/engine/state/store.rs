//! What this node holds: a concurrent map of sessions, with the digests of its slots, and beside it the tombstones.
//!
//! Nothing here is async, so no guard of the map is ever held across an await.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as MapEntry;
use sessionmesh_core::entry::Entry;
use sessionmesh_core::id::{SLOTS, SessionId, Slot};
use sessionmesh_core::interleave;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::replication::outbox::{Item, Version};
use sessionmesh_core::session::{Invalidated, Session, digest_in_slot};

mod tombstones;
pub(crate) mod user_index;

use super::key_interner::KeyInterner;
use tombstones::TombstoneStore;
use user_index::{SessionsByUser, Watched};

/// Neighbouring slots share one map, so that a scan can take one at a time and let others work in between.
const STRIPES: usize = 64;
const SLOTS_PER_STRIPE: usize = SLOTS / STRIPES;
/// Locks in each stripe. Fixed, so that the order of a scan does not depend on the number of cores.
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

/// Sums over the sessions of one slot, without tombstones.
#[derive(Debug, Default)]
struct SlotSums {
    digest: AtomicU64,
    /// Bytes of keys and values.
    bytes: AtomicU64,
    live: AtomicUsize,
    expired: AtomicUsize,
}

/// How much is held of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotHeld {
    /// Live sessions.
    pub(crate) live: usize,
    /// Expired sessions and tombstones.
    pub(crate) ended: usize,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
}

/// The option takes no space, and lets a change own the entry while it works on it.
type Map = DashMap<SessionId, Option<Entry>, BuildHasherDefault<IdHasher>>;

/// All sessions of a node.
#[derive(Debug)]
pub(crate) struct Store {
    stripes: Vec<Map>,
    slots: Vec<SlotSums>,
    live: AtomicUsize,
    expired: AtomicUsize,
    pub(crate) tombstones: TombstoneStore,
    pub(crate) keys: KeyInterner,
    /// Only if the node was given a rule that finds users.
    users: Option<SessionsByUser>,
}

impl Store {
    pub(crate) fn new(users: Option<SessionsByUser>) -> Self {
        let map =
            || DashMap::with_capacity_and_hasher_and_shard_amount(0, BuildHasherDefault::default(), SHARDS_PER_STRIPE);
        Self {
            stripes: (0..STRIPES).map(|_| map()).collect(),
            slots: (0..SLOTS).map(|_| SlotSums::default()).collect(),
            live: AtomicUsize::new(0),
            expired: AtomicUsize::new(0),
            tombstones: TombstoneStore::new(),
            keys: KeyInterner::default(),
            users,
        }
    }

    /// A copy of what is held. The content is shared, not copied.
    pub(crate) fn get(&self, id: SessionId) -> Option<Entry> {
        match self.stripe(id).get(&id) {
            Some(entry) => entry.value().clone(),
            None => self.tombstones.get(id).map(Entry::ended),
        }
    }

    /// Reads what is held under the map's lock.
    pub(crate) fn read<R>(&self, id: SessionId, read: impl FnOnce(Option<&Entry>) -> R) -> R {
        match self.stripe(id).get(&id) {
            Some(entry) => read(entry.value().as_ref()),
            None => read(self.tombstones.get(id).map(Entry::ended).as_ref()),
        }
    }

    /// Looks at what is held, and may note accesses: nothing that is summed over all sessions.
    pub(crate) fn visit<R>(&self, id: SessionId, look: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        match self.stripe(id).get_mut(&id) {
            Some(mut entry) => entry.value_mut().as_mut().map(look),
            // Of a tombstone there is nothing to note.
            None => self.tombstones.get(id).map(Entry::ended).as_mut().map(look),
        }
    }

    /// Changes what is held of `id`, in any way, under the map's lock.
    pub(crate) fn update<R>(&self, id: SessionId, change: impl FnOnce(&mut Option<Entry>) -> R) -> R {
        match self.stripe(id).entry(id) {
            MapEntry::Occupied(mut occupied) => {
                let held = occupied.get_mut();
                let before = Weight::of(id, held.as_ref());
                let watched = self.users.as_ref().map(|users| (users, users.watched(session(held))));
                let result = change(held);
                self.weigh(id, before, Weight::of(id, held.as_ref()));
                if let Some((users, before)) = watched {
                    users.changed(id, &before, session(held));
                }
                let end = end_of(held.as_ref());
                if let Some(end) = end {
                    self.tombstones.put(id, end);
                }
                if held.is_none() || end.is_some() {
                    occupied.remove();
                }
                result
            }
            MapEntry::Vacant(vacant) => {
                let was = self.tombstones.get(id);
                let mut held = was.map(Entry::ended);
                let result = change(&mut held);
                let end = end_of(held.as_ref());
                match end {
                    Some(end) if was != Some(end) => self.tombstones.put(id, end),
                    None if was.is_some() => self.tombstones.remove(id),
                    _ => {}
                }
                if held.is_some() && end.is_none() {
                    self.weigh(id, Weight::default(), Weight::of(id, held.as_ref()));
                    if let Some(users) = &self.users {
                        users.changed(id, &Watched::default(), session(&held));
                    }
                    vacant.insert(held);
                }
                result
            }
        }
    }

    /// Notes the end of a session of which nothing is held, or only a tombstone of the same end; otherwise nothing is done.
    pub(crate) fn bury(&self, id: SessionId, end: Invalidated) -> Buried {
        let MapEntry::Vacant(_vacant) = self.stripe(id).entry(id) else { return Buried::Not };
        match self.tombstones.get(id) {
            None => {
                self.tombstones.put(id, end);
                Buried::Now
            }
            Some(mut mine) if mine.digest_of(id) == end.digest_of(id) => {
                let before = mine;
                mine.merge(&end);
                if mine != before {
                    self.tombstones.put(id, mine);
                }
                Buried::Before
            }
            Some(_) => Buried::Not,
        }
    }

    /// What is held of an item now, for comparison with what was sent.
    pub(crate) fn version(&self, item: Item) -> Option<Version> {
        match item {
            Item::Session(id) => self.read(id, |held| held.map(Entry::version)),
            Item::Tombstones(slot) => match self.tombstones.sum(slot) {
                (0, _) => None,
                (_, digest) => Some((digest, Moment::START)),
            },
        }
    }

    /// Drops an item if `may_drop` agrees to what is held of it. Says whether it did.
    pub(crate) fn drop_if(&self, item: Item, may_drop: impl FnOnce(Version) -> bool) -> bool {
        match item {
            Item::Session(id) => self.update(id, |held| {
                let drops = held.as_ref().is_some_and(|entry| may_drop(entry.version()));
                if drops {
                    *held = None;
                }
                drops
            }),
            Item::Tombstones(slot) => self.tombstones.drop_slot(slot, |digest| may_drop((digest, Moment::START))),
        }
    }

    /// What `pick` finds in one stripe of [`Store::stripes`], sorted by id. Tombstones are not in it.
    pub(crate) fn scan<T>(
        &self,
        stripe: usize,
        mut pick: impl FnMut(SessionId, &Entry) -> Option<T>,
    ) -> Vec<(SessionId, T)> {
        let mut found = Vec::new();
        // `retain` holds the lock of a shard while it passes it; an iterator would count itself in and out for each entry.
        self.stripes[stripe].retain(|id, entry| {
            let picked = entry.as_ref().and_then(|entry| pick(*id, entry));
            found.extend(picked.map(|picked| (*id, picked)));
            true
        });
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
        for slot in Slot::all() {
            self.tombstones.drop_slot(slot, |_| true);
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

    /// Which of the slots of its stripe a slot is.
    pub(crate) const fn place_in_stripe(slot: Slot) -> usize {
        slot.index() % SLOTS_PER_STRIPE
    }

    /// The slots of a stripe.
    pub(crate) fn slots_of(stripe: usize) -> impl Iterator<Item = Slot> {
        Slot::all().skip(stripe * SLOTS_PER_STRIPE).take(SLOTS_PER_STRIPE)
    }

    /// The digest of all sessions that are held in a slot, without tombstones: 0 when there are none.
    pub(crate) fn slot_digest(&self, slot: Slot) -> u64 {
        self.slots[slot.index()].digest.load(Ordering::Acquire)
    }

    /// How much is held of a slot.
    pub(crate) fn held_of(&self, slot: Slot) -> SlotHeld {
        let sums = &self.slots[slot.index()];
        let count = |sum: &AtomicUsize| sum.load(Ordering::Relaxed);
        SlotHeld {
            live: count(&sums.live),
            ended: count(&sums.expired) + self.tombstones.sum(slot).0,
            bytes: sums.bytes.load(Ordering::Relaxed),
        }
    }

    /// Whose the sessions are, if the node was given a rule that finds users.
    pub(crate) const fn users(&self) -> Option<&SessionsByUser> {
        self.users.as_ref()
    }

    /// Sessions that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Tombstones and expired sessions.
    pub(crate) fn ended(&self) -> usize {
        self.expired.load(Ordering::Relaxed) + self.tombstones.len()
    }

    #[cfg_attr(sessionmesh_simulation, track_caller)]
    fn stripe(&self, id: SessionId) -> &Map {
        interleave::point();
        &self.stripes[Self::stripe_of(id.slot())]
    }

    fn weigh(&self, id: SessionId, before: Weight, after: Weight) {
        if before == after {
            return;
        }
        let slot = &self.slots[id.slot().index()];
        if before.digest != after.digest {
            slot.digest.fetch_xor(before.digest ^ after.digest, Ordering::AcqRel);
        }
        if before.bytes != after.bytes {
            // Wraps around, and so subtracts what there was.
            slot.bytes.fetch_add(after.bytes.wrapping_sub(before.bytes), Ordering::Relaxed);
        }
        if before.live != after.live {
            self.live.fetch_add(shift(before.live, after.live), Ordering::Relaxed);
            slot.live.fetch_add(shift(before.live, after.live), Ordering::Relaxed);
        }
        if before.expired != after.expired {
            self.expired.fetch_add(shift(before.expired, after.expired), Ordering::Relaxed);
            slot.expired.fetch_add(shift(before.expired, after.expired), Ordering::Relaxed);
        }
    }
}

fn session(held: &Option<Entry>) -> Option<&Session> {
    held.as_ref().map(|entry| &*entry.record().session)
}

/// The end of what is held, if it is a tombstone.
fn end_of(held: Option<&Entry>) -> Option<Invalidated> {
    held?.record().session.invalidated().copied()
}

/// What became of an end that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buried {
    /// It is known from now on.
    Now,
    /// It was known.
    Before,
    /// There is a session, or another end of it.
    Not,
}

/// What one entry of the map adds to the sums over all.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Weight {
    digest: u64,
    bytes: u64,
    live: bool,
    expired: bool,
}

impl Weight {
    fn of(id: SessionId, entry: Option<&Entry>) -> Self {
        entry.map_or_else(Self::default, |entry| {
            let session = &entry.record().session;
            if session.invalidated().is_some() {
                return Self::default();
            }
            let expired = session.expired().is_some();
            let digest = digest_in_slot(id, session.digest());
            Self { digest, bytes: session.bytes() as u64, live: !expired, expired }
        })
    }
}

/// What is added to a sum of those that are something, wrapping around.
const fn shift(before: bool, after: bool) -> usize {
    (after as usize).wrapping_sub(before as usize)
}
