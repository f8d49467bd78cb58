//! What was ended here lately, so that a renewal that comes as "delete, then create" can be told from a logout.

use std::sync::Arc;

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::session::Session;

use super::base::source_of;
use super::recent::Recent;

/// What the deletion of a session found.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It lived until now, with this content.
    Live(Arc<Session>),
    /// Somebody had ended it before.
    Ended,
    /// It had expired, or never was; or what became of it cannot be told, and it has ended now.
    Nothing,
}

/// What a record that is created may take along from the session that it was loaded from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RenewalBase {
    /// All of it: the session was ended to be renewed.
    All(Deceased),
    /// Nothing: it was logged out, or that cannot be excluded.
    Nothing,
}

/// A session that was ended here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deceased {
    pub(super) id: SessionId,
    /// Its newest content, where that is known.
    pub(super) content: Option<Arc<Session>>,
    /// Its content lives on under [`SessionId::heir`], since a renewal was refused.
    pub(super) has_heir: bool,
}

/// The sessions that were ended here lately.
///
/// A deletion does not say whether it is a logout or the first half of a renewal. But each creation from a record has its
/// own deletion before it. So as long as a session saw one deletion more than creations when a record of it is created,
/// that one was the record's own, and nobody logged out.
#[derive(Debug)]
pub(super) struct Endings {
    endings: Recent<u64, Ending>,
    /// What they held. Without it a renewal takes along what its record was when it was loaded.
    contents: Recent<u64, Arc<Session>>,
}

/// Bytes that endings, and what the sessions held, may take.
const ENDING_BYTES_MAX: usize = 16 << 20;
const CONTENT_BYTES_MAX: usize = 32 << 20;

#[derive(Debug)]
struct Ending {
    id: SessionId,
    /// Deletions without a creation yet: logouts, and renewals under way.
    open: u32,
    /// Somebody else had ended it first.
    by_others: bool,
    has_heir: bool,
}

impl Default for Endings {
    fn default() -> Self {
        Self { endings: Recent::new(ENDING_BYTES_MAX), contents: Recent::new(CONTENT_BYTES_MAX) }
    }
}

impl Endings {
    /// Notes a deletion.
    pub(super) fn note(&mut self, id: SessionId, deleted: Deleted, now: Moment) {
        let source = source_of(id);
        if let Some(ending) = self.endings.get_mut(source) {
            ending.open = ending.open.saturating_add(1);
            return;
        }
        let by_others = matches!(deleted, Deleted::Ended);
        self.endings.insert(source, Ending { id, open: 1, by_others, has_heir: false }, 0, now);
        if let Deleted::Live(content) = deleted {
            let bytes = content.bytes();
            self.contents.insert(source, content, bytes, now);
        }
    }

    /// What a record that was loaded from `source` may take along into a new session.
    pub(super) fn renewal_base(&mut self, source: u64) -> RenewalBase {
        let Some(ending) = self.endings.get_mut(source) else { return RenewalBase::Nothing };
        let is_own = ending.open == 1 && !ending.by_others;
        ending.open = ending.open.saturating_sub(1);
        let content = self.contents.get(source).cloned();
        let deceased = Deceased { id: ending.id, content, has_heir: ending.has_heir };
        if is_own { RenewalBase::All(deceased) } else { RenewalBase::Nothing }
    }

    /// The creation that asked for the renewal_base of `id` was refused: the next one may have it.
    pub(super) fn give_back(&mut self, id: SessionId, has_heir: bool) {
        if let Some(ending) = self.endings.get_mut(source_of(id)) {
            ending.open = ending.open.saturating_add(1);
            ending.has_heir |= has_heir;
        }
    }
}

#[cfg(test)]
mod tests {
    use sessionmesh_core::session::IdleLimit;
    use sessionmesh_core::stamp::Stamp;

    use super::*;

    const NOW: Moment = Moment::START;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    fn all(number: u8, content: Option<Arc<Session>>) -> RenewalBase {
        RenewalBase::All(Deceased { id: id(number), content, has_heir: false })
    }

    fn content() -> Arc<Session> {
        Arc::new(Session::new(7, IdleLimit { stamp: Stamp::ZERO, ms: 1 }))
    }

    #[test]
    fn a_renewal_takes_all_along_and_so_does_the_next_one_of_the_same_session() {
        let mut endings = Endings::default();
        for _ in 0..3 {
            endings.note(id(1), Deleted::Live(content()), NOW);
            assert_eq!(endings.renewal_base(source_of(id(1))), all(1, Some(content())));
        }
        assert_eq!(endings.renewal_base(source_of(id(1))), RenewalBase::Nothing, "nothing was deleted for this one");
    }

    #[test]
    fn a_renewal_after_or_around_a_logout_takes_nothing_along() {
        let mut endings = Endings::default();
        endings.note(id(1), Deleted::Live(content()), NOW);
        for round in 0..3 {
            endings.note(id(1), Deleted::Ended, NOW);
            assert_eq!(endings.renewal_base(source_of(id(1))), RenewalBase::Nothing, "round {round}");
        }
        endings.note(id(2), Deleted::Ended, NOW);
        assert_eq!(endings.renewal_base(source_of(id(2))), RenewalBase::Nothing, "logged out on another node");
        endings.note(id(2), Deleted::Ended, NOW);
        assert_eq!(endings.renewal_base(source_of(id(2))), RenewalBase::Nothing, "and for good");
        assert_eq!(endings.renewal_base(source_of(id(3))), RenewalBase::Nothing, "nobody knows anything of it");
    }

    #[test]
    fn of_two_renewals_under_way_together_the_second_takes_all_along() {
        let mut endings = Endings::default();
        endings.note(id(1), Deleted::Live(content()), NOW);
        endings.note(id(1), Deleted::Ended, NOW);
        assert_eq!(endings.renewal_base(source_of(id(1))), RenewalBase::Nothing, "the other may be a logout");
        assert_eq!(endings.renewal_base(source_of(id(1))), all(1, Some(content())));
    }

    #[test]
    fn a_session_that_only_expired_is_no_logout() {
        let mut endings = Endings::default();
        endings.note(id(1), Deleted::Nothing, NOW);
        assert_eq!(endings.renewal_base(source_of(id(1))), all(1, None));
    }

    #[test]
    fn many_other_endings_take_no_heritage_away() {
        let mut endings = Endings::default();
        endings.note(id(1), Deleted::Live(content()), NOW);
        for number in 0..50_000_u128 {
            endings.note(SessionId::from_bytes(number.to_be_bytes()), Deleted::Live(content()), NOW);
        }
        assert_eq!(endings.renewal_base(source_of(id(1))), all(1, Some(content())));
    }

    #[test]
    fn a_renewal_that_was_refused_may_be_tried_again() {
        let mut endings = Endings::default();
        endings.note(id(1), Deleted::Live(content()), NOW);
        assert_eq!(endings.renewal_base(source_of(id(1))), all(1, Some(content())));
        endings.give_back(id(1), true);
        let again = Deceased { id: id(1), content: Some(content()), has_heir: true };
        assert_eq!(endings.renewal_base(source_of(id(1))), RenewalBase::All(again));
        assert_eq!(endings.renewal_base(source_of(id(1))), RenewalBase::Nothing);
    }
}
