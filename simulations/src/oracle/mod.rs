//! What clients were told, and what must therefore be true.
//!
//! Every request has one of three outcomes: acknowledged, refused (nothing was changed), or unknown. Each promise is
//! checked *when* it holds: always, in calm (no disturbed link, no frozen node, and all nodes that are up see exactly
//! each other), while the cluster is whole (nothing keeps running nodes apart; crashes, freezes and slow links are
//! allowed), or when the cluster has settled.
//!
//! - [`world`]: what was going on when. `login`: what clients did to one session.
//! - `seen`: what a read says. `settled`: what all nodes say when nothing is under way. `idle`: the end of sessions that
//!   nobody uses, and events.

use std::collections::{BTreeMap, BTreeSet};

use sessionmesh::SessionId;

mod idle;
mod login;
mod seen;
mod settled;
pub mod world;

use idle::Ended;
pub use idle::ObservedEvent;
use login::{Birth, End, Login, Sighting, line};
use world::{Look, Ready, Safe, World};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: &'static str,
    /// How.
    pub detail: String,
    /// When, in simulated milliseconds.
    pub at_ms: u64,
}

/// An attribute: the number of the tab that alone writes it, or [`SHARED`].
pub type Key = usize;
/// The attribute that all tabs write.
pub const SHARED: Key = 99;
/// The name of the attribute that all tabs count up.
pub const COUNTER: &str = "counter";

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A new session, with this value of the tab's attribute.
    Create(u64),
    /// A look at the session.
    Read,
    /// A look, a pause of so many milliseconds, and a new value of the tab's attribute.
    Write(u64, u64),
    /// A look, and a new value of the shared attribute.
    Share(u64),
    /// One more, atomically.
    Count,
    /// A look, and the removal of the tab's attribute, under this number.
    Remove(u64),
    /// The end of the session.
    Logout,
    /// Another id for the session.
    Renew,
}

impl What {
    /// The attribute that is written by this tab, the number of the write, and whether it is a removal.
    #[must_use]
    pub fn write(self, tab: usize) -> Option<(Key, u64, bool)> {
        match self {
            Self::Create(value) | Self::Write(value, _) => Some((tab, value, false)),
            Self::Share(value) => Some((SHARED, value, false)),
            Self::Remove(value) => Some((tab, value, true)),
            _ => None,
        }
    }
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of the login.
    pub login: usize,
    /// Who writes.
    pub tab: usize,
    /// What is asked for.
    pub what: What,
    /// Of which session; none for a new one.
    pub id: Option<SessionId>,
    /// The node that serves it.
    pub node: usize,
    /// The life of that node.
    pub life: u32,
    /// When it was sent.
    pub start_ms: u64,
    /// Members of that node's view that held the session as its owners, alive, when it was sent: node and life.
    pub holders: BTreeSet<(usize, u32)>,
    /// Since when the session was certainly not used; `None` if another request is under way.
    pub quiet_since: Option<u64>,
}

/// What a load said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// "Cannot tell."
    CannotTell(String),
    /// There is no such session.
    Nothing,
    /// The session, with its attributes.
    Session(BTreeMap<String, u64>),
}

/// What became of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// None was asked for, or the load left nothing to change.
    Nothing,
    /// It was confirmed by so many other nodes, for this session.
    Acked(SessionId, usize),
    /// It was made, but not confirmed in time.
    Unconfirmed(SessionId, String),
    /// It was not made.
    Refused(String),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the load said, if there was one, and how many milliseconds it took.
    pub seen: Option<(Seen, u64)>,
    /// What became of the change.
    pub did: Did,
    /// How many milliseconds the change took.
    pub took_ms: u64,
    /// What the counter was counted up to.
    pub counted: Option<u64>,
}

/// What a node says of sessions, and in which of its lives.
pub type Said = (usize, u32, BTreeMap<SessionId, Seen>);

/// What the oracle must know of the scenario.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many crashes a change survives that all owners have.
    pub spare: usize,
    /// A commit waits for all owners, so any node sees it.
    pub waits_for_owners: bool,
    /// Rounding of times.
    pub slack_ms: u64,
    /// How long a message takes at most.
    pub latency_ms: u64,
    /// After so long without an access a session ends.
    pub idle_ms: Option<u64>,
}

/// Remembers and compares.
#[derive(Debug)]
pub struct Oracle {
    rules: Rules,
    logins: Vec<Login>,
    by_id: BTreeMap<SessionId, usize>,
    world: World,
    /// Lives of nodes that took part in a settled moment.
    veterans: BTreeSet<(usize, u32)>,
    ended: BTreeMap<SessionId, Ended>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The deadlines of commits and loads.
const DEADLINE_MS: u64 = 500;
/// After so long a calm every request must succeed.
const LONG_CALM_MS: u64 = 3_000;

/// The name of an attribute.
#[must_use]
pub fn name(key: Key) -> String {
    if key == SHARED { "shared".to_owned() } else { format!("tab{key}") }
}

type Checked = Result<(), Violation>;

impl Oracle {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            logins: Vec::new(),
            by_id: BTreeMap::new(),
            world: World::default(),
            veterans: BTreeSet::new(),
            ended: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// A node went down with all that it held.
    pub fn crashed(&mut self, node: usize, now_ms: u64) {
        self.world.crashed(node, now_ms);
    }

