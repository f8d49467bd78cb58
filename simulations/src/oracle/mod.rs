//! What clients were told, and what must therefore be true.
//!
//! Every request has one of three outcomes: acknowledged, refused (nothing was changed), or unknown. Each promise is
//! checked *when* it holds: always, in calm (no disturbed link, no frozen node, and all nodes that are up see exactly
//! each other), while the cluster is whole (nothing keeps running nodes apart; crashes, freezes and slow links are
//! allowed), or when the cluster has settled.
//!
//! - `request`: what clients ask for and are told. [`world`]: what was going on when. `login`: what clients did to one
//!   session. `noted`: how an answer adds to that.
//! - `answer`: what holds of every answer. `seen`: what a read says. `settled`: what all nodes say when nothing is
//!   under way. `users`: the sessions of a user. `repair`: the copies after a crash. `idle`: the end of sessions that nobody uses, and events.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use sessionmesh::SessionId;

use crate::scenario::Ack;

mod answer;
mod copies;
mod idle;
mod login;
mod moved;
mod noted;
mod refused;
mod repair;
mod request;
mod seen;
mod settled;
mod users;
pub mod world;

pub use copies::Others;
use idle::Ended;
pub use idle::ObservedEvent;
use login::{Login, line};
use moved::MOVED_READ_MS;
pub use request::{COUNTER, Did, Key, Padded, Reply, Request, SHARED, Said, Seen, UsersTold, What, name};
use users::Sweep;
pub use users::{USER, UsersHeld};
use world::{Look, World};

/// The promises that the oracle compares with what clients are told, in the words of a failure.
pub const PROMISES: [&str; 37] = [
    "\"none\" is never said of a session that a reachable owner holds",
    "\"none\" is never said of a session that all owners held",
    "a list holds every session of its user",
    "a list holds no session that is over, or somebody else's",
    "a login leaves its user no more sessions than allowed",
    "a node never serves a session that it ended",
    "a value beyond its limit is refused",
    "an acknowledged session is never lost",
    "an acknowledged write is never lost",
    "an ended session is not served on its side of a partition",
    "an ended session never comes back",
    "an ended session stays ended",
    "an update in one step loses none on its node",
    "both ids of a session that moved are read",
    "in calm a commit has all the copies that it can have",
    "in calm every request succeeds",
    "listeners are told of the end of a session",
    "listeners are told of the end of a session once",
    "no commit takes longer than its deadline",
    "no commit tells of a copy that nobody has",
    "no load takes longer than its deadline",
    "no session ends before its time",
    "no session is served after its time",
    "no value is invented",
    "the copies of a session are in more than one zone",
    "what was given up is not renewed again",
    "what was overwritten when all had settled never comes back",
    "what was refused is never shown",
    "when all has settled, all nodes say the same",
    "when all has settled, every node can tell",
    "while whole, \"none\" is never said of an acknowledged session",
    "while whole, a node shows what was written on it",
    "while whole, an ended session is served nowhere",
    "while whole, an owner never shows less than before",
    "who ends all sessions of a user ends each of them",
    "who ends the other sessions of a user keeps this one",
    "who is ready holds what it owns",
];

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

/// What the oracle must know of the scenario.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many crashes a change survives that all owners have.
    pub spare: usize,
    /// What a commit waits for.
    pub ack: Ack,
    /// Rounding of times.
    pub slack_ms: u64,
    /// How long a message takes at most.
    pub latency_ms: u64,
    /// After so long without an access a session ends, unless it has a limit of its own.
    pub idle_ms: Option<u64>,
    /// A user may have so many sessions; 0 for any number.
    pub sessions_per_user: usize,
}

impl Rules {
    /// A commit waits for all owners, so any node sees it.
    pub(super) fn waits_for_owners(&self) -> bool {
        self.ack == Ack::Owners
    }

