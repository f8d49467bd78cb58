//! Letting go: a node that is no owner drops its copy only when every owner said that it keeps it.

use std::collections::BTreeMap;

use crate::id::{NodeHash, Slot};
use crate::placement::Placement;
use crate::replication::outbox::{Item, Version};

/// Whether a node may drop its copies in `slot` once all owners keep them: it is none of them, and no commit of its own waits
/// for one (`is_awaited`).
///
/// Not while one of the owners is joining: newcomers that die before they are ready must take nothing with them.
pub fn is_droppable(placement: &Placement, slot: Slot, is_awaited: impl FnOnce() -> bool) -> bool {
    !placement.is_owner(slot) && !placement.has_joining_owner(slot) && !is_awaited()
}

/// Who said "kept" to which version of the items that this node holds without owning them.
///
/// The rule, whose proof is in docs/architecture.md: drop only if, since the owner list of the slot or an incarnation in it
/// last changed, every owner answered `kept` to a send that held all there is now, last access included; never on an
/// empty owner list.
#[derive(Debug, Default)]
pub struct HandoffConfirmations {
    confirmed: BTreeMap<Item, Confirmed>,
}

#[derive(Debug)]
struct Confirmed {
    version: Version,
    by: Vec<NodeHash>,
}

impl HandoffConfirmations {
    /// `node` answered `kept` to a send of `version`. An answer to another version than the last one confirmed of starts
    /// the list anew.
    pub fn kept(&mut self, item: impl Into<Item>, version: Version, node: NodeHash) {
        let confirmed = self.confirmed.entry(item.into()).or_insert_with(|| Confirmed { version, by: Vec::new() });
        if confirmed.version != version {
            *confirmed = Confirmed { version, by: Vec::new() };
        }
        if !confirmed.by.contains(&node) {
            confirmed.by.push(node);
        }
    }

    /// Whether the copy of `item`, which is now at `version`, may go.
    pub fn may_drop(&self, item: impl Into<Item>, version: Version, owners: &[NodeHash]) -> bool {
        !owners.is_empty()
            && self.confirmed.get(&item.into()).is_some_and(|confirmed| {
                confirmed.version == version && owners.iter().all(|owner| confirmed.by.contains(owner))
            })
    }

    /// Forgets what was said of one item: it was dropped.
    pub fn forget(&mut self, item: impl Into<Item>) {
        self.confirmed.remove(&item.into());
    }

    /// Forgets all that was said of the items in these slots: their owners changed.
    pub fn owners_changed(&mut self, changed: impl Fn(Slot) -> bool) {
        self.confirmed.retain(|item, _| !changed(item.slot()));
    }

    /// The items about which something was confirmed, ascending.
    pub fn items(&self) -> Vec<Item> {
        self.confirmed.keys().copied().collect()
    }

    /// Items about which something was confirmed.
    pub fn len(&self) -> usize {
        self.confirmed.len()
    }

    /// Whether nothing was confirmed.
    pub fn is_empty(&self) -> bool {
        self.confirmed.is_empty()
    }
}

#[cfg(test)]
mod tests;
