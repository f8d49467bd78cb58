//! What clients were told, and what must therefore be true.
//!
//! Every request has one of three outcomes: acknowledged, refused (nothing was changed), or unknown. Each promise is
//! checked *when* it holds: always, in calm (no disturbed link, and all nodes that are up see exactly each other), or
//! when the cluster has settled.
//!
//! One tab is the only writer of its attribute and writes one value after the other, each after reading the session.
//! So a value is certainly older than another one if a chain of such reads leads from the one to the other. An
//! acknowledged write is lost if what is read is certainly older.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sessionmesh::SessionId;

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

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A new session, with this value of the tab's attribute.
    Create(u64),
    /// A look at the session.
    Read,
    /// A look, a pause of so many milliseconds, and a new value of the tab's attribute.
    Write(u64, u64),
    /// The end of the session.
    Logout,
    /// Another id for the session.
    Renew,
}

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// What a node says of sessions, and in which of its lives.
pub type Said = (usize, u32, BTreeMap<SessionId, Seen>);

/// How an acknowledged change is safe: against so many crashes since then.
#[derive(Clone, Copy, Debug)]
struct Safe {
    since_ms: u64,
    copies: usize,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    tab: usize,
    value: u64,
    saw: Option<u64>,
    start_ms: u64,
    acked: Option<(u64, Safe)>,
    /// All owners had it at a settled moment.
    settled: bool,
    /// Something else had taken its place at a settled moment.
    superseded: bool,
    /// It was under way while the session got another id.
    excused: bool,
}

#[derive(Clone, Copy, Debug)]
struct End {
    start_ms: u64,
    acked: Option<(u64, Safe)>,
    node: usize,
    life: u32,
}

/// How an id came to be: by a new session or a new id for one.
#[derive(Clone, Copy, Debug)]
struct Birth {
    acked_ms: u64,
    safe: Safe,
    /// All owners had it at a settled moment.
    settled: bool,
}

/// One session of one visitor, under all its ids.
#[derive(Clone, Debug, Default)]
struct Login {
    ids: Vec<SessionId>,
    births: BTreeMap<SessionId, Birth>,
    /// By tab and value; a tab's values grow.
    writes: BTreeMap<(usize, u64), Write>,
    /// Attempts to end an id, by a logout or a new id.
    ends: BTreeMap<SessionId, Vec<End>>,
    renewals: Vec<(u64, Option<u64>)>,
    /// It had ended at a settled moment.
    over: bool,
    /// Its present id is not known, since the answer to a renewal was lost.
    vague: bool,
    /// What was asked and answered last, for the report of a failure.
    history: VecDeque<String>,
}

/// Lines kept of each login.
const HISTORY_MAX: usize = 60;

/// Remembers and compares.
#[derive(Debug)]
pub struct Oracle {
    logins: Vec<Login>,
    crashes: Vec<(u64, usize)>,
    /// Since when the cluster is calm.
    calm_since: Option<u64>,
    trusting_since: Option<u64>,
    /// Lives of nodes that took part in a settled moment.
    veterans: BTreeSet<(usize, u32)>,
    /// How many crashes a change survives that all owners have.
    spare: usize,
    /// A commit waits for all owners, so any node sees it.
    waits_for_owners: bool,
    slack_ms: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The deadlines of commits and loads.
const DEADLINE_MS: u64 = 500;
/// After so long a calm every request must succeed.
const LONG_CALM_MS: u64 = 3_000;

/// The attribute of a tab.
#[must_use]
pub fn key(tab: usize) -> String {
    format!("tab{tab}")
}

type Checked = Result<(), Violation>;

impl Oracle {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(spare: usize, waits_for_owners: bool, tick_ms: u64) -> Self {
        Self {
            logins: Vec::new(),
            crashes: Vec::new(),
            calm_since: None,
            trusting_since: None,
            veterans: BTreeSet::new(),
            spare,
            waits_for_owners,
            slack_ms: 10 + 4 * tick_ms,
            counts: BTreeMap::new(),
        }
    }

    /// A node went down with all that it held.
    pub fn crashed(&mut self, node: usize, now_ms: u64) {
        self.crashes.push((now_ms, node));
        self.calm_since = None;
    }

