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

use std::collections::{BTreeMap, BTreeSet};

use self::weights::{best, best_across_zones, member_of, name_hash, sort, weight};
use super::view::{MemberState, View, ViewHash};
use crate::id::{SLOTS, Slot};
use crate::terms::Mode;

mod weights;

#[cfg(test)]
mod tests;

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
        let eligible: Vec<_> = eligible(view).into_iter().map(|at| (at, name_hashes[usize::from(at)])).collect();
        let (owners_per_slot, zones) = match mode {
            Mode::AllToAll => (eligible.len(), None),
            Mode::PrimaryBackup { backups } => (eligible.len().min(usize::from(backups) + 1), zones(view)),
        };
        let zones_used = zones.as_ref().map_or(0, |zones| {
            let used: BTreeSet<u16> = eligible.iter().map(|(member, _)| zones[usize::from(*member)]).collect();
            used.len().min(owners_per_slot)
        });
        let mut owners = Vec::with_capacity(SLOTS * owners_per_slot);
        let (mut keys, mut chosen, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for slot in Slot::all() {
            let weighed = || eligible.iter().map(move |&(member, name_hash)| (weight(slot, name_hash), member));
            if mode == Mode::AllToAll {
                sort(weighed(), |member| weight(slot, name_hashes[usize::from(member)]), &mut keys);
                owners.extend(keys.iter().copied().map(member_of));
                continue;
            }
            chosen.clear();
            if let Some(zones) = &zones {
                best_across_zones(weighed(), zones, zones_used, &mut chosen);
            }
            if chosen.len() < owners_per_slot {
                // The best of all are enough of them, even if all that were chosen are among them.
                best(weighed(), owners_per_slot, &mut rest);
                rest.retain(|member| !chosen.contains(member));
                chosen.extend_from_slice(&rest[..owners_per_slot - chosen.len()]);
            }
            owners.extend(chosen.iter().map(|(_, member)| *member));
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
        let mut is_other = vec![true; view.len()];
        for owner in owners {
            is_other[usize::from(*owner)] = false;
        }
        let (mut ranking, mut keys) = (owners.to_vec(), Vec::new());
        for leaving in [false, true] {
            let others =
                indices(view).filter(|&member| is_other[usize::from(member)] && is_leaving(view, member) == leaving);
            let weight = |member: u16| weight(slot, self.name_hashes[usize::from(member)]);
            sort(others.map(|member| (weight(member), member)), weight, &mut keys);
            ranking.extend(keys.iter().copied().map(member_of));
        }
        ranking
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
