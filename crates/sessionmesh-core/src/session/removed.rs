//! How many removed attributes a session remembers.

use std::collections::BTreeSet;

use super::digest::attribute_hash;
use super::{Attribute, Session};
use crate::stamp::Stamp;

/// So many removed attributes a session remembers, at most, and those whose keys have about so many bytes together: the ones
/// that were removed last. Twice what a session may hold at a time, so that a removal is known to all owners long before it
/// is forgotten: an older copy could bring back what was removed.
///
/// A removal stays if fewer, and smaller ones together, came later. In a union that holds if it holds for what stayed on
/// each side, so copies that merged are the same.
pub const REMOVED_MAX: usize = 8_192;
const REMOVED_BYTES_MAX: usize = 32 << 20;

impl Session {
    /// Forgets the earliest removals that are too many.
    pub(super) fn forget_removed(&mut self) {
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
}
