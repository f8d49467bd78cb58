//! Which sessions of a user have to go when there may be only so many.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::id::SessionId;
use crate::stamp::Stamp;

/// A session of a user, for the choice of those that have to go.
#[derive(Clone, Copy, Debug)]
pub struct UserSession {
    /// Its id.
    pub id: SessionId,
    /// When it became the user's.
    pub since: Stamp,
    /// Since when it was not used, as far as is known.
    pub idle: Duration,
    /// How long it may be idle.
    pub idle_limit: Duration,
}

/// Which sessions a login of `since` ends so that `allowed` are left: of those that logged in before it the longest idle
/// ones.
///
/// The order of logins is the same on all nodes, so of two at the same time at most one ends the other. Nodes know
/// accesses to a tenth of the idle limit only; idle times that differ by less are the same, and the earlier login goes.
#[must_use]
pub fn surplus(mut sessions: Vec<UserSession>, since: Stamp, allowed: usize) -> BTreeSet<SessionId> {
    let too_many = sessions.len().saturating_sub(allowed);
    let longest = sessions.iter().map(|session| session.idle_limit).max().unwrap_or_default();
    let step = (longest / 10).max(Duration::from_millis(1)).as_millis();
    sessions.retain(|session| session.since < since);
    sessions.sort_by_key(|session| (Reverse(session.idle.as_millis() / step), session.since, session.id));
    sessions.into_iter().take(too_many).map(|session| session.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    const fn stamp(counter: u64) -> Stamp {
        Stamp { counter, node: 1 }
    }

    /// Idle times in tenths of the limit.
    fn other(number: u8, since: u64, tenths: u32) -> UserSession {
        let idle = Duration::from_secs(60) * tenths;
        UserSession { id: id(number), since: stamp(since), idle, idle_limit: Duration::from_secs(600) }
    }

    fn chosen(sessions: &[UserSession], since: u64, allowed: usize) -> Vec<SessionId> {
        surplus(sessions.to_vec(), stamp(since), allowed).into_iter().collect()
    }

    #[test]
    fn the_longest_idle_go_and_only_so_many_as_are_too_many() {
        let sessions = [other(1, 1, 0), other(2, 2, 9), other(3, 3, 5), other(4, 4, 0)];
        assert!(chosen(&sessions, 4, 4).is_empty());
        assert_eq!(chosen(&sessions, 4, 3), [id(2)]);
        assert_eq!(chosen(&sessions, 4, 2), [id(2), id(3)]);
        assert_eq!(chosen(&sessions, 4, 1), [id(1), id(2), id(3)]);
    }

    #[test]
    fn the_login_itself_never_goes() {
        assert!(chosen(&[other(1, 1, 9)], 1, 0).is_empty());
    }

    #[test]
    fn of_two_logins_at_once_the_later_one_stays_and_both_agree_on_the_rest() {
        let sessions = [other(1, 1, 3), other(2, 2, 1), other(8, 8, 0), other(9, 9, 0)];
        assert_eq!(chosen(&sessions, 8, 2), [id(1), id(2)]);
        assert_eq!(chosen(&sessions, 9, 2), [id(1), id(2)]);
        assert_eq!(chosen(&sessions, 8, 1), [id(1), id(2)], "the earlier one does not end the later one");
        assert_eq!(chosen(&sessions, 9, 1), [id(1), id(2), id(8)]);
    }

    #[test]
    fn idle_times_that_no_node_can_tell_apart_are_the_same() {
        let mut sessions = [other(1, 2, 3), other(2, 1, 3)];
        sessions[0].idle += Duration::from_secs(59);
        assert_eq!(chosen(&sessions, 9, 1), [id(2)], "the earlier login goes");
    }
}
