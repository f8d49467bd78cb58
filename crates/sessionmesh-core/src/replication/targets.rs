//! Whom a commit waits for.

use crate::coverage::{self, Path};
use crate::id::{NodeHash, Slot};
use crate::liveness::peer::PeerStatus;
use crate::liveness::timing::Timing;
use crate::moment::Moment;
use crate::placement::Placement;
use crate::replication::acks::Targets;

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
    let mut displaced = placement.displaced(slot, &status, timing, now);
    if placement.is_joining(placement.me) || recovering {
        displaced.extend(placement.unaware(&status));
    }
    coverage::reached_if(Path::DisplacedAwaited, || !displaced.is_empty());
    Targets { owners, stand_ins, displaced, view: placement.hash() }
}
