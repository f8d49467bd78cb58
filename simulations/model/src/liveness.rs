//! What a node knows of a peer, as the real value that the rules of `sessionmesh-core` take and decide with.

use sessionmesh_core::liveness::peer::{PeerLiveness, PeerStatus, PongSeen};
use sessionmesh_core::liveness::stall::Tick;
use sessionmesh_core::placement::view::ViewHash;

use crate::cluster::{Cluster, Lease, NODES, Peer, hashed, life_of};
use crate::places::{NOW, TIMING, hash_of};

/// A hash that no view has.
const NO_VIEW: ViewHash = ViewHash(0);
/// The number of the present view, and one before it.
const EPOCH: u64 = 2;
const BEFORE: u64 = 1;

/// The real value: made by the calls that a node would have made.
#[must_use]
pub(crate) fn real(peer: &Peer) -> PeerLiveness {
    let just_now = NOW.minus_ms(1);
    // Since when it owes a sign of life.
    let missed = match peer.silence {
        0 => None,
        1 => Some(NOW.minus_ms(TIMING.suspect_ms)),
        _ => Some(NOW.minus_ms(TIMING.suspect_ms * 20)),
    };
    let mut liveness = PeerLiveness::new(missed.unwrap_or(just_now));
    if peer.granted {
        liveness.mark_caught_up(BEFORE);
        liveness.grant(true, BEFORE, &TIMING, just_now);
    }
    liveness.mark_caught_up(if peer.caught_up == [0; NODES] { BEFORE } else { EPOCH });
    if peer.suspected {
        liveness.suspect(&TIMING, just_now);
    }
    let is_heard = peer.view != [0; NODES];
    if peer.doubted {
        // What was heard before the stall says nothing of the view any more.
        if !is_heard {
            hear(&mut liveness, peer);
        }
        // A stall moves the beginning of a silence.
        let woken = missed.map_or(NOW.minus_ms(40), |missed| missed.minus_ms(TIMING.suspect_ms * 2));
        liveness.ticked(Tick::Stalled(TIMING.stall_ms()), &TIMING, woken);
    }
    if is_heard || !peer.doubted {
        hear(&mut liveness, peer);
    }
    if let Some(missed) = missed {
        liveness.pinged(missed);
    }
    liveness
}

/// The last answer to a ping comes, from under another view than this node's.
fn hear(liveness: &mut PeerLiveness, peer: &Peer) {
    let (granted, lease_ms, view) = match peer.lease {
        Lease::None => (false, 0, peer.view),
        Lease::Over(view) => (true, 0, view),
        Lease::Runs(view) => (true, TIMING.lease_ms, view),
    };
    if view != [0; NODES] {
        let at = if peer.view_outlasts_leases { NOW.minus_ms(TIMING.lease_ms) } else { NOW.minus_ms(1) };
        let sent = NOW.minus_ms(20);
        let seen = PongSeen { sent, view: hash_of(view), mine: NO_VIEW, granted, lease_ms, nothing_owed: false };
        liveness.ponged(&seen, &TIMING, at);
    }
}

/// What the rules look at.
#[must_use]
pub(crate) fn status(peer: &Peer) -> PeerStatus {
    let status = real(peer).status(Tick::InTime, true, &TIMING, &TIMING, NOW);
    PeerStatus { view: status.view.filter(|_| peer.view != [0; NODES]), ..status }
}

/// Whether a lease is granted to it, when it asks.
#[must_use]
pub(crate) fn grants(peer: &Peer) -> bool {
    real(peer).grant(true, EPOCH, &TIMING, NOW)
}

/// Whether it is suspected though its link is up, because it has owed an answer for no longer than a slow network explains.
pub(crate) fn is_overdue(peer: &Peer) -> bool {
    !peer.is_clear()
        && !peer.suspected
        && PeerLiveness::new(NOW.minus_ms(TIMING.lease_ms)).is_overdue(false, &TIMING, NOW)
}

/// What a ping and its answer make of what the two know of each other.
pub(crate) fn pinged(cluster: &Cluster, at: usize, to: usize) -> (Peer, Peer) {
    let (node, other) = (&cluster.nodes[at], &cluster.nodes[to]);
    let (mut mine, mut theirs) = (node.peers[to], other.peers[at]);
    let (here, there) = (hashed(node.view), hashed(other.view));
    let is_member = life_of(other.view[at]) == node.life && theirs.life == node.life;
    let mut granted = false;
    if is_member {
        if theirs.caught_up != there && other.scanned && !theirs.is_owed() && !theirs.suspected {
            theirs.caught_up = there;
        }
        granted = grants(&theirs);
        theirs.granted |= granted;
    }
    mine.silence = 0;
    mine.view_outlasts_leases &= mine.view == there;
    mine.view = there;
    mine.doubted &= there != here;
    mine.lease = if granted { Lease::Runs(there) } else { Lease::None };
    if mine.suspected && !mine.is_owed() {
        mine.suspected = false;
    }
    (mine, theirs)
}
