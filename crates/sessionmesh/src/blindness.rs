//! What a node cannot know because too many others vanished, and what an adapter makes of it.

use std::sync::Arc;
use std::time::Duration;

use sessionmesh_core::id::SLOTS;
use sessionmesh_core::membership::lost::Blind;

use crate::lock::lock;
use crate::mesh::Mesh;

/// All nodes that held some of the sessions have vanished, so of an id that nobody knows this node cannot tell whether it is
/// one of those. Sessions that are left, new ones, and visitors without a session are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blindness {
    /// How long ago the first of the missing members vanished.
    pub since: Duration,
    /// For how much longer this lasts at most: until nobody can have used those sessions for `max_inactive`. It ends sooner
    /// when the missing members are back, with or without what they held, or by [`Mesh::forget_lost`].
    pub at_most: Duration,
    /// The members that are missed, sorted by name.
    pub missing: Vec<Arc<str>>,
    /// In how many of the 4096 slots a session may be that nobody knows.
    pub slots: usize,
    /// More than half of the other members fell silent at once, so this node may be the one that was cut off.
    pub cut_off: bool,
}

impl Blindness {
    /// The share of all ids that this is about, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(u32::try_from(self.slots).unwrap_or(u32::MAX)) / SLOTS as f64
    }
}

/// What an adapter does with a visitor whose session may be on nodes that vanished, and may not: see [`Blindness`].
///
/// It is about this lasting state only. While the cluster changes, or nodes do not answer for a moment, every adapter asks the
/// visitor to come again, whatever is set here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenUnsure {
    /// The request is refused, and the cookie stays: when the missing nodes are back, the visitor goes on where it was. Until
    /// then it can use nothing that needs a session, for `max_inactive` at most.
    #[default]
    Refuse,
    /// The visitor goes on as one without a session, and can log in. **Its old session is given up**: what this request
    /// stores goes into a new one, whose cookie replaces the old one, and the session crates also take back the cookie of who
    /// stores nothing. If the missing nodes come back the old session is there, but nobody has its id any more.
    TreatAsNew,
}

impl Mesh {
    /// What this node cannot know because too many others vanished; `None` if nothing, as in calm.
    #[must_use]
    pub fn blindness(&self) -> Option<Blindness> {
        let now = self.node.now();
        let lost = lock(&self.node.cluster.lost);
        let Blind { since, until, missing, slots, cut_off } = lost.blind(self.node.topology().view.len(), now)?;
        let between = |earlier, later: sessionmesh_core::moment::Moment| Duration::from_millis(later.ms_since(earlier));
        Some(Blindness { since: between(since, now), at_most: between(now, until), missing, slots, cut_off })
    }

    /// Ends [`Mesh::blindness`] on this node: the missing members are given up, and from now on an id that nobody knows is
    /// "no such session". For an operator who knows that they do not come back; call it on every node. Returns what was
    /// not known until then.
    ///
    /// **Whoever had a session on the missing members alone is logged out by the next request.** Should they come back with
    /// their copies all the same, nothing is lost of these: they are merged, and serve whoever still has the cookie.
    pub fn forget_lost(&self) -> Option<Blindness> {
        let blindness = self.blindness()?;
        let mut lost = lock(&self.node.cluster.lost);
        lost.forget(&self.node.topology());
        tracing::warn!(missing = ?blindness.missing, slots = blindness.slots, "what the missing members held is given up");
        Some(blindness)
    }
}
