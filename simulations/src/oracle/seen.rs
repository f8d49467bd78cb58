//! What a read says, against what clients know.

use std::collections::{BTreeMap, BTreeSet};

use sessionmesh::SessionId;

use super::login::{Login, Write, is_older};
use super::{Checked, Oracle, Request, Seen, name, violated};

impl Oracle {
    pub(super) fn check_seen(
        &mut self,
        request: &Request,
        id: SessionId,
        seen: &Seen,
        holders: &BTreeSet<(usize, u32)>,
        now_ms: u64,
    ) -> Checked {
        let served = match seen {
            Seen::CannotTell(_) => return Ok(()),
            Seen::Nothing => false,
            Seen::Session(_) => true,
        };
        self.check_not_ended(request, id, served, now_ms)?;
        self.check_not_late(id, request, served, now_ms)?;
        self.check_there(request, id, holders, served, now_ms)?;
        match seen {
            Seen::Session(values) => {
                self.count("checked: value");
                self.check_values(request.login, values, now_ms, Some((request, id)))
            }
            _ => {
                self.count("checked: none");
                self.check_not_early(id, request.start_ms, now_ms, "said")
            }
        }
    }

    /// "None" is not said lightly.
    fn check_there(
        &self,
        request: &Request,
        id: SessionId,
        holders: &BTreeSet<(usize, u32)>,
        served: bool,
        now_ms: u64,
    ) -> Checked {
        let login = &self.logins[request.login];
        let start = request.start_ms;
        if login.may_be_over(id) || self.may_have_faded(id, now_ms) {
            return Ok(());
        }
        let detail = || format!("{id} of login {}: {request:?}", request.login);
        if let Some((holder, _)) = request.holders.intersection(holders).next() {
            let detail = || format!("n{holder} holds {}", detail());
            self.demand("\"none\" is never said of a session that a reachable owner holds", served, detail, now_ms)?;
        }
        let Some(birth) = login.births.get(&id) else { return Ok(()) };
        if birth.acked_ms > start || !self.world.is_safe(birth.safe) {
            return Ok(());
        }
        if birth.is_settled(start) && self.veterans.contains(&(request.node, request.life)) {
            self.demand("\"none\" is never said of a session that all owners held", served, detail, now_ms)?;
        }
        let whole = self.world.calm_from(start) || self.world.whole_from(birth.acked_ms);
        if self.rules.waits_for_owners() && whole {
            self.demand("while whole, \"none\" is never said of an acknowledged session", served, detail, now_ms)?;
        }
        Ok(())
    }

    /// What has ended is not served.
    fn check_not_ended(&self, request: &Request, id: SessionId, served: bool, now_ms: u64) -> Checked {
        let login = &self.logins[request.login];
        let start = request.start_ms;
        if login.over {
            let detail = || format!("{id}: {request:?}");
            self.demand("an ended session never comes back", !served, detail, now_ms)?;
        }
        for end in login.ends.get(&id).into_iter().flatten() {
            let Some((acked, safe)) = end.acked else { continue };
            if acked > start || !self.world.is_safe(safe) {
                continue;
            }
            let detail = || format!("{id} ended {end:?}, served {request:?}");
            // A late save on that node may have made a new copy of it, which meets the end once it is heard.
            let late = |w: &Write| w.start_ms <= acked && w.acked.is_none_or(|(at, _)| at >= end.start_ms);
            let late = login.writes.values().any(late);
            if (end.node, end.life) == (request.node, request.life) && !late {
                self.demand("a node never serves a session that it ended", !served, detail, now_ms)?;
            }
            if !self.rules.waits_for_owners() {
                continue;
            }
            if self.world.calm_from(start) || self.world.whole_from(end.start_ms) {
                self.demand("while whole, an ended session is served nowhere", !served, detail, now_ms)?;
            } else if !late && self.world.same_side_from(end.node, request.node, end.start_ms.saturating_sub(1)) {
                let promise = "an ended session is not served on its side of a partition";
                self.demand(promise, !served, detail, now_ms)?;
            }
        }
        Ok(())
    }

