//! The sessions of a user: what lists hold, and what ends when all of them are ended, or when there are too many.
//!
//! An attempt to end sessions of a user is a [`Sweep`]. It covers the logins that it may end; of these nothing is promised
//! until its outcome is known, and after it only what it is said to have done.

use std::collections::{BTreeMap, BTreeSet};

use sessionmesh::SessionId;

use super::login::End;
use super::world::Safe;
use super::{Checked, Did, Oracle, Reply, Request, Seen, UsersTold, What};

/// What the limit on the sessions of a user has not ended when a login returns, a task of its own ends; it lists them and ends
/// them, which takes a deadline each.
const LIMIT_TASK_MS: u64 = 2_500;
/// For so long it is remembered that one is over: longer than a login takes.
const KEPT_MS: u64 = 10_000;
/// The name of the attribute that says whose a session is.
pub const USER: &str = "user";

/// An attempt to end sessions of a user.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    number: u64,
    user: usize,
    /// The login whose session is not ended.
    but: Option<usize>,
    /// Who asked for it.
    by: (usize, usize),
    /// It is the limit at a login.
    is_limit: bool,
    /// It may go on until then; none for not answered yet.
    until_ms: Option<u64>,
}

impl Sweep {
    /// Whether it may still go on then.
    fn goes_on_at(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| until >= now_ms)
    }
}

/// What the nodes hold of the sessions of a user.
#[derive(Clone, Debug, Default)]
pub struct UsersHeld {
    /// By id, on how many other nodes it has ended.
    pub ended: BTreeMap<SessionId, usize>,
    /// Those that are alive on some node.
    pub live: BTreeSet<SessionId>,
}

impl Oracle {
    /// The sessions of the user of a login, as far as clients know them.
    #[must_use]
    pub fn ids_of_user_of(&self, login: usize) -> Vec<SessionId> {
        let Some(user) = self.logins[login].user else { return Vec::new() };
        self.logins
            .iter()
            .filter(|login| login.user == Some(user))
            .flat_map(|login| login.ids.iter().copied())
            .collect()
    }

    pub(super) fn begin_for_user(&mut self, request: &Request) {
        let Some(user) = self.logins[request.login].user else { return };
        let now_ms = request.start_ms;
        self.sweeps.retain(|sweep| sweep.goes_on_at(now_ms.saturating_sub(KEPT_MS)));
        match request.what {
            What::Create(_) => {
                // It may be ended by what is under way.
                let under_way = self
                    .sweeps
                    .iter()
                    .filter(|sweep| sweep.user == user && !sweep.is_limit && sweep.goes_on_at(now_ms));
                let numbers: Vec<u64> = under_way.map(|sweep| sweep.number).collect();
                self.logins[request.login].sweeps.extend(numbers);
                self.sweep(user, Some(request.login), true, request);
                self.cover_by_limits(user, now_ms);
            }
            What::EndAll => {
                let number = self.sweep(user, None, false, request);
                self.cover(user, None, number);
            }
            What::EndOthers => {
                let number = self.sweep(user, Some(request.login), false, request);
                // If it gets another id at this very time, it is not kept.
                let stays = self.logins[request.login].renewals.iter().all(|(_, to)| to.is_some());
                self.cover(user, stays.then_some(request.login), number);
            }
            What::Renew | What::Move => {
                let keeps =
                    |sweep: &&Sweep| sweep.but == Some(request.login) && !sweep.is_limit && sweep.goes_on_at(now_ms);
                let numbers: Vec<u64> = self.sweeps.iter().filter(keeps).map(|sweep| sweep.number).collect();
                self.logins[request.login].sweeps.extend(numbers);
            }
            _ => {}
        }
    }

    fn sweep(&mut self, user: usize, but: Option<usize>, is_limit: bool, request: &Request) -> u64 {
        self.sweeps_begun += 1;
        let (number, by) = (self.sweeps_begun, (request.login, request.tab));
        self.sweeps.push(Sweep { number, user, but, by, is_limit, until_ms: None });
        number
    }

    fn cover(&mut self, user: usize, but: Option<usize>, number: u64) {
        for (at, login) in self.logins.iter_mut().enumerate() {
            if login.user == Some(user) && Some(at) != but {
                login.sweeps.insert(number);
            }
        }
    }

    /// If the user may have more sessions than allowed, each login that is under way may end all others.
    fn cover_by_limits(&mut self, user: usize, now_ms: u64) {
        let allowed = self.rules.sessions_per_user;
        let there = self.logins.iter().filter(|login| login.user == Some(user) && !login.over).count();
        if allowed == 0 || there <= allowed {
            return;
        }
        let limits =
            self.sweeps.iter().filter(|sweep| sweep.user == user && sweep.is_limit && sweep.goes_on_at(now_ms));
        for (number, but) in limits.map(|sweep| (sweep.number, sweep.but)).collect::<Vec<_>>() {
            self.cover(user, but, number);
        }
    }