    /// Whether the cluster is calm now.
    pub fn calm(&mut self, calm: bool, now_ms: u64) {
        self.calm_since = calm.then(|| self.calm_since.unwrap_or(now_ms));
    }

    /// Whether no node suspects another one.
    pub fn trusting(&mut self, trusting: bool, now_ms: u64) {
        self.trusting_since = trusting.then(|| self.trusting_since.unwrap_or(now_ms));
    }

    /// All sessions that clients were told of.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<SessionId> {
        self.logins.iter().flat_map(|login| login.ids.iter().copied()).collect()
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

    /// A request is sent.
    pub fn begin(&mut self, request: &Request) {
        let login = &mut self.logins[request.login];
        let write = |value| Write {
            tab: request.tab,
            value,
            saw: None,
            start_ms: request.start_ms,
            acked: None,
            settled: false,
            superseded: false,
            excused: false,
        };
        match (request.what, request.id) {
            (What::Create(value), _) => {
                login.writes.insert((request.tab, value), write(value));
            }
            (What::Write(value, _), _) => {
                login.writes.insert((request.tab, value), write(value));
            }
            (What::Logout | What::Renew, Some(id)) => {
                let end = End { start_ms: request.start_ms, acked: None, node: request.node, life: request.life };
                login.ends.entry(id).or_default().push(end);
                if request.what == What::Renew {
                    login.renewals.push((request.start_ms, None));
                }
            }
            _ => {}
        }
    }

    /// The answer to a request came; `None` if the node died over it.
    ///
    /// # Errors
    ///
    /// It breaks a promise.
    pub fn finish(&mut self, request: &Request, reply: Option<&Reply>, now_ms: u64) -> Checked {
        let history = &mut self.logins[request.login].history;
        if history.len() == HISTORY_MAX {
            history.pop_front();
        }
        history.push_back(line(request, reply, now_ms));
        let Some(reply) = reply else {
            self.count("lost");
            let login = &mut self.logins[request.login];
            login.vague |= matches!(request.what, What::Renew);
            Self::close_renewal(login, request, now_ms);
            return Ok(());
        };
        self.check_times(request, reply, now_ms)?;
        if let (Some((seen, _)), Some(id)) = (&reply.seen, request.id) {
            self.check_seen(request, id, seen, now_ms)?;
        }
        self.check_available(request, reply, now_ms)?;
        self.note_change(request, reply, now_ms);
        Ok(())
    }

