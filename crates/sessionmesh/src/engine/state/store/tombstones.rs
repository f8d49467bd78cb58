//! The tombstones that this node holds, slot by slot.
//!
//! Whoever has the lock of the map for an id may look and change here what is held of that id; so nothing is ever in both
//! places, nor in neither on its way from the one to the other.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sessionmesh_core::id::{SLOTS, SessionId, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::session::Invalidated;
use sessionmesh_core::tombstones::{Bound, Tombstones};

use crate::lock::lock;

/// The tombstones of all slots.
#[derive(Debug)]
pub(crate) struct TombstoneStore {
    slots: Vec<Mutex<Tombstones>>,
    count: AtomicUsize,
    /// How many one slot may hold: see [`Bound`].
    most: AtomicUsize,
    before: AtomicU64,
    forgotten: AtomicU64,
}

impl TombstoneStore {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            most: AtomicUsize::new(usize::MAX),
            before: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// How many all slots together may hold from now on; each holds its part of them.
    pub(crate) fn bound(&self, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.most.store((most / SLOTS).max(1), Ordering::Release);
    }

    /// Sessions that ended before this moment are known to be over by all who held them.
    pub(crate) fn known_before(&self, before: Moment) {
        self.before.store(before.as_ms(), Ordering::Release);
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Invalidated> {
        lock(self.slot(id.slot())).get(id)
    }

    pub(crate) fn put(&self, id: SessionId, end: Invalidated) {
        self.change(id.slot(), |tombstones| {
            let before = Moment::from_ms(self.before.load(Ordering::Acquire));
            let forgotten = tombstones.put(id, end, Bound { most: self.most.load(Ordering::Acquire), before });
            self.forgotten.fetch_add(forgotten as u64, Ordering::Relaxed);
        });
    }

    pub(crate) fn remove(&self, id: SessionId) {
        self.change(id.slot(), |tombstones| tombstones.remove(id));
    }

    /// All of one slot, with their digest.
    pub(crate) fn of_slot(&self, slot: Slot) -> (u64, Vec<(SessionId, Invalidated)>) {
        let tombstones = lock(self.slot(slot));
        (tombstones.digest(), tombstones.iter().collect())
    }

    /// How many a slot has, and their digest.
    pub(crate) fn sum(&self, slot: Slot) -> (usize, u64) {
        let tombstones = lock(self.slot(slot));
        (tombstones.len(), tombstones.digest())
    }

    /// Drops all of one slot if `may_drop` agrees, which is told their digest. Says whether it did; not if there are none.
    pub(crate) fn drop_slot(&self, slot: Slot, may_drop: impl FnOnce(u64) -> bool) -> bool {
        self.change(slot, |tombstones| {
            let drops = !tombstones.is_empty() && may_drop(tombstones.digest());
            if drops {
                *tombstones = Tombstones::default();
            }
            drops
        })
    }

    /// Forgets those of one slot that have served their time. They are looked at when the first one is due, and then not
    /// again before `pause_ms` are over.
    pub(crate) fn forget_spent(&self, slot: Slot, now: Moment, pause_ms: u64) {
        self.change(slot, |tombstones| tombstones.forget_spent(now, pause_ms));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many were forgotten before their time because there were too many.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    fn slot(&self, slot: Slot) -> &Mutex<Tombstones> {
        &self.slots[slot.index()]
    }

    fn change<R>(&self, slot: Slot, change: impl FnOnce(&mut Tombstones) -> R) -> R {
        let mut tombstones = lock(self.slot(slot));
        let before = tombstones.len();
        let result = change(&mut tombstones);
        let after = tombstones.len();
        if after > before {
            self.count.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.count.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }
}
