//! What is refused: what exceeds a limit, and a renewal of what was given up; and what a node shows of what it holds.

use std::collections::BTreeMap;

use super::{Checked, Did, Oracle, Reply, Request, Seen, What, name};

impl Oracle {
    pub(super) fn check_refused(&self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        let found = matches!(reply.seen, Some((Seen::Session(_), _)));
        let refused = !matches!(reply.did, Did::Acked(..) | Did::Unconfirmed(..));
        let detail = || format!("{request:?} {reply:?}");
        match request.what {
            What::TooLarge(_) if found => self.demand("a value beyond its limit is refused", refused, detail, now_ms),
            What::Renew if self.must_know_end(request, reply, now_ms) => {
                self.demand("what was given up is not renewed again", refused, detail, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// Whether the session had been renewed or ended before the handle of it was used, so that everybody knows it.
    fn must_know_end(&self, request: &Request, reply: &Reply, now_ms: u64) -> bool {
        let Some(id) = request.id.filter(|_| self.rules.waits_for_owners()) else { return false };
        let used_ms = now_ms.saturating_sub(reply.took_ms + self.rules.slack_ms);
        let known = |end_ms: u64| self.world.calm_from(used_ms) || self.world.whole_from(end_ms);
        self.logins[request.login].ends.get(&id).into_iter().flatten().any(|end| {
            end.acked.is_some_and(|(acked, safe)| acked <= used_ms && self.world.is_safe(safe)) && known(end.start_ms)
        })
    }

    /// What a node holds may lack any write, and an end, but nothing in it is invented.
    pub(super) fn check_held(&self, login: usize, values: &BTreeMap<String, u64>, now_ms: u64) -> Checked {
        let login = &self.logins[login];
        for key in login.keys() {
            let Some(found) = values.get(&name(key)) else { continue };
            let write = login.writes.get(&(key, *found));
            let detail = || format!("attribute {key} is held as {found}: {write:?}");
            let is_write = write.is_some_and(|write| !write.removes);
            self.demand("no value is invented", is_write, detail, now_ms)?;
            let refused = write.is_some_and(|write| write.refused);
            self.demand("what was refused is never shown", !refused, detail, now_ms)?;
            let superseded = write.is_some_and(|write| write.superseded);
            let promise = "what was overwritten when all had settled never comes back";
            self.demand(promise, !superseded, detail, now_ms)?;
        }
        Ok(())
    }
}