    /// The answer to a request has come, or will never.
    pub(super) fn finish_for_user(
        &mut self,
        request: &Request,
        reply: Option<&Reply>,
        held: &UsersHeld,
        now_ms: u64,
    ) -> Checked {
        let by = (request.login, request.tab);
        let sweep = self.sweeps.iter_mut().find(|sweep| sweep.by == by && sweep.until_ms.is_none());
        let number = sweep.map(|sweep| {
            // A task may go on that nobody waits for.
            let goes_on = reply.is_none_or(|reply| sweep.is_limit && reply.took_ms >= super::answer::DEADLINE_MS);
            sweep.until_ms = Some(if goes_on { now_ms + LIMIT_TASK_MS } else { now_ms });
            sweep.number
        });
        let Some(reply) = reply else { return Ok(()) };
        if let What::Create(_) = request.what {
            if let (Did::Refused(_), Some(number)) = (&reply.did, number) {
                self.uncover(number);
            }
            return self.check_user_limit(request, reply, held, now_ms);
        }
        match (&reply.users, number) {
            (None, Some(number)) => self.uncover(number),
            (Some(UsersTold::CannotTell { ended: 0, .. }), Some(number)) => {
                self.count("no user's sessions ended");
                self.uncover(number);
            }
            (Some(UsersTold::CannotTell { .. }), _) => self.count("a user's sessions not told"),
            (Some(UsersTold::List(listed)), _) => {
                self.count("a user's sessions listed");
                return self.check_list(request, listed, now_ms);
            }
            (Some(UsersTold::Ended { unconfirmed }), Some(number)) => {
                self.count("a user's sessions ended");
                return self.swept(request, number, unconfirmed, held, now_ms);
            }
            _ => {}
        }
        Ok(())
    }

    /// It has ended nothing.
    fn uncover(&mut self, number: u64) {
        for login in &mut self.logins {
            login.sweeps.remove(&number);
        }
        self.sweeps.retain(|sweep| sweep.number != number);
    }

    /// All sessions of a user were ended, but for those whose end is unconfirmed.
    fn swept(
        &mut self,
        request: &Request,
        number: u64,
        unconfirmed: &[SessionId],
        held: &UsersHeld,
        now_ms: u64,
    ) -> Checked {
        let start = request.start_ms;
        let calm = self.rules.waits_for_owners() && self.world.calm_from(start) && self.world.trusting_from(start);
        let kept = (request.what == What::EndOthers).then_some(request.login);
        for at in 0..self.logins.len() {
            let login = &self.logins[at];
            if !login.sweeps.contains(&number) || Some(at) == kept || login.vague {
                continue;
            }
            let first = login.ids.first().and_then(|id| login.births.get(id));
            let logged_in = first.is_some_and(|birth| birth.acked_ms <= start);
            // What becomes of a renewal that is not answered yet is not known.
            let renewed = login.renewals.iter().any(|(_, to)| to.is_none());
            if !logged_in || renewed || login.ids.iter().any(|id| unconfirmed.contains(id)) {
                continue;
            }
            let Some(id) = login.ids.last().copied() else { continue };
            let lost = login.births.get(&id).is_none_or(|birth| !self.world.is_safe(birth.safe));
            // One that is past its limit is nobody's any more, though it may not have ended yet.
            if calm && !lost && !self.may_have_faded(id, start) {
                let detail = || format!("{id} of login {at}: {request:?}");
                let over = !held.live.contains(&id);
                self.demand("who ends all sessions of a user ends each of them", over, detail, now_ms)?;
            }
            if !self.rules.waits_for_owners() || !self.finds_all(at, id, request) {
                continue;
            }
            let copies = held.ended.get(&id).copied().unwrap_or(0).min(self.rules.spare);
            let acked = Some((now_ms, Safe { since_ms: start, copies }));
            let end = End { start_ms: start, acked, node: request.node, life: request.life };
            self.logins[at].ends.entry(id).or_default().push(end);
        }
        let Some((at, id)) = kept.and_then(|at| Some((at, request.id?))) else { return Ok(()) };
        let login = &self.logins[at];
        let birth = login.births.get(&id).filter(|birth| birth.acked_ms <= start && self.world.is_safe(birth.safe));
        if birth.is_none() || login.may_be_over(id) || self.may_have_faded(id, now_ms) {
            return Ok(());
        }
        let detail = || format!("{id} of login {at}: {request:?}");
        let there = held.live.contains(&id);
        self.demand("who ends the other sessions of a user keeps this one", there, detail, now_ms)
    }

