//! Whether a change of the view is over, and whether a newcomer has got all.

use crate::failpoint::{self, Bug};
use crate::liveness::peer::PeerStatus;
use crate::placement::view::ViewHash;

/// Whether a change of the view still goes on, so that members that do not own a session may be the only ones to hold it:
/// this node has not handed over yet (`scanned`), members of an earlier view are still asked (`former`), or a peer that is
/// heard goes by another view.
#[must_use]
pub fn is_in_transition(
    scanned: bool,
    former: bool,
    peers: impl IntoIterator<Item = PeerStatus>,
    view: ViewHash,
) -> bool {
    !scanned || former || peers.into_iter().any(|peer| peer.view != Some(view) && !peer.silent)
}

/// What a newcomer has of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Donor {
    /// All that it must hold of what the peer holds.
    Gave,
    /// The peer is cut off. Nobody waits for it.
    CutOff,
    /// The peer owes something, or has not been compared with.
    Owes,
}

/// What a newcomer has of this peer under its `view`. `compared`: an audit has found no difference since, or none is needed
/// since the two own no slot together.
///
/// That a lease has run out meanwhile takes nothing back: on a busy host it may run out before it is read.
#[must_use]
pub fn donor(peer: PeerStatus, compared: bool, view: ViewHash) -> Donor {
    let gave = peer.gave_all(view) && compared;
    match peer.cut_off {
        true => Donor::CutOff,
        false if gave || failpoint::planted(Bug::ReadyEarly) => Donor::Gave,
        false => Donor::Owes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;

    const VIEW: ViewHash = ViewHash(7);
    const OTHER: ViewHash = ViewHash(8);

    /// A peer that goes by the view and lets this node answer for its copies for so long.
    fn peer(until_ms: u64) -> PeerStatus {
        let until = Moment::START.plus_ms(until_ms);
        PeerStatus { view: Some(VIEW), lease: Some((until, VIEW)), ..PeerStatus::default() }
    }

    #[test]
    fn a_change_goes_on_until_all_that_are_heard_go_by_the_view_and_all_is_handed_over() {
        let other = PeerStatus { view: Some(OTHER), ..peer(300) };
        let unheard = PeerStatus { silent: true, ..other };
        assert!(!is_in_transition(true, false, [peer(300), unheard], VIEW));
        assert!(is_in_transition(true, false, [peer(300), other], VIEW));
        assert!(is_in_transition(true, false, [PeerStatus { view: None, ..peer(300) }], VIEW));
        assert!(is_in_transition(false, false, [peer(300)], VIEW));
        assert!(is_in_transition(true, true, [peer(300)], VIEW));
    }

    #[test]
    fn a_newcomer_has_all_of_who_said_so_and_was_compared_with_however_long_ago() {
        assert_eq!(donor(peer(0), true, VIEW), Donor::Gave);
        assert_eq!(donor(peer(0), true, OTHER), Donor::Owes);
        assert_eq!(donor(peer(0), false, VIEW), Donor::Owes);
        assert_eq!(donor(PeerStatus { lease: None, ..peer(0) }, true, VIEW), Donor::Owes);
        assert_eq!(donor(PeerStatus { cut_off: true, ..peer(0) }, false, VIEW), Donor::CutOff);
    }
}
