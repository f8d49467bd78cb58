//! Whom a commit waits for.

use crate::coverage::{self, Path};
use crate::id::{NodeHash, Slot};
use crate::liveness::peer::PeerStatus;
use crate::liveness::timing::Timing;
use crate::moment::Moment;
use crate::placement::Placement;
use crate::placement::view::ViewHash;
use crate::replication::acks::Ack;

/// Who must answer for a session now, without this node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The owners that are waited for.
    pub owners: Vec<NodeHash>,
    /// The nodes that stand in for suspected owners. By their own view they only pass the session on.
    pub stand_ins: Vec<NodeHash>,
    /// Members that may still answer reads from their own copies though they are no owners any more, or do not know this node
    /// yet: [`Ack::Owners`] waits for them, too. However they hold it counts.
    pub also_awaited: Vec<NodeHash>,
    /// The view that named the owners.
    pub view: ViewHash,
}

impl Targets {
    /// Those whose copies count: owners and stand-ins.
    pub fn holders(&self) -> impl Iterator<Item = NodeHash> + '_ {
        self.owners.iter().chain(&self.stand_ins).copied()
    }

    /// Whether there is nobody that a commit with this acknowledgement waits for: no other node, or only nodes that are left
    /// out.
    #[must_use]
    pub fn is_nobody(&self, ack: Ack) -> bool {
        self.holders().next().is_none() && (ack != Ack::Owners || self.also_awaited.is_empty())
    }
}

/// The members that stand in for so many `missing` owners of `slot`: the next ones that are not left out themselves.
pub fn stand_ins(
    placement: &Placement,
    slot: Slot,
    missing: usize,
    status: impl Fn(NodeHash) -> Option<PeerStatus>,
) -> impl Iterator<Item = NodeHash> {
    let takes_part = move |node: &NodeHash| status(*node).is_some_and(|peer| !peer.left_out);
    // To rank all members takes a while, and nearly always nobody is missing.
    let ranked = (missing > 0).then(|| placement.stand_ins(slot));
    ranked.into_iter().flatten().filter(takes_part).take(missing)
}

/// Whom a commit on a session in `slot` waits for: its owners; for each that is left out another member; and whoever may
/// answer reads from its own copies though it is no owner any more, or does not know this node.
///
/// `recovering`: this node was stalled, and others may have gone on without it. `status` knows the members of the view, and
/// those of earlier ones to which there is still a link.
#[must_use]
pub fn targets(
    placement: &Placement,
    slot: Slot,
    recovering: bool,
    status: impl Fn(NodeHash) -> Option<PeerStatus>,
    timing: &Timing,
    now: Moment,
) -> Targets {
    let mut missing = 0;
    let mut owners = Vec::with_capacity(placement.slots.owners(slot).len());
    for owner in placement.owners(slot) {
        match status(owner) {
            Some(peer) if peer.left_out => missing += 1,
            Some(_) => owners.push(owner),
            None => {}
        }
    }
    let stand_ins = stand_ins(placement, slot, missing, &status).collect();
    let mut also_awaited = placement.displaced(slot, &status, timing, now);
    if placement.is_joining(placement.me) || recovering {
        also_awaited.extend(placement.unaware(&status));
    }
    coverage::reached_if(Path::DisplacedAwaited, || !also_awaited.is_empty());
    Targets { owners, stand_ins, also_awaited, view: placement.hash() }
}