    /// A commit waits for so many copies, if they can be had.
    pub(super) fn copies_wanted(&self) -> usize {
        match self.ack {
            Ack::Owners => usize::MAX,
            Ack::Copies(copies) => usize::from(copies),
            Ack::Local => 0,
        }
    }
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
    /// Attempts to end sessions of a user, under way.
    sweeps: Vec<Sweep>,
    sweeps_begun: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// How often each promise was compared with what happened.
    judged: RefCell<BTreeMap<&'static str, u64>>,
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
            sweeps: Vec::new(),
            sweeps_begun: 0,
            counts: BTreeMap::new(),
            judged: RefCell::default(),
        }
    }

    /// A node went down with all that it held.
    pub fn crashed(&mut self, node: usize, now_ms: u64) {
        self.world.crashed(node, now_ms);
    }

    /// A node has left; so many others that it saw take requests.
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
        self.login_of(Login::default())
    }

    /// Begins a login of `user`, whose session may have an idle limit of its own.
    pub fn login_as_user(&mut self, user: Option<usize>, idle_ms: Option<u64>) -> usize {
        self.login_of(Login { user, idle_ms, ..Login::default() })
    }

    /// Begins a login whose requests use a record store.
    pub fn login_with_records(&mut self) -> usize {
        self.login_of(Login { is_record: true, ..Login::default() })
    }

    fn login_of(&mut self, login: Login) -> usize {
        self.logins.push(login);
        self.logins.len() - 1
    }

    /// The present id of a login, as far as clients know.
    #[must_use]
    pub fn current(&self, login: usize) -> Option<SessionId> {
        self.logins[login].ids.last().copied()
    }

    /// Whose a login is, and the idle limit of its session, if it has one of its own.
    #[must_use]
    pub fn login_as(&self, login: usize) -> (Option<usize>, Option<u64>) {
        (self.logins[login].user, self.logins[login].idle_ms)
    }

    /// The id that a login had before its session moved, if that is still read.
    #[must_use]
    pub fn moved_from(&self, login: usize, now_ms: u64) -> Option<SessionId> {
        let login = &self.logins[login];
        let read = |(_, (at, to)): &(&SessionId, &(u64, SessionId))| {
            now_ms < at + MOVED_READ_MS && login.ids.last() == Some(to)
        };
        login.moved.iter().find(read).map(|(from, _)| *from)
    }

    /// Whether its requests use a record store.
    #[must_use]
    pub fn is_record(&self, login: usize) -> bool {
        self.logins[login].is_record
    }

    /// Whether nobody knows which id of a login counts.
    #[must_use]
    pub fn is_vague(&self, login: usize) -> bool {
        self.logins[login].vague
    }

    /// Since when no request was under way for a session, under this id or, as sessions move, under any other one.
    #[must_use]
    pub fn quiet_since(&self, login: usize, id: Option<SessionId>) -> Option<u64> {
        let login = &self.logins[login];
        let known = login.under_way == 0 && id.is_some_and(|id| login.touched_ms.contains_key(&id));
        login.touched_ms.values().max().filter(|_| known).copied()
    }

    /// How often each promise was compared with what happened.
    #[must_use]
    pub fn judged(&self) -> BTreeMap<&'static str, u64> {
        self.judged.borrow().clone()
    }

    /// A request is sent.
    pub fn begin(&mut self, request: &Request) {
        self.logins[request.login].begin(request);
        self.begin_for_user(request);
    }

    /// The answer to a request came; `None` if the node died over it. `holders` are members of the answering node's view
    /// that hold the session as its owners now and were near it all the time; `others` what all other nodes hold of what was
    /// written, if that is known.
    ///
    /// # Errors
    ///
    /// It breaks a promise.
    pub fn finish(
        &mut self,
        request: &Request,
        reply: Option<&Reply>,
        holders: &BTreeSet<(usize, u32)>,
        others: Option<&Others>,
        now_ms: u64,
    ) -> Checked {
        let of_user = others.map(|others| others.of_user.clone()).unwrap_or_default();
        let login = &mut self.logins[request.login];
        login.remember(line(request, reply, now_ms));
        login.under_way -= 1;
        if let Some(id) = request.id {
            login.touched_ms.insert(id, now_ms);
            if let (What::ReadMoved, Some(id)) = (request.what, login.ids.last().copied()) {
                login.touched_ms.insert(id, now_ms);
            }
        }
        let Some(reply) = reply else {
            self.count("request lost");
            let login = &mut self.logins[request.login];
            login.note_rewritten(request, None);
            if request.what.gives_id() {
                login.vague = true;
                login.close_renewal(request, now_ms);
            }
            return self.finish_for_user(request, None, &of_user, now_ms);
        };
        let decided = self.decided(request, reply, others);
        let reply = decided.as_ref().unwrap_or(reply);
        self.check_times(request, reply, now_ms)?;
        if let (Some((seen, _)), Some(id)) = (&reply.seen, request.id) {
            self.check_user(request.login, seen, now_ms)?;
            self.check_moved(request, id, seen, now_ms)?;
            if let (What::Held, Seen::Session(values)) = (request.what, seen) {
                // It may lack any write, and an end.
                self.check_held(request.login, values, now_ms)?;
            } else {
                self.check_seen(request, id, seen, holders, now_ms)?;
                self.note_seen(request, id, seen, now_ms);
            }
        }
        self.check_available(request, reply, now_ms)?;
        self.check_count(request, reply, now_ms)?;
        self.check_refused(request, reply, now_ms)?;
        self.logins[request.login].note_rewritten(request, Some(reply));
        self.note_change(request, reply, now_ms);
        self.finish_for_user(request, Some(reply), &of_user, now_ms)?;
        self.check_copies(request, reply, others, now_ms)
    }

    /// What is known of the sessions that the violation names, for the report.
    #[must_use]
    pub fn history(&self, violation: &Violation) -> String {
        let about = |login: &&Login| login.ids.iter().any(|id| violation.detail.contains(&id.to_string()));
        let lines = self.logins.iter().filter(about).flat_map(|login| &login.history);
        lines.map(|line| format!("\n  {line}")).collect()
    }

    /// This promise is compared with what happened now.
    pub fn judge(&self, promise: &'static str) {
        *self.judged.borrow_mut().entry(promise).or_default() += 1;
    }

    /// It is, and was `kept` or not.
    fn demand(&self, promise: &'static str, kept: bool, detail: impl FnOnce() -> String, at_ms: u64) -> Checked {
        self.judge(promise);
        if kept { Ok(()) } else { violated(promise, detail(), at_ms) }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

fn violated(promise: &'static str, detail: String, at_ms: u64) -> Checked {
    Err(Violation { promise, detail, at_ms })
}