    /// Nothing in `values` is invented, or certainly older than what must be visible: to `reader`, or, without one, to
    /// everybody since all has settled.
    pub(super) fn check_values(
        &self,
        login: usize,
        values: &BTreeMap<String, u64>,
        now_ms: u64,
        reader: Option<(&Request, SessionId)>,
    ) -> Checked {
        let login = &self.logins[login];
        for key in login.keys() {
            let found = values.get(&name(key)).copied();
            let context = || {
                let current = login.ids.last().map(ToString::to_string).unwrap_or_default();
                let reader = reader.map_or(format!("all had settled, {current}"), |(r, id)| format!("{id} {r:?}"));
                format!("attribute {key} is {found:?} when {reader}")
            };
            if let Some(found) = found {
                self.judge("no value is invented");
                let Some(write) = login.writes.get(&(key, found)) else {
                    return violated("no value is invented", context(), now_ms);
                };
                if write.removes {
                    return violated("no value is invented", format!("a removal: {}", context()), now_ms);
                }
                let detail = || format!("{write:?}: {}", context());
                self.demand("what was refused is never shown", !write.refused, detail, now_ms)?;
                let promise = "what was overwritten when all had settled never comes back";
                self.demand(promise, !write.superseded, detail, now_ms)?;
            }
            self.check_attribute(login, key, found, now_ms, reader, &context)?;
        }
        Ok(())
    }

    fn check_attribute(
        &self,
        login: &Login,
        key: usize,
        found: Option<u64>,
        now_ms: u64,
        reader: Option<(&Request, SessionId)>,
        context: &dyn Fn() -> String,
    ) -> Checked {
        if login.is_rewriting(key) {
            return Ok(());
        }
        let writes = login.open(key).filter(|w| !w.is_excused(&self.world, reader.is_none()) && !w.superseded);
        for write in writes {
            if let Some((acked, safe)) = write.acked
                && self.must_show(login, write, acked, reader)
                && self.world.is_safe(safe)
            {
                let detail = || format!("it was {write:?}, but {}", context());
                let shown = !is_older(found, write, &login.writes);
                self.demand("an acknowledged write is never lost", shown, detail, now_ms)?;
            }
            if let Some((request, _)) = reader
                && write.made
                && (write.node, write.life) == (request.node, request.life)
                && self.world.whole_from(write.start_ms)
                && !self.world.crashed_since(write.start_ms)
                && write.acked.is_none_or(|(acked, _)| acked <= request.start_ms)
                && self.is_before(write, request)
            {
                let detail = || format!("it was {write:?}, but {}", context());
                let shown = !is_older(found, write, &login.writes);
                self.demand("while whole, a node shows what was written on it", shown, detail, now_ms)?;
            }
        }
        let Some((request, id)) = reader else { return Ok(()) };
        let Some(before) = login.sightings.get(&(id, key, request.node, request.life)) else { return Ok(()) };
        let comparable = before.at_ms <= request.start_ms
            && request.holders.contains(&(request.node, request.life))
            && self.world.whole_from(before.at_ms)
            && !self.world.crashed_since(before.at_ms);
        let shown = before.value.and_then(|value| login.writes.get(&(key, value)));
        if let Some(before_it) = shown.filter(|shown| comparable && !shown.is_excused(&self.world, false)) {
            let detail = || format!("{before:?} was shown, but {}", context());
            let shown = !is_older(found, before_it, &login.writes);
            self.demand("while whole, an owner never shows less than before", shown, detail, now_ms)?;
        }
        Ok(())
    }

    /// An unconfirmed write has no time of its own; the client's next request came after it.
    fn is_before(&self, write: &Write, request: &Request) -> bool {
        write.acked.is_some() || request.tab == write.key
    }

    fn must_show(&self, login: &Login, write: &Write, acked_ms: u64, reader: Option<(&Request, SessionId)>) -> bool {
        let Some((request, _)) = reader else { return true };
        if acked_ms > request.start_ms {
            return false;
        }
        // Who was cut off knows that it missed something, so in calm also what was written without it is seen; unless
        // its writer still waits for nobody.
        let start = request.start_ms;
        let calm = || self.world.calm_from(start) && self.world.trusting_from(start);
        if self.rules.waits_for_owners() && (calm() || self.world.whole_from(write.start_ms)) {
            return true;
        }
        // A request that had read the session before all owners had the write, and saved after that, has put what it
        // had read onto its side.
        let revived = |settled_ms: u64, other: &Write| {
            other.start_ms <= settled_ms && other.acked.is_none_or(|(acked, _)| acked >= settled_ms)
        };
        write.settled_ms.is_some_and(|settled| {
            settled <= request.start_ms && !login.keys().iter().any(|key| login.open(*key).any(|o| revived(settled, o)))
        })
    }
}
