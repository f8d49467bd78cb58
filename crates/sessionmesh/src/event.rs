//! What happens in the cluster, for applications to listen to.

use std::sync::Arc;

use sessionmesh_core::id::SessionId;

/// Something happened. Events of a session are told on one node only: creations where the session was created, ends on
/// the primary of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session was created.
    Created {
        /// Its id.
        id: SessionId,
    },
    /// A session was idle for longer than its limit. All its owners know of its end, but for those that did not answer
    /// within the commit deadline.
    Expired {
        /// Its id.
        id: SessionId,
    },
    /// A session was ended.
    Invalidated {
        /// Its id.
        id: SessionId,
    },
    /// A session goes on under another id.
    Renewed {
        /// The id that has ended.
        id: SessionId,
        /// The id that took its place.
        successor: SessionId,
    },
    /// A session moved to another id, see [`crate::Session::move_home`].
    Moved {
        /// The id that has ended, but is readable for a while.
        id: SessionId,
        /// The id that took its place.
        successor: SessionId,
    },
    /// A node came into this node's view. ReadReply on every node.
    MemberUp {
        /// Its name.
        name: Arc<str>,
    },
    /// A node left this node's view. ReadReply on every node.
    MemberDown {
        /// Its name.
        name: Arc<str>,
        /// It said so before.
        planned: bool,
    },
}
