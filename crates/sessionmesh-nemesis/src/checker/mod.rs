//! What visitors were told, against what is promised. The names of promises, and their conditions, are those of
//! docs/guarantees.md.
//!
//! From outside less is known than in a simulation, so conditions are narrower here than they must be: what counts as
//! whole or as within the crash budget certainly is.

mod losses;
mod session;
mod settled;
#[cfg(test)]
mod tests;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::clock::Ms;

pub(crate) use self::losses::Losses;
pub(crate) use self::session::Session;
pub(crate) use self::world::World;

/// Success is promised so long after the cluster has come to rest.
const CALM_MS: Ms = 3_000;

pub(crate) const LOST_SESSION: &str = "an acknowledged session is never lost";
pub(crate) const LOST_WRITE: &str = "an acknowledged write is never lost";
pub(crate) const INVENTED: &str = "no value is invented; a removal is no value";
pub(crate) const CAME_BACK: &str = "what was overwritten when all had settled never comes back";
pub(crate) const NONE_HELD: &str = "\"none\" is never said of a session that all owners held";
pub(crate) const NONE_WHOLE: &str = "while whole, \"none\" is never said of an acknowledged session";
pub(crate) const STAYS_ENDED: &str = "an ended session stays ended, after any partition";
pub(crate) const NEVER_BACK: &str = "an ended session never comes back";
pub(crate) const OWN_END: &str = "a node never serves a session that it ended";
pub(crate) const SERVED_NOWHERE: &str = "while whole, an ended session is served nowhere";
pub(crate) const SUCCEEDS: &str = "in calm every request succeeds";
pub(crate) const SAME: &str = "when all has settled, every node can tell, and all say the same";
pub(crate) const SETTLES: &str = "without faults and clients the cluster settles";
pub(crate) const GOES_ON: &str = "every node starts and goes on; nothing panics";

/// What a visitor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Login,
    Write(u64),
    Read,
    Logout,
}

/// What the visitor was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It was done. `shown` is what was there before.
    Done { copies: usize, shown: Option<Shown> },
    /// There is no such session.
    None,
    /// It was certainly not done.
    Failed(String),
    /// It was done or not, now or later.
    Unknown(String),
}

/// What an answer tells of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) user: String,
    /// The attribute that every write overwrites.
    pub(crate) last: Option<u64>,
    /// The attributes that one write has for itself.
    pub(crate) numbers: BTreeSet<u64>,
}

/// A request with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// Which session.
    pub(crate) session: usize,
    pub(crate) node: usize,
    /// Which life of the node, when it was asked.
    pub(crate) life: u32,
    pub(crate) begun: Ms,
    pub(crate) ended: Ms,
    pub(crate) what: What,
    pub(crate) said: Said,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, node, life, begun, ended, what, said } = self;
        write!(f, "{begun}..{ended} session {session} n{node}/{life} {what:?}: ")?;
        match said {
            Said::Done { copies, shown: None } => write!(f, "done, {copies} copies"),
            Said::Done { copies, shown: Some(shown) } => {
                let numbers = Vec::from_iter(&shown.numbers);
                write!(f, "done, {copies} copies; shows last {:?} of {numbers:?}", shown.last)
            }
            Said::None => f.write_str("none"),
            Said::Failed(why) => write!(f, "failed: {why}"),
            Said::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) promise: &'static str,
    pub(crate) detail: String,
    /// What the visitors of that session asked and were told.
    pub(crate) history: Vec<String>,
}

/// All that visitors were told.
#[derive(Debug)]
pub(crate) struct Checker {
    pub(crate) world: World,
    pub(crate) sessions: Vec<Session>,
    pub(crate) violations: Vec<Violation>,
    /// How often each promise was compared with what happened.
    pub(crate) judged: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
}

impl Checker {
    pub(crate) const fn new(world: World) -> Self {
        Self { world, sessions: Vec::new(), violations: Vec::new(), judged: BTreeMap::new(), requests: 0 }
    }

    /// A new session, before it is asked for. Its number.
    pub(crate) fn open(&mut self, user: String) -> usize {
        self.sessions.push(Session::new(user));
        self.sessions.len() - 1
    }

    /// Says what is about to be asked.
    pub(crate) fn begin(&mut self, session: usize, what: What, node: usize, begun: Ms) {
        self.sessions[session].begin(what, node, self.world.life(node), begun);
    }

    /// Takes in an answer, and judges it.
    pub(crate) fn end(&mut self, op: &Op) {
        self.requests += 1;
        self.sessions[op.session].remember(op.to_string());
        self.judge(op);
        self.sessions[op.session].end(op);
    }

