//! What happens in the cluster, for applications to listen to.

use std::sync::Arc;

use sessionmesh_core::id::SessionId;

/// Something that happened in the cluster. Each event of a session is emitted on one node only: the creation where the
/// session was created, the end on the primary of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session was created.
    Created {
        /// Its id.
        id: SessionId,
    },
    /// A session was idle for longer than its limit. All its owners know that it has ended, except those that did not
    /// answer within the commit deadline.
    Expired {
        /// Its id.
        id: SessionId,
    },
    /// A session was ended.
    Invalidated {
        /// Its id.
        id: SessionId,
    },
    /// A session continues under a new id.
    Renewed {
        /// The id that has ended.
        id: SessionId,
        /// The id that took its place.
        successor: SessionId,
    },
    /// A session moved to a new id, see [`crate::Session::move_home`].
    Moved {
        /// The id that has ended, but stays readable for a while.
        id: SessionId,
        /// The id that took its place.
        successor: SessionId,
    },
    /// A node joined the view of this node. Emitted on every node.
    MemberUp {
        /// Its name.
        name: Arc<str>,
    },
    /// A node left the view of this node. Emitted on every node.
    MemberDown {
        /// Its name.
        name: Arc<str>,
        /// Whether the node had announced that it leaves.
        planned: bool,
    },
}
