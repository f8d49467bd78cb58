//! Copies that are made again: by who becomes ready, and by all after a crash.

use super::world::{Ready, Safe};
use super::{Checked, Oracle, violated};

impl Oracle {
    /// Who says that it is ready holds what was there before it came.
    pub(super) fn check_ready(&mut self, ready: &Ready, now_ms: u64) -> Checked {
        let since = ready.since_ms.saturating_sub(1);
        // By now it may own more: another node has left, or died.
        if !self.world.is_calm() || !self.world.whole_from(since) || self.world.disturbed_within(since, now_ms) {
            return Ok(());
        }
        self.count("checked: ready");
        self.judge("who is ready holds what it owns");
        for id in &ready.lacks {
            let Some(login) = self.by_id.get(id).map(|login| &self.logins[*login]) else { continue };
            let there = login
                .births
                .get(id)
                .is_some_and(|birth| birth.is_settled(ready.since_ms) && self.world.is_safe(birth.safe));
            if there && !login.may_be_over(*id) && !self.may_have_faded(*id, now_ms) {
                let detail = format!("n{} lacks {id}, which was there at {}", ready.node, ready.since_ms);
                return violated("who is ready holds what it owns", detail, now_ms);
            }
        }
        Ok(())
    }

    /// Everything that was not lost before has all its copies again, and nobody holds anything older.
    pub(super) fn repaired(&mut self, up: &[(usize, u32)], now_ms: u64) {
        let all = Safe { since_ms: now_ms, copies: self.rules.spare.min(up.len().saturating_sub(1)) };
        let world = &self.world;
        let renew = |acked_ms: u64, safe: &mut Safe| {
            let left = world.bears(*safe).filter(|_| acked_ms < now_ms);
            if left.is_some_and(|left| left <= all.copies) {
                *safe = all;
            }
            left.is_some()
        };
        for login in &mut self.logins {
            for birth in login.births.values_mut() {
                if renew(birth.acked_ms, &mut birth.safe) {
                    birth.settled_ms.get_or_insert(now_ms);
                }
            }
            let open: Vec<_> = login.open.iter().flat_map(|(key, open)| open.iter().map(|v| (*key, *v))).collect();
            for (key, value) in open {
                let write =
                    login.writes.get_mut(&(key, value)).filter(|write| !write.removes && write.crossed_ms.is_none());
                let acked = write.and_then(|write| write.acked.as_mut());
                if acked.is_some_and(|(acked_ms, safe)| renew(*acked_ms, safe)) {
                    login.settle(key, value, now_ms);
                }
            }
            for (acked_ms, safe) in login.ends.values_mut().flatten().filter_map(|end| end.acked.as_mut()) {
                renew(*acked_ms, safe);
            }
        }
        self.veterans = up.iter().copied().collect();
    }
}
