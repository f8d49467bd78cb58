//! Letting go: a node that is no owner drops its copy only when every owner said that it keeps it.

use std::collections::BTreeMap;

use crate::id::{SessionId, Slot};
use crate::outbox::Version;
use crate::view::NodeHash;

/// Who said "kept" to which version of the sessions that this node holds without owning them.
///
/// The rule, whose proof is in docs/architecture.md: drop only if, since the owner list of the slot or an incarnation in it
/// last changed, every owner answered `kept` to a send that held all there is now, last access included; never on an
/// empty owner list.
#[derive(Debug, Default)]
pub struct Keeping {
    heard: BTreeMap<SessionId, Heard>,
}

#[derive(Debug)]
struct Heard {
    version: Version,
    by: Vec<NodeHash>,
}

impl Keeping {
    /// `node` answered `kept` to a send of `version`. An answer to another version than the last one heard of starts
    /// the list anew.
    pub fn kept(&mut self, id: SessionId, version: Version, node: NodeHash) {
        let heard = self.heard.entry(id).or_insert_with(|| Heard { version, by: Vec::new() });
        if heard.version != version {
            *heard = Heard { version, by: Vec::new() };
        }
        if !heard.by.contains(&node) {
            heard.by.push(node);
        }
    }

    /// Whether the copy of `id`, which is now at `version`, may go.
    pub fn may_drop(&self, id: SessionId, version: Version, owners: &[NodeHash]) -> bool {
        !owners.is_empty()
            && self
                .heard
                .get(&id)
                .is_some_and(|heard| heard.version == version && owners.iter().all(|owner| heard.by.contains(owner)))
    }

    /// Forgets what was said of one session: it was dropped.
    pub fn forget(&mut self, id: SessionId) {
        self.heard.remove(&id);
    }

    /// Forgets all that was said of the sessions in these slots: their owners changed.
    pub fn owners_changed(&mut self, changed: impl Fn(Slot) -> bool) {
        self.heard.retain(|id, _| !changed(id.slot()));
    }

    /// The sessions about which something was heard, ascending.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.heard.keys().copied().collect()
    }

    /// Sessions about which something was heard.
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
