//! What a node cannot know because too many others vanished, and what an adapter makes of it.

use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::id::SLOTS;
use sessionmesh_core::membership::lost::Blind;
use sessionmesh_core::moment::Moment;

use crate::engine::state::node::Node;
use crate::lock::lock;
use crate::mesh::Mesh;

/// All nodes that held some of the sessions have vanished. If no remaining node knows an id, this node cannot tell
/// whether the id belongs to one of those sessions. Remaining sessions, new sessions and visitors without a session are
/// not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blindness {
    /// How long ago the first of the missing members vanished.
    pub since: Duration,
    /// How much longer this lasts at most: until nobody can have used those sessions for `max_inactive`. It ends sooner
    /// if the missing members return, with or without what they held, or with [`Mesh::forget_lost`].
    pub at_most: Duration,
    /// The missing members, sorted by name.
    pub missing: Vec<Arc<str>>,
    /// How many of the 4096 slots may contain a session that no remaining node knows.
    pub slots: usize,
    /// More than half of the other members fell silent at once, so this node may be the one that was cut off.
    pub cut_off: bool,
}

impl Blindness {
    /// The affected share of all ids, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(u32::try_from(self.slots).unwrap_or(u32::MAX)) / SLOTS as f64
    }
}

/// What an adapter does with a visitor whose session may have been on nodes that vanished: see [`Blindness`].
///
/// This setting covers that lasting state only. While the cluster changes, or while nodes do not answer for a moment,
/// every adapter asks the visitor to come again, whatever is set here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenUnsure {
    /// Refuse the request and keep the cookie. When the missing nodes return, the visitor goes on with the old session.
    /// Until then, for `max_inactive` at most, the visitor can use nothing that needs a session.
    #[default]
    Refuse,
    /// Treat the visitor as one without a session, who can log in. **The old session is given up**: what the request
    /// stores goes into a new session, whose cookie replaces the old one. The stores for tower-sessions and
    /// actix-session remove the old cookie even if the request stores nothing. If the missing nodes return, the old
    /// session exists again, but nobody has its id any more.
    TreatAsNew,
}

/// What this node cannot know now.
pub(crate) fn of(node: &Node) -> Option<Blindness> {
    let now = node.now();
    let lost = lock(&node.cluster.lost);
    let Blind { since, until, missing, slots, cut_off } = lost.blind(node.topology().view.len(), now)?;
    let between = |earlier, later: Moment| Duration::from_millis(later.ms_since(earlier));
    Some(Blindness { since: between(since, now), at_most: between(now, until), missing, slots, cut_off })
}

impl Mesh {
    /// What this node cannot know because too many other nodes vanished. `None` in normal operation.
    #[must_use]
    pub fn blindness(&self) -> Option<Blindness> {
        of(&self.node)
    }

    /// Ends [`Mesh::blindness`] on this node: it gives the missing members up, and from now on an id that no node knows
    /// is "no such session". For an operator who knows that they will not return; call it on every node. Returns the
    /// blindness that this call ended.
    ///
    /// **A visitor whose session was on the missing members alone is logged out by the next request.** If these members
    /// return with their copies after all, nothing of the copies is lost: they are merged, and serve every visitor who
    /// still has the cookie.
    pub fn forget_lost(&self) -> Option<Blindness> {
        let blindness = self.blindness()?;
        let mut lost = lock(&self.node.cluster.lost);
        lost.forget(&self.node.topology());
        tracing::warn!(missing = ?blindness.missing, slots = blindness.slots, "gave up what the missing members held");
        Some(blindness)
    }
}
