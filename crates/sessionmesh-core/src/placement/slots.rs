//! Which members own which slot: rendezvous hashing, computed once for each view.
//!
//! Every member has a weight for every slot, the hash of both; the owners are the members with the highest random
//! weights (D. Thaler and C. Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on
//! Networking 6(1), 1998). Nobody's weight depends on anybody else, so a join or a leave moves only the slots of the
//! member that came or went.
//!
//! - No owner list names a member twice, and all lists of one table have the same length.
//! - The incarnation, the address and joining or ready never change an owner.
//! - When one member joins, it is the only new owner any slot gets. When one leaves, only its own slots get a new one.
//! - More backups are more owners besides those that a slot had, and the primary stays the same.

use std::{cmp::Reverse, collections::BTreeMap};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::view::{MemberState, View, ViewHash};
use crate::id::{SLOTS, Slot};
use crate::terms::Mode;

#[cfg(test)]
mod tests;

/// The seed of all placement hashes. Part of the protocol.
const PLACEMENT_SEED: u64 = u64::from_be_bytes(*b"sessmesh");

/// The owners of every slot under one view. Members appear as their index in [`View::members`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    view: ViewHash,
    name_hashes: Vec<u64>,
    owners: Vec<u16>,
    owners_per_slot: usize,
}

impl Slots {
    /// Computes the owners of all slots.
    ///
    /// Leaving members own nothing, unless all members are leaving. In [`Mode::PrimaryBackup`] the highest weight is the
    /// primary; backups come by weight, first from zones not used yet, then from the rest. A member without a zone
    /// counts as a zone of its own.
    #[must_use]
    pub fn new(view: &View, mode: Mode) -> Self {
        let name_hashes: Vec<u64> = view.members().iter().map(|member| name_hash(&member.name)).collect();
        let eligible = eligible(view);
        let (owners_per_slot, zones) = match mode {
            Mode::AllToAll => (eligible.len(), None),
            Mode::PrimaryBackup { backups } => (eligible.len().min(usize::from(backups) + 1), zones(view)),
        };
        let mut owners = Vec::with_capacity(SLOTS * owners_per_slot);
        let mut weighed = Vec::with_capacity(eligible.len());
        for slot in Slot::all() {
            weighed.clear();
            weighed.extend(weigh(&name_hashes, slot, eligible.iter().copied()));
            // With zones, the best of a zone may come anywhere in the order.
            let first = if zones.is_some() { weighed.len() } else { owners_per_slot };
            if first < weighed.len() {
                weighed.select_nth_unstable(first);
                weighed.truncate(first);
            }
            weighed.sort_unstable();
            let ranked = weighed.iter().map(|(_, member)| *member);
            match &zones {
                Some(zones) => choose_across_zones(&mut owners, &ranked.collect::<Vec<_>>(), zones, owners_per_slot),
                None => owners.extend(ranked),
            }
        }
        Self { view: view.hash(), name_hashes, owners, owners_per_slot }
    }

    /// The hash of the view that these owners were computed from.
    #[must_use]
    pub fn view_hash(&self) -> ViewHash {
        self.view
    }

    /// The owners of `slot`: the primary, then the backups. Empty only if the view is.
    #[must_use]
    pub fn owners(&self, slot: Slot) -> &[u16] {
        &self.owners[slot.index() * self.owners_per_slot..][..self.owners_per_slot]
    }

    /// The member that acts first for `slot`.
    #[must_use]
    pub fn primary(&self, slot: Slot) -> Option<u16> {
        self.owners(slot).first().copied()
    }

    /// Every member once: the owners in their order, then the others by weight, of which leaving ones come last.
    /// Whoever comes after the owners is the next to stand in for one of them.
    ///
    /// # Panics
    ///
    /// If `view` is not the view that this table was computed from (it may differ in addresses and in who is ready).
    #[must_use]
    pub fn ranking(&self, view: &View, slot: Slot) -> Vec<u16> {
        assert_eq!(self.view, view.hash(), "a table of slots is used with the view that it was computed from");
        let owners = self.owners(slot);
        let others = indices(view).filter(|member| !owners.contains(member));
        let mut weighed: Vec<_> = weigh(&self.name_hashes, slot, others).collect();
        weighed.sort_unstable();
        let mut others: Vec<u16> = weighed.into_iter().map(|(_, member)| member).collect();
        others.sort_by_key(|&member| is_leaving(view, member));
        [owners, &others].concat()
    }

    /// The other members, ascending, that own a slot together with `member`.
    #[must_use]
    pub fn co_owners(&self, member: u16) -> Vec<u16> {
        let shared = Slot::all().map(|slot| self.owners(slot)).filter(|owners| owners.contains(&member));
        let mut found = vec![false; self.name_hashes.len()];
        for owner in shared.flatten() {
            found[usize::from(*owner)] = *owner != member;
        }
        found.iter().zip(0..).filter(|(found, _)| **found).map(|(_, member)| member).collect()
    }

    /// The slots whose primary is `member`, ascending: where it mints ids.
    #[must_use]
    pub fn home_slots(&self, member: u16) -> Vec<Slot> {
        Slot::all().filter(|&slot| self.primary(slot) == Some(member)).collect()
    }
}

/// The members that can be owners.
fn eligible(view: &View) -> Vec<u16> {
    let staying: Vec<u16> = indices(view).filter(|&member| !is_leaving(view, member)).collect();
    if staying.is_empty() { indices(view).collect() } else { staying }
}

fn indices(view: &View) -> impl Iterator<Item = u16> {
    0..u16::try_from(view.len()).expect("MEMBERS_MAX fits in 16 bits")
}

fn is_leaving(view: &View, member: u16) -> bool {
    view.members()[usize::from(member)].state == MemberState::Leaving
}

/// A number for each member's zone, or none if no zone is named at all.
fn zones(view: &View) -> Option<Vec<u16>> {
    let mut first_in_zone = BTreeMap::new();
    let zones = view.members().iter().zip(indices(view)).map(|(member, index)| match &*member.zone {
        "" => index,
        zone => *first_in_zone.entry(zone).or_insert(index),
    });
    let zones = zones.collect();
    (!first_in_zone.is_empty()).then_some(zones)
}

/// Appends `count` of `ranked`: the best of each zone first, then the best of the rest.
fn choose_across_zones(owners: &mut Vec<u16>, ranked: &[u16], zones: &[u16], count: usize) {
    let zone = |member: u16| zones[usize::from(member)];
    let start = owners.len();
    for &member in ranked {
        if owners.len() - start < count && owners[start..].iter().all(|&chosen| zone(chosen) != zone(member)) {
            owners.push(member);
        }
    }
    for &member in ranked {
        if owners.len() - start < count && !owners[start..].contains(&member) {
            owners.push(member);
        }
    }
}

/// `members` with their weights for `slot`. Sorted, the highest weight comes first; equal weights in the order of names,
/// which is that of indices.
fn weigh(
    name_hashes: &[u64],
    slot: Slot,
    members: impl Iterator<Item = u16>,
) -> impl Iterator<Item = (Reverse<u64>, u16)> {
    members.map(move |member| (Reverse(weight(slot, name_hashes[usize::from(member)])), member))
}

fn name_hash(name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), PLACEMENT_SEED)
}

/// The hash of the slot (2 bytes) and the hash of the name (8 bytes), both little-endian.
fn weight(slot: Slot, name_hash: u64) -> u64 {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&slot.number().to_le_bytes());
    bytes[2..].copy_from_slice(&name_hash.to_le_bytes());
    xxh3_64_with_seed(&bytes, PLACEMENT_SEED)
}
