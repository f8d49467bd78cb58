//! Whether a node may answer for its own copies.

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

/// What a node knows of its own copy of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnCopy {
    /// It owns the slot.
    pub is_owner: bool,
    /// It has not got yet all that its slots hold.
    pub is_joining: bool,
    /// It voted for the end of the session, and waits for what comes of it.
    pub on_hold: bool,
    /// It has left, or failed.
    pub has_stopped: bool,
}

/// Whether a node may answer for its own copy, without asking anybody. `is_leased`: every other member lets it at this
/// moment (see [`leased_until`]); asked last, since it may cost a look at each of them.
#[inline]
pub fn may_answer(copy: OwnCopy, is_leased: impl FnOnce() -> bool) -> bool {
    copy.is_owner && !copy.is_joining && !copy.on_hold && !copy.has_stopped && is_leased()
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
    fn only_a_ready_owner_that_runs_and_did_not_vote_for_an_end_answers_and_only_with_leases() {
        let owner = OwnCopy { is_owner: true, ..OwnCopy::default() };
        assert!(may_answer(owner, || true));
        assert!(!may_answer(owner, || false));
        for not in [
            OwnCopy::default(),
            OwnCopy { is_joining: true, ..owner },
            OwnCopy { on_hold: true, ..owner },
            OwnCopy { has_stopped: true, ..owner },
        ] {
            assert!(!may_answer(not, || unreachable!("the peers need not be looked at")), "{not:?}");
        }
    }
}