    /// Whether a node that looks for the sessions of a user must find this one, or say that it cannot tell.
    fn finds_all(&self, login: usize, id: SessionId, request: &Request) -> bool {
        let start = request.start_ms;
        let Some(birth) = self.logins[login].births.get(&id) else { return false };
        if birth.acked_ms > start || !self.world.is_safe(birth.safe) || !self.rules.waits_for_owners() {
            return false;
        }
        let known = birth.is_settled(start) && self.veterans.contains(&(request.node, request.life));
        known || self.world.calm_from(start) || self.world.whole_from(birth.acked_ms)
    }

    fn check_list(&self, request: &Request, listed: &[SessionId], now_ms: u64) -> Checked {
        let user = self.logins[request.login].user;
        for (at, login) in self.logins.iter().enumerate().filter(|(_, login)| login.user == user) {
            let Some(id) = login.ids.last().copied() else { continue };
            let renewed = login.renewals.iter().any(|(_, to)| to.is_none_or(|to| to >= request.start_ms));
            let gone = login.may_be_over(id) || self.may_have_faded(id, now_ms);
            if renewed || gone || !self.finds_all(at, id, request) {
                continue;
            }
            let detail = || format!("{id} of login {at} is not in {listed:?}: {request:?}");
            self.demand("a list holds every session of its user", listed.contains(&id), detail, now_ms)?;
        }
        let promise = "a list holds no session that is over, or somebody else's";
        for id in listed {
            let Some(at) = self.by_id.get(id).copied() else { continue };
            let login = &self.logins[at];
            let detail = || format!("{id} of login {at} is in {listed:?}: {request:?}");
            self.demand(promise, login.user == user && !login.over, detail, now_ms)?;
            let start = request.start_ms;
            for end in login.ends.get(id).into_iter().flatten() {
                let Some((acked, safe)) = end.acked else { continue };
                let known = self.world.calm_from(start) || self.world.whole_from(end.start_ms);
                if acked <= start && self.world.is_safe(safe) && self.rules.waits_for_owners() && known {
                    self.demand(promise, false, || format!("{end:?}: {}", detail()), now_ms)?;
                }
            }
        }
        Ok(())
    }

    /// When a login returns, its user has no more sessions than allowed.
    fn check_user_limit(&self, request: &Request, reply: &Reply, held: &UsersHeld, now_ms: u64) -> Checked {
        let (allowed, start) = (self.rules.sessions_per_user, request.start_ms);
        let user = self.logins[request.login].user;
        let Did::Acked(..) = reply.did else { return Ok(()) };
        // What another one is ending is not this one's work, and may not have arrived everywhere.
        let others = |sweep: &Sweep| Some(sweep.user) == user && sweep.by.0 != request.login;
        let alone = !self.sweeps.iter().any(|sweep| others(sweep) && sweep.goes_on_at(start));
        let in_time = reply.took_ms < super::answer::DEADLINE_MS;
        let calm = self.world.calm_from(start) && self.world.trusting_from(start);
        if allowed == 0
            || user.is_none()
            || !alone
            || !in_time
            || !calm
            || !self.rules.waits_for_owners()
            || self.is_blind()
        {
            return Ok(());
        }
        // Nor is what its visitor is ending himself, or what is past its limit, of which nodes may think differently for a moment.
        let is_ending = |id: &&SessionId| {
            let login = self.by_id.get(id).map(|at| &self.logins[*at]);
            login.and_then(|login| login.ends.get(id)).is_some_and(|ends| ends.iter().any(|end| end.acked.is_none()))
        };
        let live = held.live.iter().filter(|id| !is_ending(id) && !self.may_have_faded(**id, now_ms)).count();
        let detail = || format!("{:?} are alive, and {allowed} allowed: {request:?}", held.live);
        self.demand("a login leaves its user no more sessions than allowed", live <= allowed, detail, now_ms)
    }

    /// Sweeps that are over have done what they could.
    pub(super) fn forget_sweeps(&mut self, login: usize, now_ms: u64) {
        let under_way = self.sweeps.iter().filter(|sweep| sweep.goes_on_at(now_ms));
        let under_way: BTreeSet<u64> = under_way.map(|sweep| sweep.number).collect();
        self.logins[login].sweeps.retain(|number| under_way.contains(number));
    }

    /// A session that shows whose it is shows the right one.
    pub(super) fn check_user(&self, login: usize, seen: &Seen, now_ms: u64) -> Checked {
        let Seen::Session(values) = seen else { return Ok(()) };
        let Some(found) = values.get(USER) else { return Ok(()) };
        let user = self.logins[login].user;
        let detail = || format!("login {login} is of user {user:?}, not of {found}");
        self.demand("no value is invented", user.is_some_and(|user| user as u64 == *found), detail, now_ms)
    }
}
