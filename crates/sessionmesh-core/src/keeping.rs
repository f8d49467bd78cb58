//! Letting go: a node that is no owner drops its copy only when every owner said that it keeps it.

use std::collections::BTreeMap;

use crate::id::Slot;
use crate::outbox::{Item, Version};
use crate::view::NodeHash;

/// Who said "kept" to which version of the items that this node holds without owning them.
///
/// The rule, whose proof is in docs/architecture.md: drop only if, since the owner list of the slot or an incarnation in it
/// last changed, every owner answered `kept` to a send that held all there is now, last access included; never on an
/// empty owner list.
#[derive(Debug, Default)]
pub struct Keeping {
    heard: BTreeMap<Item, Heard>,
}

#[derive(Debug)]
struct Heard {
    version: Version,
    by: Vec<NodeHash>,
}

impl Keeping {
    /// `node` answered `kept` to a send of `version`. An answer to another version than the last one heard of starts
    /// the list anew.
    pub fn kept(&mut self, item: impl Into<Item>, version: Version, node: NodeHash) {
        let heard = self.heard.entry(item.into()).or_insert_with(|| Heard { version, by: Vec::new() });
        if heard.version != version {
            *heard = Heard { version, by: Vec::new() };
        }
        if !heard.by.contains(&node) {
            heard.by.push(node);
        }
    }

    /// Whether the copy of `item`, which is now at `version`, may go.
    pub fn may_drop(&self, item: impl Into<Item>, version: Version, owners: &[NodeHash]) -> bool {
        !owners.is_empty()
            && self
                .heard
                .get(&item.into())
                .is_some_and(|heard| heard.version == version && owners.iter().all(|owner| heard.by.contains(owner)))
    }

    /// Forgets what was said of one item: it was dropped.
    pub fn forget(&mut self, item: impl Into<Item>) {
        self.heard.remove(&item.into());
    }

    /// Forgets all that was said of the items in these slots: their owners changed.
    pub fn owners_changed(&mut self, changed: impl Fn(Slot) -> bool) {
        self.heard.retain(|item, _| !changed(item.slot()));
    }

    /// The items about which something was heard, ascending.
    pub fn items(&self) -> Vec<Item> {
        self.heard.keys().copied().collect()
    }

    /// Items about which something was heard.
    pub fn len(&self) -> usize {
        self.heard.len()
    }

    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }
}

#[cfg(test)]
mod tests;