    fn check_times(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        let allowed = match request.what {
            What::Renew => 2 * DEADLINE_MS,
            _ => DEADLINE_MS,
        };
        if reply.took_ms > allowed + self.slack_ms {
            let detail = format!("{} ms: {request:?} {reply:?}", reply.took_ms);
            return violated("no commit takes longer than its deadline", detail, now_ms);
        }
        match &reply.seen {
            Some((_, took)) if *took > DEADLINE_MS + self.slack_ms => {
                let detail = format!("{took} ms: {request:?}");
                violated("no load takes longer than its deadline", detail, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// In a long calm everything works.
    fn check_available(&mut self, request: &Request, reply: &Reply, now_ms: u64) -> Checked {
        let long = |since: Option<u64>| since.is_some_and(|since| since + LONG_CALM_MS <= request.start_ms);
        let calm = long(self.calm_since) && long(self.trusting_since);
        let what = match (&reply.seen, &reply.did) {
            (Some((Seen::CannotTell(why), _)), _) => {
                self.count("cannot tell");
                format!("cannot tell: {why}")
            }
            (_, Did::Unconfirmed(_, why)) => {
                self.count("unconfirmed");
                format!("not confirmed: {why}")
            }
            _ => return Ok(()),
        };
        if calm { violated("in calm every request succeeds", format!("{what}: {request:?}"), now_ms) } else { Ok(()) }
    }

    fn note_change(&mut self, request: &Request, reply: &Reply, now_ms: u64) {
        let name = match (request.what, &reply.did) {
            (_, Did::Refused(_)) => "refused",
            (What::Create(_), _) => "created",
            (What::Read, _) => "read",
            (What::Write(..), Did::Acked(..)) => "written",
            (What::Logout, Did::Acked(..)) => "logged out",
            (What::Renew, Did::Acked(..)) => "renewed",
            _ => "other",
        };
        self.count(name);
        let spare = self.spare;
        let safe = |copies: usize| Some((now_ms, Safe { since_ms: request.start_ms, copies: copies.min(spare) }));
        let login = &mut self.logins[request.login];
        if let (What::Create(_) | What::Renew, Did::Acked(id, copies)) = (request.what, &reply.did) {
            let safe = Safe { since_ms: request.start_ms, copies: (*copies).min(spare) };
            let birth = Birth { acked_ms: now_ms, safe, settled: false };
            login.births.insert(*id, birth);
        }
        match (request.what, &reply.did) {
            (What::Create(_) | What::Write(..), Did::Acked(id, copies)) => {
                if matches!(request.what, What::Create(_)) {
                    login.ids.push(*id);
                }
                let saw = reply.seen.as_ref().and_then(|(seen, _)| seen.value(request.tab));
                // It went to an id that was given up elsewhere, or was being given up.
                let excused = login.ids.last() != Some(id)
                    || login
                        .renewals
                        .iter()
                        .any(|(from, to)| to.is_none_or(|to| to >= request.start_ms) && *from <= now_ms);
                if let Some(write) = request.what.value().and_then(|value| login.writes.get_mut(&(request.tab, value)))
                {
                    (write.saw, write.acked, write.excused) = (saw, safe(*copies), excused);
                }
            }
            (What::Create(_), Did::Unconfirmed(id, _)) => login.ids.push(*id),
            (What::Write(..), Did::Unconfirmed(..)) => {
                if let Some(write) = request.what.value().and_then(|value| login.writes.get_mut(&(request.tab, value)))
                {
                    write.saw = reply.seen.as_ref().and_then(|(seen, _)| seen.value(request.tab));
                }
            }
            (What::Logout | What::Renew, did) => {
                let mine = |end: &&mut End| end.start_ms == request.start_ms && end.node == request.node;
                let ends = request.id.and_then(|id| login.ends.get_mut(&id));
                if let (Some(end), Did::Acked(_, copies)) = (ends.and_then(|ends| ends.iter_mut().find(mine)), did) {
                    end.acked = safe(*copies);
                }
                if let (What::Renew, Did::Acked(id, _) | Did::Unconfirmed(id, _)) = (request.what, did)
                    && !login.ids.contains(id)
                {
                    login.ids.push(*id);
                    login.leave_behind(reply);
                }
            }
            _ => {}
        }
        Self::close_renewal(login, request, now_ms);
    }

    fn close_renewal(login: &mut Login, request: &Request, now_ms: u64) {
        if request.what == What::Renew {
            for (_, to) in login.renewals.iter_mut().filter(|(from, _)| *from == request.start_ms) {
                *to = Some(now_ms);
            }
            // What was under way meanwhile may have gone to either id.
            for write in login.writes.values_mut().filter(|w| !w.settled) {
                let ended = write.acked.map_or(u64::MAX, |(at, _)| at);
                write.excused |= ended >= request.start_ms;
            }
        }
    }

    fn is_safe(&self, safe: Safe) -> bool {
        let crashed: BTreeSet<usize> =
            self.crashes.iter().filter(|(at, _)| *at >= safe.since_ms).map(|(_, node)| *node).collect();
        crashed.len() <= safe.copies
    }

    /// Whether it was calm from `since_ms` on, until now.
    fn calm_from(&self, since_ms: u64) -> bool {
        self.calm_since.is_some_and(|calm| calm <= since_ms)
    }

    fn check_seen(&mut self, request: &Request, id: SessionId, seen: &Seen, now_ms: u64) -> Checked {
        let login = &self.logins[request.login];
        let start = request.start_ms;
        match seen {
            Seen::CannotTell(_) => Ok(()),
            Seen::Nothing => {
                if login.vague || login.ends.contains_key(&id) {
                    return Ok(());
                }
                let Some(birth) = login.births.get(&id) else { return Ok(()) };
                if birth.acked_ms > start || !self.is_safe(birth.safe) {
                    return Ok(());
                }
                let detail = || format!("{id} of login {}: {request:?}", request.login);
                if birth.settled && self.veterans.contains(&(request.node, request.life)) {
                    return violated("\"none\" is never said of a session that all owners held", detail(), now_ms);
                }
                if self.waits_for_owners && self.calm_from(start) {
                    return violated("in calm, \"none\" is never said of an acknowledged session", detail(), now_ms);
                }
                Ok(())
            }
            Seen::Session(values) => {
                if login.over {
                    let detail = format!("{id}: {request:?}");
                    return violated("an ended session never comes back", detail, now_ms);
                }
                for end in login.ends.get(&id).into_iter().flatten() {
                    let Some((acked, safe)) = end.acked else { continue };
                    if acked > start || !self.is_safe(safe) {
                        continue;
                    }
                    let detail = || format!("{id} ended {end:?}, served {request:?}");
                    // A late save on that node may have made a new copy of it, which meets the end once it is heard.
                    let late = |w: &Write| w.start_ms <= acked && w.acked.is_none_or(|(at, _)| at >= end.start_ms);
                    let late = login.writes.values().any(late);
                    if (end.node, end.life) == (request.node, request.life) && !late {
                        return violated("a node never serves a session that it ended", detail(), now_ms);
                    }
                    if self.waits_for_owners && self.calm_from(start) {
                        return violated("in calm, an ended session is served nowhere", detail(), now_ms);
                    }
                }
                // Who was cut off knows that it missed something, so in calm also what was written without it is seen.
                let visible = |write: &Write| write.settled || (self.waits_for_owners && self.calm_from(start));
                self.check_values(request.login, values, start, now_ms, visible, &format!("{id} {request:?}"))
            }
        }
    }

    /// Nothing in `values` is invented, or certainly older than an acknowledged write that must be visible.
    fn check_values(
        &self,
        login: usize,
        values: &BTreeMap<String, u64>,
        before_ms: u64,
        now_ms: u64,
        visible: impl Fn(&Write) -> bool,
        context: &str,
    ) -> Checked {
        let login = &self.logins[login];
        for tab in 0..=login.writes.keys().last().map_or(0, |(tab, _)| *tab) {
            let found = values.get(&key(tab)).copied();
            if let Some(found) = found {
                let Some(write) = login.writes.get(&(tab, found)) else {
                    return violated("no value is invented", format!("{tab} {found}: {context}"), now_ms);
                };
                if write.superseded {
                    let detail = format!("tab {tab} is {found} again: {write:?}: {context}");
                    return violated("what was overwritten when all had settled never comes back", detail, now_ms);
                }
            }
            // Only a later value can have been written over what was found.
            let later = login.writes.range((tab, found.map_or(0, |found| found + 1))..=(tab, u64::MAX));
            for (_, write) in later.filter(|(_, w)| !w.excused && !w.superseded && visible(w)) {
                let Some((acked, safe)) = write.acked else { continue };
                if acked <= before_ms && self.is_safe(safe) && is_older(found, write, &login.writes) {
                    let detail = format!("tab {tab} is {found:?}, but was {write:?}; now {context}");
                    return violated("an acknowledged write is never lost", detail, now_ms);
                }
            }
        }
        Ok(())
    }

    /// The cluster has settled, and no request is under way: what each node says of each session.
    ///
    /// # Errors
    ///
    /// It breaks a promise.
    pub fn settled(&mut self, said: &[Said], now_ms: u64) -> Checked {
        for at in 0..self.logins.len() {
            for id in self.logins[at].ids.clone() {
                let mut all = said.iter().filter_map(|(_, _, seen)| seen.get(&id));
                let Some(first) = all.next() else { continue };
                if let Seen::CannotTell(why) = first {
                    return violated("when all has settled, every node can tell", format!("{id}: {why}"), now_ms);
                }
                if !all.all(|other| other == first) {
                    let said: Vec<_> = said.iter().map(|(node, _, seen)| (node, &seen[&id])).collect();
                    return violated("when all has settled, all nodes say the same", format!("{id}: {said:?}"), now_ms);
                }
                self.settle_one(at, id, first, now_ms)?;
            }
        }
        self.veterans = said.iter().map(|(node, life, _)| (*node, *life)).collect();
        self.crashes.clear();
        Ok(())
    }

    fn settle_one(&mut self, at: usize, id: SessionId, seen: &Seen, now_ms: u64) -> Checked {
        let login = &self.logins[at];
        let last = login.ids.last() == Some(&id);
        let safely_ended = login
            .ends
            .get(&id)
            .is_some_and(|ends| ends.iter().any(|end| end.acked.is_some_and(|(_, s)| self.is_safe(s))));
        match seen {
            Seen::Session(values) => {
                if safely_ended || login.over {
                    let detail = format!("{id} of login {at}: {:?}", login.ends.get(&id));
                    return violated("an ended session stays ended", detail, now_ms);
                }
                if !last {
                    // The end of an earlier id was never confirmed, and is lost.
                    self.logins[at].vague = true;
                    self.logins[at].ends.remove(&id);
                    return Ok(());
                }
                if !login.vague {
                    self.check_values(at, values, u64::MAX, now_ms, |_| true, &format!("{id} when all had settled"))?;
                }
                let safe = Safe { since_ms: now_ms, copies: self.spare };
                let login = &mut self.logins[at];
                login.births.insert(id, Birth { acked_ms: now_ms, safe, settled: true });
                login.ends.remove(&id);
                for write in login.writes.values_mut() {
                    let stays = values.get(&key(write.tab)) == Some(&write.value);
                    write.superseded |= !stays && !login.vague;
                    write.settled = stays;
                    if stays {
                        write.acked = Some((now_ms, safe));
                    }
                }
            }
            Seen::Nothing if last => {
                let safe = login.births.get(&id).is_some_and(|birth| self.is_safe(birth.safe));
                if safe && !login.over && !login.vague && !login.ends.contains_key(&id) {
                    return violated("an acknowledged session is never lost", format!("{id} of login {at}"), now_ms);
                }
                self.logins[at].over |= !login.vague;
            }
            Seen::Nothing | Seen::CannotTell(_) => {}
        }
        Ok(())
    }

    /// What is known of the session with this short hash, for the report of a failure.
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

impl Login {
    /// What a node wrote while it was cut off from the one that made the new id stays with the old one, and ends with it.
    fn leave_behind(&mut self, renewed: &Reply) {
        let Some((seen, _)) = &renewed.seen else { return };
        let writes = self.writes.clone();
        for write in self.writes.values_mut().filter(|w| !w.superseded) {
            write.excused |= is_older(seen.value(write.tab), write, &writes);
        }
    }
}

impl What {
    /// The value that is written.
    #[must_use]
    pub fn value(self) -> Option<u64> {
        match self {
            Self::Create(value) | Self::Write(value, _) => Some(value),
            _ => None,
        }
    }
}

impl Seen {
    fn value(&self, tab: usize) -> Option<u64> {
        match self {
            Self::Session(values) => values.get(&key(tab)).copied(),
            _ => None,
        }
    }
}

/// Whether `found` is certainly older than `write`.
fn is_older(found: Option<u64>, write: &Write, writes: &BTreeMap<(usize, u64), Write>) -> bool {
    let Some(found) = found else { return true };
    if found == write.value {
        return false;
    }
    let mut saw = write.saw;
    while let Some(value) = saw {
        if value == found {
            return true;
        }
        saw = writes.get(&(write.tab, value)).and_then(|write| write.saw);
    }
    false
}

fn line(request: &Request, reply: Option<&Reply>, now_ms: u64) -> String {
    let Request { login, tab, what, id, node, life, start_ms } = request;
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    let said = reply.map_or_else(
        || "lost".to_owned(),
        |reply| {
            let seen = match &reply.seen {
                Some((Seen::Session(values), _)) => format!("{:?}", values.values().collect::<Vec<_>>()),
                Some((other, _)) => format!("{other:?}"),
                None => String::new(),
            };
            format!("{seen} {:?}", reply.did)
        },
    );
    format!("{start_ms}..{now_ms} login {login} tab {tab} n{node}/{life} {what:?} {id}: {said}")
}

fn violated(promise: &'static str, detail: String, at_ms: u64) -> Checked {
    Err(Violation { promise, detail, at_ms })
}