    pub(crate) fn demand(&mut self, promise: &'static str, kept: bool, session: Option<usize>, detail: String) {
        *self.judged.entry(promise).or_default() += 1;
        if kept {
            return;
        }
        let history = session.map(|session| self.sessions[session].history()).unwrap_or_default();
        self.violations.push(Violation { promise, detail, history });
    }

    fn judge(&mut self, op: &Op) {
        match (&op.said, op.what) {
            (Said::None, _) => {
                self.judge_end(op, false);
                self.judge_life(op, false);
            }
            (Said::Done { shown: Some(shown), .. }, What::Write(_) | What::Read) => {
                self.judge_end(op, true);
                self.judge_life(op, true);
                // Of a session that is over nothing else is remembered.
                if !self.sessions[op.session].over {
                    self.judge_shown(op, shown, false);
                }
            }
            (Said::Done { .. }, What::Logout) => {
                self.judge_end(op, true);
                self.judge_life(op, true);
            }
            _ => {}
        }
        // Whether a request of a session that may have ended succeeds is judged by the others.
        if self.world.is_calm(op.begun, CALM_MS) {
            let kept = !matches!(op.said, Said::Failed(_) | Said::Unknown(_));
            self.demand(SUCCEEDS, kept, Some(op.session), op.to_string());
        }
    }

    /// "None" is not said lightly.
    fn judge_life(&mut self, op: &Op, served: bool) {
        let (session, world) = (&self.sessions[op.session], &self.world);
        // A logout of its own is no reason for "none".
        let ends = session.ends.iter().filter(|end| op.what != What::Logout || end.begun != op.begun).count();
        if ends > 0 || session.given_up {
            return;
        }
        let Some(login) = &session.login else { return };
        if login.acked.is_none_or(|acked| acked > op.begun) || !world.is_safe(login) {
            return;
        }
        if login.settled && world.is_veteran(op.node, op.life) {
            self.demand(NONE_HELD, served, Some(op.session), op.to_string());
        } else if world.is_whole(login.begun) {
            self.demand(NONE_WHOLE, served, Some(op.session), op.to_string());
        }
    }

    /// What has ended is not served.
    fn judge_end(&mut self, op: &Op, served: bool) {
        let (session, world) = (&self.sessions[op.session], &self.world);
        let mut judged = Vec::new();
        if session.over {
            judged.push(NEVER_BACK);
        }
        for end in session.ends.iter().filter(|end| end.acked.is_some_and(|acked| acked <= op.begun)) {
            if session.over || !world.is_safe(end) {
                continue;
            }
            if (end.node, end.life) == (op.node, op.life) && !session.has_unknown_writes() {
                judged.push(OWN_END);
            }
            if world.is_whole(end.begun) {
                judged.push(SERVED_NOWHERE);
            }
        }
        for promise in judged {
            self.demand(promise, !served, Some(op.session), op.to_string());
        }
    }

    /// Nothing that is shown is invented, or certainly older than what must be visible.
    pub(crate) fn judge_shown(&mut self, op: &Op, shown: &Shown, all_has_settled: bool) {
        let (session, world) = (&self.sessions[op.session], &self.world);
        let attempted = |number: &u64| session.writes.get(number).is_some_and(|write| !write.refused);
        let invented = shown.user != session.user
            || shown.numbers.iter().any(|number| !attempted(number))
            || shown.last.is_some_and(|last| !attempted(&last));
        let superseded = shown.last.is_some_and(|last| session.writes.get(&last).is_some_and(|w| w.superseded));
        let mut lost = Vec::new();
        let mut compared = 0;
        for (number, write) in &session.writes {
            let change = &write.change;
            let Some(acked) = change.acked.filter(|acked| *acked <= op.begun) else { continue };
            let due = all_has_settled || change.settled || world.is_whole(change.begun.min(acked));
            if write.given_up || !due || !world.is_safe(change) {
                continue;
            }
            compared += 1;
            if !shown.numbers.contains(number) || session.is_older(shown.last, *number) {
                lost.push(*number);
            }
        }
        self.demand(INVENTED, !invented, Some(op.session), op.to_string());
        if shown.last.is_some() {
            self.demand(CAME_BACK, !superseded, Some(op.session), op.to_string());
        }
        if compared > 0 {
            let detail = || format!("the writes {lost:?} are missing, or `last` is older: {op}");
            self.demand(LOST_WRITE, lost.is_empty(), Some(op.session), detail());
        }
    }
}
