//! Visitors: each sends one request after the other, as a balancer would route it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Method;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::RwLock;
use tokio::time::sleep;

use crate::ask::{Reply, ask, word};
use crate::checker::{Checker, Op, Said, Shown, What};
use crate::clock::{Clock, Ms};

/// The longest that a balancer waits for an answer; it waits half of it for a connection.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);
/// Before the request after one that failed.
const AGAIN: Duration = Duration::from_millis(20);
/// Between two requests.
const THINKS_MS: std::ops::Range<u64> = 10..60;
/// Sessions that one visitor leaves and comes back to.
const SHELF: usize = 8;
/// Ended sessions that one visitor remembers.
const GHOSTS: usize = 12;

/// What visitors do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Of 100 requests, those that go to any node instead of the visitor's own.
    pub(crate) roams: u32,
    /// Of 100 requests, those that are about sessions left before.
    pub(crate) returns: u32,
}

/// One request, as a visitor knows it: (begun, ended, whether it was done).
pub(crate) type Try = (Ms, Ms, bool);

/// The site, as its visitors see it.
#[derive(Debug)]
pub(crate) struct Site {
    addrs: Vec<SocketAddr>,
    pub(crate) clock: Clock,
    checker: Mutex<Checker>,
    /// Held while a request is under way, so that all visitors can be paused between two.
    gate: RwLock<()>,
    over: AtomicBool,
    tries: Mutex<Vec<Vec<Try>>>,
}

impl Site {
    pub(crate) fn new(addrs: Vec<SocketAddr>, checker: Checker, visitors: usize) -> Arc<Self> {
        let tries = Mutex::new(vec![Vec::new(); visitors]);
        let (gate, over) = (RwLock::new(()), AtomicBool::new(false));
        Arc::new(Self { addrs, clock: Clock::start(), checker: Mutex::new(checker), gate, over, tries })
    }

