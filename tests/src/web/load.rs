//! Visitors who come, log in, look around, log out and come again, and check every answer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::{Answer, Visitor, eventually};
use crate::process::PATIENCE;

/// How often a visitor looks between a login and the logout.
const LOOKS: u64 = 12;

/// Something that a visitor would have noticed.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// The request failed: no answer, or a 5xx. With when it was sent and when it failed.
    Failed(Instant, Instant, String),
    /// A visitor who is logged in is told to log in, or is taken for somebody else.
    LostLogin(String),
    /// The count of visits is not what it must be.
    LostCount(String),
    /// A session that was logged out is served.
    Revived(String),
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests, by what they were.
    pub requests: BTreeMap<&'static str, u64>,
    /// Answers of each node.
    pub served_by: BTreeMap<String, u64>,
    /// All that went wrong.
    pub mishaps: Vec<Mishap>,
    /// The longest that a request took.
    pub slowest: Duration,
    /// Visits that were counted once more than they were answered, because the request was under way when a node died.
    pub counted_twice: u64,
}

impl Tally {
    /// The requests that failed, with when they were sent and when they failed.
    #[must_use]
    pub fn failed(&self) -> Vec<(Instant, Instant, &str)> {
        let failed = self.mishaps.iter().filter_map(|mishap| match mishap {
            Mishap::Failed(sent, at, why) => Some((*sent, *at, why.as_str())),
            _ => None,
        });
        failed.collect()
    }

    /// What is worse than a failed request.
    #[must_use]
    pub fn lost(&self) -> Vec<&Mishap> {
        self.mishaps.iter().filter(|mishap| !matches!(mishap, Mishap::Failed(..))).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.requests.values().sum();
        let (failed, lost) = (self.failed().len(), self.lost().len());
        let Self { requests, served_by, slowest, counted_twice, .. } = self;
        write!(f, "{all} requests {requests:?}, served by {served_by:?}, slowest {slowest:?}; ")?;
        write!(f, "{failed} failed, {lost} lost, {counted_twice} counted twice")
    }
}

/// What the visitors and the test share.
#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    lives: AtomicU64,
    killed: Mutex<Option<Instant>>,
}

impl Shared {
    fn killed(&self) -> Option<Instant> {
        *self.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    visitors: JoinSet<Tally>,
}

impl Load {
    /// Starts so many visitors, each with one connection to `to`. Between two requests each of them waits for `pace`:
    /// the load shares this machine with all nodes.
    #[must_use]
    pub fn start(to: SocketAddr, visitors: usize, pace: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let one = |number| walk(Visitor::new(to, &format!("visitor {number}")), shared.clone(), pace);
        Self { visitors: (0..visitors).map(one).collect(), shared }
    }

    /// How many visitors have logged in, looked around and logged out.
    fn lives(&self) -> u64 {
        self.shared.lives.load(Ordering::Relaxed)
    }

    /// Waits until each visitor has come and gone once more, on average.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn goes_on(&self) {
        let wanted = self.lives() + self.visitors.len() as u64;
        let come_and_gone = async || match self.lives() {
            lives if lives >= wanted => Ok(()),
            lives => Err(format!("only {lives} of {wanted} visitors have come and gone")),
        };
        eventually(PATIENCE, come_and_gone).await;
    }

