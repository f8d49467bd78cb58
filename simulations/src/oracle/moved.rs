//! Sessions that moved to the node that serves them: for a while both ids are read.

use sessionmesh::SessionId;

use super::{Checked, Oracle, Request, Seen, What};

/// The id before a move is read for 60 s; less what may pass between the move and its answer.
pub(super) const MOVED_READ_MS: u64 = 55_000;

impl Oracle {
    pub(super) fn check_moved(&self, request: &Request, id: SessionId, seen: &Seen, now_ms: u64) -> Checked {
        let (login, start) = (&self.logins[request.login], request.start_ms);
        if request.what != What::ReadMoved || matches!(seen, Seen::CannotTell(_)) {
            return Ok(());
        }
        let Some((moved_ms, to)) = login.moved.get(&id).copied() else { return Ok(()) };
        let still = login.ids.last() == Some(&to) && moved_ms <= start && now_ms < moved_ms + MOVED_READ_MS;
        let there = login.births.get(&to).is_some_and(|birth| self.world.is_safe(birth.safe));
        let calm = self.world.calm_from(start) && self.world.trusting_from(start);
        let over = login.may_be_over(to) || self.may_have_faded(to, now_ms);
        if !still || !there || over || !calm || !self.rules.waits_for_owners() {
            return Ok(());
        }
        let served = matches!(seen, Seen::Session(_));
        let detail = || format!("{id}, now {to}: {request:?}");
        self.demand("both ids of a session that moved are read", served, detail, now_ms)
    }
}
