//! What was ended here lately, so that a renewal that comes as "delete, then create" can be told from a logout.

use std::sync::Arc;

use sessionmesh_core::session::Session;

use super::recent::Recent;

/// What the deletion of a session found.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It lived until now, with this content.
    Live(Arc<Session>),
    /// Somebody had ended it before.
    Ended,
    /// It had expired, or never was.
    Nothing,
}

/// What a record that is created may take along from the session that it was loaded from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heritage {
    /// All of it: the session was ended to be renewed. Its newest content, where that is known.
    All(Option<Arc<Session>>),
    /// Nothing: it was logged out, or that cannot be excluded.
    Nothing,
}

/// The sessions that were ended here lately.
///
/// A deletion does not say whether it is a logout or the first half of a renewal. But each creation from a record has its
/// own deletion before it. So as long as a session saw one deletion more than creations when a record of it is created,
/// that one was the record's own, and nobody logged out.
#[derive(Debug, Default)]
pub(super) struct Endings(Recent<u64, Ending>);

#[derive(Debug)]
struct Ending {
    content: Option<Arc<Session>>,
    /// Deletions without a creation yet: logouts, and renewals under way.
    open: u32,
    /// Somebody else had ended it first.
    by_others: bool,
}

impl Endings {
    /// Notes a deletion.
    pub(super) fn note(&mut self, source: u64, deleted: Deleted) {
        if let Some(ending) = self.0.get_mut(source) {
            ending.open = ending.open.saturating_add(1);
            return;
        }
        let by_others = matches!(deleted, Deleted::Ended);
        let content = if let Deleted::Live(content) = deleted { Some(content) } else { None };
        let bytes = content.as_ref().map_or(0, |content| content.bytes());
        self.0.insert(source, Ending { content, open: 1, by_others }, bytes);
    }

    /// What a record that was loaded from `source` may take along into a new session.
    pub(super) fn heritage(&mut self, source: u64) -> Heritage {
        let Some(ending) = self.0.get_mut(source) else { return Heritage::Nothing };
        let is_own = ending.open == 1 && !ending.by_others;
        ending.open = ending.open.saturating_sub(1);
        if is_own { Heritage::All(ending.content.clone()) } else { Heritage::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use sessionmesh_core::session::IdleLimit;
    use sessionmesh_core::stamp::Stamp;

    use super::*;

    fn content() -> Arc<Session> {
        Arc::new(Session::new(7, IdleLimit { stamp: Stamp::ZERO, ms: 1 }))
    }

    #[test]
    fn a_renewal_takes_all_along_and_so_does_the_next_one_of_the_same_session() {
        let mut endings = Endings::default();
        for _ in 0..3 {
            endings.note(1, Deleted::Live(content()));
            assert_eq!(endings.heritage(1), Heritage::All(Some(content())));
        }
        assert_eq!(endings.heritage(1), Heritage::Nothing, "nothing was deleted for this one");
    }

    #[test]
    fn a_renewal_after_or_around_a_logout_takes_nothing_along() {
        let mut endings = Endings::default();
        endings.note(1, Deleted::Live(content()));
        for round in 0..3 {
            endings.note(1, Deleted::Ended);
            assert_eq!(endings.heritage(1), Heritage::Nothing, "round {round}");
        }
        endings.note(2, Deleted::Ended);
        assert_eq!(endings.heritage(2), Heritage::Nothing, "logged out on another node");
        endings.note(2, Deleted::Ended);
        assert_eq!(endings.heritage(2), Heritage::Nothing, "and for good");
        assert_eq!(endings.heritage(3), Heritage::Nothing, "nobody knows anything of it");
    }

    #[test]
    fn of_two_renewals_under_way_together_the_second_takes_all_along() {
        let mut endings = Endings::default();
        endings.note(1, Deleted::Live(content()));
        endings.note(1, Deleted::Ended);
        assert_eq!(endings.heritage(1), Heritage::Nothing, "the other may be a logout");
        assert_eq!(endings.heritage(1), Heritage::All(Some(content())));
    }

    #[test]
    fn a_session_that_only_expired_is_no_logout() {
        let mut endings = Endings::default();
        endings.note(1, Deleted::Nothing);
        assert_eq!(endings.heritage(1), Heritage::All(None));
    }
}