    /// To be called just before a node is killed: who does not get an answer to a request that is under way then cannot
    /// know whether it was done.
    pub fn about_to_kill(&self) {
        *self.shared.killed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Ends the load.
    ///
    /// # Panics
    ///
    /// When a visitor panicked.
    pub async fn stop(self) -> Tally {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for tally in self.visitors.join_all().await {
            for (what, count) in tally.requests {
                *all.requests.entry(what).or_default() += count;
            }
            for (node, count) in tally.served_by {
                *all.served_by.entry(node).or_default() += count;
            }
            all.mishaps.extend(tally.mishaps);
            all.slowest = all.slowest.max(tally.slowest);
            all.counted_twice += tally.counted_twice;
        }
        all
    }
}

/// One visitor's requests, one after the other.
struct Walk {
    visitor: Visitor,
    shared: Arc<Shared>,
    pace: Interval,
    tally: Tally,
    /// The last count that was answered.
    visits: u64,
    /// So many more may have been counted, without a word of it or by a balancer that asked a second node.
    doubtful: u64,
}

async fn walk(visitor: Visitor, shared: Arc<Shared>, pace: Duration) -> Tally {
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut walk = Walk { visitor, shared, pace, tally: Tally::default(), visits: 0, doubtful: 0 };
    while !walk.shared.over.load(Ordering::Relaxed) {
        if walk.life().await.is_some() {
            walk.shared.lives.fetch_add(1, Ordering::Relaxed);
        }
    }
    walk.tally
}

impl Walk {
    /// From a login to the logout. None if something went wrong on the way; who is told so comes again.
    async fn life(&mut self) -> Option<()> {
        self.visitor.forget();
        (self.visits, self.doubtful) = (0, 0);
        let answer = self.request("login").await?;
        self.is_logged_in(&answer).then_some(())?;
        for _ in 0..LOOKS {
            // A failed request is sent again, as who reloads the page does: the login must still be there.
            if let Some(answer) = self.request("visit").await {
                self.is_logged_in(&answer).then_some(())?;
                self.is_counted(&answer);
            }
        }
        while self.request("logout").await.is_none() {}
        let answer = self.request("visit").await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            let mishap = Mishap::Revived(format!("{}: {answer:?}", self.visitor.user()));
            self.tally.mishaps.push(mishap);
        }
        Some(())
    }

    /// A request in its turn; none if it failed.
    async fn request(&mut self, what: &'static str) -> Option<Answer> {
        self.pace.tick().await;
        let sent = Instant::now();
        let answer = match what {
            "login" => self.visitor.log_in().await,
            "logout" => self.visitor.log_out().await,
            _ => self.visitor.visit().await,
        };
        let took = sent.elapsed();
        self.tally.slowest = self.tally.slowest.max(took);
        *self.tally.requests.entry(what).or_default() += 1;
        let under_way = self.shared.killed().is_some_and(|killed| sent <= killed && killed <= sent + took);
        let failed = match answer {
            Ok(answer) if !answer.status.is_server_error() => {
                if let Some(node) = answer.served_by() {
                    *self.tally.served_by.entry(node.to_owned()).or_default() += 1;
                }
                // The balancer may have asked a second node after the first one had done it and died.
                self.doubtful += u64::from(under_way);
                return Some(answer);
            }
            Ok(answer) => {
                format!("{what} of {} after {took:?}: {} {}", self.visitor.user(), answer.status, answer.body)
            }
            Err(error) => format!("{what} of {} after {took:?}: {error}", self.visitor.user()),
        };
        self.doubtful += 1;
        self.tally.mishaps.push(Mishap::Failed(sent, sent + took, failed));
        None
    }

    fn is_logged_in(&mut self, answer: &Answer) -> bool {
        let user = self.visitor.user();
        let right = answer.status == StatusCode::OK && answer.body["user"] == user;
        if !right {
            let mishap = Mishap::LostLogin(format!("{user}, seen {} times: {answer:?}", self.visits));
            self.tally.mishaps.push(mishap);
        }
        right
    }

    /// A visit counts once; one that may have been made without an answer, once or not at all.
    fn is_counted(&mut self, answer: &Answer) {
        let least = self.visits + 1;
        let visits = answer.visits().unwrap_or_default();
        if !(least..=least + self.doubtful).contains(&visits) {
            let (user, doubtful) = (self.visitor.user(), self.doubtful);
            let wrong = format!("{user}: {least} expected, {doubtful} more are possible: {answer:?}");
            self.tally.mishaps.push(Mishap::LostCount(wrong));
        }
        self.tally.counted_twice += visits.saturating_sub(least);
        (self.visits, self.doubtful) = (visits, 0);
    }
}
