//! What a node may conclude from the state of its peers: whether it may answer for its own copies, whether a change of the
//! view is over, whether a newcomer has got all.

use super::peer::PeerStatus;
use crate::failpoint::{self, Bug};
use crate::moment::Moment;
use crate::placement::view::ViewHash;

/// Until when all of these peers let this node answer for its own copies under its `view`; `None` if one of them does not.
/// [`Moment::END`] if there are none.
///
/// Who is cut off is not waited for. It may come back at any time, so what is found beside one holds for no longer than `now`.
#[must_use]
pub fn leased_until(peers: impl IntoIterator<Item = PeerStatus>, view: ViewHash, now: Moment) -> Option<Moment> {
    let until = |peer: PeerStatus| match peer.leases(view, now) {
        None if peer.cut_off => Some(now),
        None if failpoint::planted(Bug::StalledOwnerAnswers) => Some(now),
        lease => lease,
    };
    peers.into_iter().try_fold(Moment::END, |earliest, peer| Some(earliest.min(until(peer)?)))
}

/// Whether a change of the view still goes on, so that members that do not own a session may be the only ones to hold it:
/// this node has not handed over yet (`walked`), members of an earlier view are still asked (`former`), or a peer that is
/// heard goes by another view.
#[must_use]
pub fn is_in_transition(
    walked: bool,
    former: bool,
    peers: impl IntoIterator<Item = PeerStatus>,
    view: ViewHash,
) -> bool {
    !walked || former || peers.into_iter().any(|peer| peer.view != Some(view) && !peer.silent)
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

    const VIEW: ViewHash = ViewHash(7);
    const OTHER: ViewHash = ViewHash(8);

    fn at(ms: u64) -> Moment {
        Moment::START.plus_ms(ms)
    }

    /// A peer that goes by the view and lets this node answer for its copies until then.
    fn peer(until: u64) -> PeerStatus {
        PeerStatus { view: Some(VIEW), lease: Some((at(until), VIEW)), ..PeerStatus::default() }
    }

    #[test]
    fn a_node_answers_for_its_copies_for_as_long_as_every_peer_lets_it() {
        assert_eq!(leased_until([], VIEW, at(0)), Some(Moment::END));
        assert_eq!(leased_until([peer(300), peer(200)], VIEW, at(199)), Some(at(200)));
        assert_eq!(leased_until([peer(300), peer(200)], VIEW, at(200)), None);
        assert_eq!(leased_until([peer(300), PeerStatus::default()], VIEW, at(0)), None);
        assert_eq!(leased_until([peer(300)], OTHER, at(0)), None, "the lease is of another view");
    }

    #[test]
    fn who_is_cut_off_is_not_waited_for_but_looked_at_again() {
        let cut_off = PeerStatus { cut_off: true, ..PeerStatus::default() };
        assert_eq!(leased_until([peer(300), cut_off], VIEW, at(10)), Some(at(10)));
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
