//! Sessions that nobody uses end in time and not before, and listeners are told once.

use sessionmesh::{Event, SessionId};

use super::login::Use;
use super::{Checked, Oracle, Request, violated};

/// An event that a listener on a node was told of, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedEvent {
    /// When, in simulated milliseconds.
    pub at_ms: u64,
    /// On which node.
    pub node: usize,
    /// What.
    pub event: Event,
}

/// What listeners were told of the end of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    first_ms: u64,
    told: u32,
}

/// An access reaches the other owners so long after it, at most, while no link is slow. What happened on a node that
/// died within this time may not count.
const PASSED_ON_MS: u64 = 600;
/// An end is told so long after it was decided, at most: a vote and the copies of it.
const TOLD_MS: u64 = 1_100;
/// The longest time between two looks at a session (the library's `engine::expire`).
const SWEEP_MS_MAX: u64 = 5_000;

impl Oracle {
    /// Until when the session must live, by what clients know: `None` if they know nothing.
    ///
    /// In calm since a read or a change: the whole limit. Else a tenth less, since what nobody waits for is passed on when the last
    /// access that was is older than that: after a use of a handle that was read before, with crashes since then, or when a partition
    /// is over.
    fn lives_until(&self, id: SessionId) -> Option<u64> {
        let login = &self.logins[*self.by_id.get(&id)?];
        let limit = login.idle_ms.or(self.rules.idle_ms)?;
        let until = |used: &Use| {
            let from_ms = used.from_ms;
            if self.world.calm_from(from_ms) && !used.by_handle {
                return Some(from_ms + limit);
            }
            // What was used on one side of a partition reaches the other one when they are one again.
            let together_ms = self.world.whole_since()?.max(from_ms);
            let passed_on = together_ms + PASSED_ON_MS;
            // It may rely on one a tenth earlier that was passed on, and counts as older on a node that did not run.
            let disturbed = self.world.disturbed_within(from_ms.saturating_sub(limit / 10), passed_on);
            let kept = self.world.is_calm() || self.world.whole_from(from_ms);
            (kept && !disturbed).then_some(from_ms + limit - limit / 10)
        };
        login.uses.get(&id)?.iter().filter_map(until).max()
    }

    /// Whether the session may have ended by itself.
    #[must_use]
    pub fn may_have_faded(&self, id: SessionId, now_ms: u64) -> bool {
        self.rules.idle_ms.is_some() && self.lives_until(id).is_none_or(|until| now_ms + self.rules.slack_ms > until)
    }

    /// "None" was said, or an end told, at a time when the session must still live.
    pub(super) fn check_not_early(&mut self, id: SessionId, start_ms: u64, now_ms: u64, how: &str) -> Checked {
        if self.rules.idle_ms.is_none() {
            return Ok(());
        }
        if self.lives_until(id).is_some() {
            self.judge("no session ends before its time");
        }
        if self.may_have_faded(id, now_ms) {
            return Ok(());
        }
        let Some(login) = self.by_id.get(&id).map(|at| &self.logins[*at]) else { return Ok(()) };
        let born = login.births.get(&id).filter(|birth| birth.acked_ms <= start_ms && self.world.is_safe(birth.safe));
        let Some(birth) = born else { return Ok(()) };
        let known =
            birth.is_settled(start_ms) || self.world.calm_from(start_ms) || self.world.whole_from(birth.acked_ms);
        if login.may_be_over(id) || login.faded || !known {
            return Ok(());
        }
        if !self.rules.waits_for_owners() && !birth.is_settled(start_ms) {
            return Ok(());
        }
        let until = self.lives_until(id);
        let detail = format!("{id} must live until {until:?}, {how} at {now_ms}");
        violated("no session ends before its time", detail, now_ms)
    }

    /// A session that nobody had used for too long was asked for, and `served` or not.
    pub(super) fn check_not_late(&self, id: SessionId, request: &Request, served: bool, now_ms: u64) -> Checked {
        let limit = self.logins[request.login].idle_ms.or(self.rules.idle_ms);
        let (Some(limit), Some(since)) = (limit, request.quiet_since) else { return Ok(()) };
        let latest = since + limit + limit / 10 + 4 * self.rules.latency_ms + self.rules.slack_ms;
        if request.start_ms <= latest || !self.world.calm_from(since) || !self.world.quick_from(since) {
            return Ok(());
        }
        let detail = || format!("{id} last used at {since}: {request:?}");
        self.demand("no session is served after its time", !served, detail, now_ms)
    }

    /// A listener was told something.
    ///
    /// # Errors
    ///
    /// It should not have been, or not again.
    pub fn observed(&mut self, observed: &ObservedEvent) -> Checked {
        let id = match &observed.event {
            Event::Expired { id } => {
                self.count("expired");
                self.check_not_early(*id, observed.at_ms, observed.at_ms, "told to have expired")?;
                *id
            }
            Event::Invalidated { id } | Event::Renewed { id, .. } | Event::Moved { id, .. } => {
                self.count("end told");
                *id
            }
            _ => return Ok(()),
        };
        let told = self.ended.entry(id).or_insert(Ended { first_ms: observed.at_ms, told: 0 });
        told.told += 1;
        let (first_ms, number) = (told.first_ms, told.told);
        if self.world.calm_from(first_ms.saturating_sub(TOLD_MS)) {
            self.judge("listeners are told of the end of a session once");
        }
        if number > 1 {
            let since = first_ms.saturating_sub(TOLD_MS);
            if self.world.calm_from(since) {
                let detail = format!("{id} at {first_ms}, and again: {observed:?}");
                return violated("listeners are told of the end of a session once", detail, observed.at_ms);
            }
            self.count("end told again, in unrest");
        }
        Ok(())
    }

    /// When all sessions must have ended, if no client does anything more.
    #[must_use]
    pub fn all_faded_at(&self, now_ms: u64) -> Option<u64> {
        let own = self.logins.iter().filter_map(|login| login.idle_ms).max();
        let limit = self.rules.idle_ms?.max(own.unwrap_or(0));
        let sweep = (limit / 20).clamp(20, SWEEP_MS_MAX);
        Some(now_ms + limit + limit / 10 + 2 * sweep + TOLD_MS + 4 * self.rules.latency_ms)
    }

    /// All sessions have ended by themselves: `live` are those that were alive when all had settled.
    ///
    /// # Errors
    ///
    /// A listener was not told.
    pub fn faded(&mut self, live: &[SessionId], now_ms: u64) -> Checked {
        for id in live {
            self.count("checked: faded session");
            self.judge("listeners are told of the end of a session");
            if self.ended.get(id).is_none_or(|ended| ended.told == 0) {
                return violated("listeners are told of the end of a session", format!("{id}: never"), now_ms);
            }
        }
        Ok(())
    }

    /// Sessions that clients have not ended, for the last check.
    #[must_use]
    pub fn live(&self) -> Vec<SessionId> {
        let current = self.logins.iter().filter(|login| !login.over && !login.vague && !login.faded);
        current
            .filter_map(|login| {
                login.ids.last().filter(|id| login.births.get(id).is_some_and(|b| b.settled_ms.is_some()))
            })
            .copied()
            .collect()
    }
}
