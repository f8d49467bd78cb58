//! What simulations look at on a node, beyond what applications may.

use sessionmesh_core::id::{SessionId, key_short_hashes};
use sessionmesh_core::session::{Status, ValueBytes};

use crate::mesh::Mesh;
use crate::record_store::base::keyed;

/// Draws what a process draws once, so that no run draws it from the randomness of its thread, and then differs from the same run
/// later.
pub fn draw_keys_of_the_process() {
    key_short_hashes(1);
    let _ = keyed();
}

/// What a node holds of one attribute of a session, whoever may be asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeHeld {
    /// It holds nothing of the session.
    NoSession,
    /// The session has ended there, for good or by idleness.
    Ended,
    /// The attribute is this, or it is not there.
    Is(Option<ValueBytes>),
}

impl Mesh {
    /// What this node holds of an attribute now.
    #[must_use]
    pub fn attribute_held(&self, id: SessionId, key: &str) -> AttributeHeld {
        self.node.store.read(id, |held| match held.map(|entry| entry.record()) {
            None => AttributeHeld::NoSession,
            Some(record) if record.status() == Status::Live => AttributeHeld::Is(record.session.get(key).cloned()),
            Some(_) => AttributeHeld::Ended,
        })
    }
}