    /// A node has left; so many others take requests.
    pub fn left(&mut self, others: usize, now_ms: u64) {
        self.world.left(others, now_ms);
    }

    /// The cluster looks like this now.
    ///
    /// # Errors
    ///
    /// It breaks a promise.
    pub fn look(&mut self, look: &Look, now_ms: u64) -> Checked {
        self.world.look(look, now_ms);
        if look.repaired {
            self.count("repaired under load");
            self.repaired(&look.up, now_ms);
        }
        look.ready.iter().try_for_each(|ready| self.check_ready(ready, now_ms))
    }

    /// Who says that it is ready holds what was there before it came.
    fn check_ready(&mut self, ready: &Ready, now_ms: u64) -> Checked {
        let since = ready.since_ms.saturating_sub(1);
        // By now it may own more: another node has left, or died.
        if !self.world.is_calm() || !self.world.whole_from(since) || self.world.disturbed_within(since, now_ms) {
            return Ok(());
        }
        self.count("checked: ready");
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
    fn repaired(&mut self, up: &[(usize, u32)], now_ms: u64) {
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

    /// All sessions that clients were told of.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<SessionId> {
        self.logins.iter().flat_map(|login| login.ids.iter().copied()).collect()
    }

    /// How many ids requests can have made: one for each that asked for a new session or a new id.
    #[must_use]
    pub fn ids_asked_for(&self) -> usize {
        self.logins.len() + self.logins.iter().map(|login| login.renewals.len()).sum::<usize>()
    }

    /// Begins a login. Its session is created by a request.
    pub fn login(&mut self) -> usize {
        self.logins.push(Login::default());
        self.logins.len() - 1
    }

    /// The present id of a login, as far as clients know.
    #[must_use]
    pub fn current(&self, login: usize) -> Option<SessionId> {
        self.logins[login].ids.last().copied()
    }

    /// Since when no request was under way for a session.
    #[must_use]
    pub fn quiet_since(&self, login: usize, id: Option<SessionId>) -> Option<u64> {
        let login = &self.logins[login];
        id.filter(|_| login.under_way == 0).and_then(|id| login.touched_ms.get(&id)).copied()
    }

    /// A request is sent.
    pub fn begin(&mut self, request: &Request) {
        self.logins[request.login].begin(request);
    }

    /// The answer to a request came; `None` if the node died over it. `holders` are members of the answering node's view
    /// that hold the session as its owners now and were near it all the time.
    ///
    /// # Errors
    ///
    /// It breaks a promise.
    pub fn finish(
        &mut self,
        request: &Request,
        reply: Option<&Reply>,
        holders: &BTreeSet<(usize, u32)>,
        now_ms: u64,
    ) -> Checked {
        let login = &mut self.logins[request.login];
        login.remember(line(request, reply, now_ms));
        login.under_way -= 1;
        if let Some(id) = request.id {
            login.touched_ms.insert(id, now_ms);
        }
        let Some(reply) = reply else {
            self.count("request lost");
            let login = &mut self.logins[request.login];
            if request.what == What::Renew {
                login.vague = true;
                login.close_renewal(request, now_ms);
            }
            return Ok(());
        };
        self.check_times(request, reply, now_ms)?;
        if let (Some((seen, _)), Some(id)) = (&reply.seen, request.id) {
            self.check_seen(request, id, seen, holders, now_ms)?;
            self.note_seen(request, id, seen, now_ms);
        }
        self.check_available(request, reply, now_ms)?;
        self.check_count(request, reply, now_ms)?;
        self.note_change(request, reply, now_ms);
        Ok(())
    }

    fn check_times(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        if self.world.frozen_since(request.node, request.start_ms) {
            // Its clock went on while it did not.
            return Ok(());
        }
        self.count("checked: deadline");
        let allowed = match request.what {
            What::Renew => 2 * DEADLINE_MS,
            _ => DEADLINE_MS,
        };
        if reply.took_ms > allowed + self.rules.slack_ms {
            let detail = format!("{} ms: {request:?} {reply:?}", reply.took_ms);
            return violated("no commit takes longer than its deadline", detail, now_ms);
        }
        match &reply.seen {
            Some((_, took)) if *took > DEADLINE_MS + self.rules.slack_ms => {
                let detail = format!("{took} ms: {request:?}");
                violated("no load takes longer than its deadline", detail, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// In a long calm everything works.
    fn check_available(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        let since = request.start_ms.saturating_sub(LONG_CALM_MS);
        let calm = self.world.calm_from(since) && self.world.trusting_from(since) && !self.is_blind();
        let what = match (&reply.seen, &reply.did) {
            (Some((Seen::CannotTell(why), _)), _) => {
                self.count("cannot tell");
                format!("cannot tell: {why}")
            }
            (_, Did::Unconfirmed(_, why)) if !why.contains("strict") => {
                self.count("unconfirmed");
                format!("not confirmed: {why}")
            }
            _ => {
                self.count(if calm { "checked: works in calm" } else { "answered in unrest" });
                return Ok(());
            }
        };
        if calm { violated("in calm every request succeeds", format!("{what}: {request:?}"), now_ms) } else { Ok(()) }
    }

    /// More nodes died than there are copies, or half of the others: those that are left cannot tell what they held.
    fn is_blind(&self) -> bool {
        let half = (self.rules.nodes.saturating_sub(1) / 2).max(1);
        self.world.crashed_together() > self.rules.spare.min(half)
    }

    /// While all count on one owner, no number comes twice.
    fn check_count(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        let Some(number) = reply.counted else { return Ok(()) };
        let here = (request.node, request.life);
        let login = &mut self.logins[request.login];
        // Only an owner holds the session all the time.
        login.counted_elsewhere |= !request.holders.contains(&here);
        login.counted_elsewhere |= login.counted.1.is_some_and(|place| place != here) || login.ids.len() > 1;
        let (largest, _) = login.counted;
        let elsewhere = login.counted_elsewhere;
        login.counted = (largest.max(number), Some(here));
        if elsewhere {
            return Ok(());
        }
        self.count("checked: atomic update");
        if number > largest {
            return Ok(());
        }
        // Answers may overtake each other, so equality is what is wrong.
        if number == largest {
            let detail = format!("{number} twice: {request:?}");
            return violated("an update in one step loses none on its node", detail, now_ms);
        }
        Ok(())
    }

    fn note_seen(&mut self, request: &Request, id: SessionId, seen: &Seen, now_ms: u64) {
        let Seen::Session(_) = seen else { return };
        let login = &mut self.logins[request.login];
        login.used(id, request);
        // Who asks others may be told first of a write that is under way, and then by one that does not have it yet.
        let owner = request.holders.contains(&(request.node, request.life));
        for key in login.keys().into_iter().filter(|_| owner) {
            let value = seen.value(key);
            let place = (id, key, request.node, request.life);
            login.sightings.insert(place, Sighting { value, at_ms: now_ms });
        }
    }

    fn note_change(&mut self, request: &Request, reply: &Reply, now_ms: u64) {
        self.count(match (request.what, &reply.did) {
            (_, Did::Refused(_)) => "refused",
            (What::Create(_), _) => "created",
            (What::Read, _) => "read",
            (What::Write(..) | What::Share(_), Did::Acked(..)) => "written",
            (What::Remove(_), Did::Acked(..)) => "removed",
            (What::Count, Did::Acked(..)) => "counted",
            (What::Logout, Did::Acked(..)) => "logged out",
            (What::Renew, Did::Acked(..)) => "renewed",
            _ => "other",
        });
        let spare = self.rules.spare;
        let safe = |copies: usize| Safe { since_ms: request.start_ms, copies: copies.min(spare) };
        let login = &mut self.logins[request.login];
        let (id, copies) = match &reply.did {
            Did::Acked(id, copies) => (*id, Some(*copies)),
            Did::Unconfirmed(id, _) => (*id, None),
            Did::Nothing | Did::Refused(_) => {
                if request.what == What::Renew {
                    login.close_renewal(request, now_ms);
                }
                return;
            }
        };
        self.by_id.insert(id, request.login);
        login.touched_ms.insert(id, now_ms);
        if let (What::Create(_) | What::Renew, Some(copies)) = (request.what, copies) {
            login.births.insert(id, Birth { acked_ms: now_ms, safe: safe(copies), settled_ms: None });
        }
        if matches!(request.what, What::Create(_)) {
            login.ids.push(id);
            login.used(id, request);
        }
        let crossed = login.is_between_ids(id, request, now_ms);
        if let Some(write) = login.write_of(request) {
            write.made = true;
            write.saw = reply.seen.as_ref().and_then(|(seen, _)| seen.value(write.key));
            if crossed {
                write.crossed(request.start_ms);
            }
            write.acked = copies.map(|copies| (now_ms, safe(copies)));
        }
        if let (What::Logout | What::Renew, Some(copies), Some(old)) = (request.what, copies, request.id) {
            let mine = |end: &&mut End| end.start_ms == request.start_ms && end.node == request.node;
            if let Some(end) = login.ends.get_mut(&old).and_then(|ends| ends.iter_mut().find(mine)) {
                end.acked = Some((now_ms, safe(copies)));
            }
        }
        if request.what == What::Renew {
            if !login.ids.contains(&id) {
                login.ids.push(id);
                login.used(id, request);
                login.leave_behind(reply);
            }
            login.close_renewal(request, now_ms);
        }
    }

    /// What is known of the sessions that the violation names, for the report.
    #[must_use]
    pub fn history(&self, violation: &Violation) -> String {
        let about = |login: &&Login| login.ids.iter().any(|id| violation.detail.contains(&id.to_string()));
        let lines = self.logins.iter().filter(about).flat_map(|login| &login.history);
        lines.map(|line| format!("\n  {line}")).collect()
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

fn violated(promise: &'static str, detail: String, at_ms: u64) -> Checked {
    Err(Violation { promise, detail, at_ms })
}