    pub(crate) fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no request is under way, and lets none begin until this is dropped.
    pub(crate) async fn pause(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Sends the visitors away.
    pub(crate) fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// What each visitor has tried so far.
    pub(crate) fn tries(&self) -> Vec<Vec<Try>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether any visitor had success with what was begun since then.
    pub(crate) fn has_served_since(&self, since: Ms) -> bool {
        let tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.iter().any(|tries| tries.last().is_some_and(|(begun, _, done)| *done && *begun >= since))
    }

    /// Sends one request, and has the answer judged.
    pub(crate) async fn request(&self, session: usize, what: What, node: usize) -> Op {
        let (user, cookie) = {
            let mut checker = self.checker();
            checker.begin(session, what, node, self.clock.now());
            let session = &checker.sessions[session];
            (session.user.clone(), session.cookie.clone())
        };
        let op = self.send(session, what, node, &user, cookie.as_deref()).await;
        self.checker().end(&op);
        op
    }

    /// Looks at a session on a node; the answer is not judged.
    pub(crate) async fn look(&self, session: usize, node: usize) -> Op {
        let cookie = self.checker().sessions[session].cookie.clone();
        self.send(session, What::Read, node, "", cookie.as_deref()).await
    }

    async fn send(&self, session: usize, what: What, node: usize, user: &str, cookie: Option<&str>) -> Op {
        let (method, path) = match what {
            What::Login => (Method::POST, format!("/login?user={user}")),
            What::Write(number) => (Method::POST, format!("/write?n={number}")),
            What::Read => (Method::GET, "/read".to_owned()),
            What::Logout => (Method::POST, "/logout".to_owned()),
        };
        let (begun, life) = (self.clock.now(), self.checker().world.life(node));
        let reply = ask(self.addrs[node], method, &path, cookie, ANSWERS_WITHIN).await;
        let ended = self.clock.now();
        if let Reply::Answer { status: 200, cookie: Some(cookie), .. } = &reply
            && what != What::Logout
        {
            self.checker().sessions[session].cookie = Some(cookie.clone());
        }
        Op { session, node, life, begun, ended, what, said: said(reply) }
    }
}

fn said(reply: Reply) -> Said {
    match reply {
        Reply::Answer { status: 200, body, .. } => {
            let copies = word(&body, "copies").and_then(|copies| copies.parse().ok()).unwrap_or_default();
            Said::Done { copies, shown: shown(&body) }
        }
        Reply::Answer { status: 401, .. } => Said::None,
        Reply::Answer { status, body, .. } => {
            Said::Unknown(format!("{status} {}", body.lines().next().unwrap_or_default()))
        }
        Reply::NotSent(why) => Said::Failed(why),
        Reply::Lost(why) => Said::Unknown(why),
    }
}

fn shown(body: &str) -> Option<Shown> {
    let numbers = word(body, "n").unwrap_or_default().split(',').filter_map(|number| number.parse().ok());
    Some(Shown {
        user: word(body, "user")?.to_owned(),
        last: word(body, "last").and_then(|last| last.parse().ok()),
        numbers: numbers.collect::<BTreeSet<u64>>(),
    })
}

/// One visitor.
pub(crate) struct Visitor {
    site: Arc<Site>,
    number: usize,
    habits: Habits,
    random: StdRng,
    node: usize,
    session: Option<usize>,
    /// Sessions that were left, and may be used again.
    shelf: Vec<usize>,
    /// Sessions that have ended.
    ghosts: Vec<usize>,
    logins: u64,
    written: u64,
}

impl Visitor {
    pub(crate) fn new(site: Arc<Site>, number: usize, habits: Habits, seed: u64) -> Self {
        let node = number % site.addrs.len();
        let random = StdRng::seed_from_u64(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self {
            site,
            number,
            habits,
            random,
            node,
            session: None,
            shelf: Vec::new(),
            ghosts: Vec::new(),
            logins: 0,
            written: 0,
        }
    }

    /// Visits until the site closes.
    pub(crate) async fn run(mut self) {
        while self.site.is_open() {
            let site = self.site.clone();
            let under_way = site.gate.read().await;
            let served = self.one().await;
            drop(under_way);
            let pause = if served { Duration::from_millis(self.random.random_range(THINKS_MS)) } else { AGAIN };
            sleep(pause).await;
        }
    }

    /// One request. Whether it was answered.
    async fn one(&mut self) -> bool {
        let node = match self.random.random_range(0..100) {
            roll if roll < self.habits.roams => self.random.random_range(0..self.site.addrs.len()),
            _ => self.node,
        };
        let (session, what) = self.choose();
        let op = self.site.request(session, what, node).await;
        let answered = matches!(op.said, Said::Done { .. } | Said::None);
        self.note(&op);
        if !answered && node == self.node {
            self.node = (self.node + 1) % self.site.addrs.len();
        }
        let mut tries = self.site.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries[self.number].push((op.begun, op.ended, matches!(op.said, Said::Done { .. })));
        answered
    }

    fn choose(&mut self) -> (usize, What) {
        let Some(session) = self.session else { return (self.open(), What::Login) };
        let back = self.random.random_range(0..100) < self.habits.returns;
        let left = self.shelf.len() + self.ghosts.len();
        if back && left > 0 {
            let at = self.random.random_range(0..left);
            return (*self.shelf.iter().chain(&self.ghosts).nth(at).unwrap_or(&session), What::Read);
        }
        match self.random.random_range(0..100) {
            0..52 => {
                self.written += 1;
                (session, What::Write(self.number as u64 * 1_000_000_000 + self.written))
            }
            52..92 => (session, What::Read),
            92..96 => (session, What::Logout),
            _ if self.shelf.len() >= SHELF => {
                let oldest = self.shelf.remove(0);
                (oldest, What::Logout)
            }
            _ => {
                self.shelf.push(session);
                (self.open(), What::Login)
            }
        }
    }

    fn open(&mut self) -> usize {
        self.logins += 1;
        let session = self.site.checker().open(format!("v{}-{}", self.number, self.logins));
        self.session = Some(session);
        session
    }

    /// What follows from an answer.
    fn note(&mut self, op: &Op) {
        let done = matches!(op.said, Said::Done { .. });
        let over = match op.what {
            // Of a login that was not answered the visitor has no cookie.
            What::Login => !done,
            What::Logout => !matches!(op.said, Said::Failed(_)),
            _ => op.said == Said::None,
        };
        if !over {
            // A logout of an old session that was not sent.
            if op.what == What::Logout && self.session != Some(op.session) {
                self.shelf.push(op.session);
            }
            return;
        }
        if self.session == Some(op.session) {
            self.session = None;
        }
        self.shelf.retain(|session| *session != op.session);
        if op.what == What::Logout {
            self.ghosts.push(op.session);
            if self.ghosts.len() > GHOSTS {
                self.ghosts.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Said {
        said(Reply::Answer { status, cookie: None, body: body.to_owned() })
    }

    #[test]
    fn an_answer_is_read_as_the_application_wrote_it() {
        let shown = Shown { user: "v1-2".to_owned(), last: Some(7), numbers: BTreeSet::from([5, 7]) };
        assert_eq!(answer(200, "copies=1 user=v1-2 last=7 n=7,5"), Said::Done { copies: 1, shown: Some(shown) });
        let fresh = Shown { user: "v1-2".to_owned(), ..Shown::default() };
        assert_eq!(answer(200, "user=v1-2 last= n="), Said::Done { copies: 0, shown: Some(fresh) });
        assert_eq!(answer(200, "copies=2"), Said::Done { copies: 2, shown: None });
    }

    #[test]
    fn there_are_three_outcomes_and_none() {
        assert_eq!(answer(401, "none"), Said::None);
        assert!(matches!(answer(503, "come again"), Said::Unknown(_)), "it may have been made");
        assert!(matches!(said(Reply::Lost("no answer".to_owned())), Said::Unknown(_)));
        assert!(matches!(said(Reply::NotSent("refused".to_owned())), Said::Failed(_)));
    }
}
