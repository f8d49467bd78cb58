//! What visitors noticed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a visitor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// `POST /login`
    LogIn,
    /// The same of somebody who is logged in, which gives the session another id.
    Renew,
    /// `GET /session`, which counts a visit.
    Visit,
    /// `POST /logout`
    LogOut,
}

/// Something that a visitor would have noticed.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// The request failed: no answer, or a 5xx.
    Failed(Step, String),
    /// The request failed, and was under way when a node was killed.
    Interrupted(Step, String),
    /// A visitor who is logged in is told to log in, or is taken for somebody else.
    LostLogin(String),
    /// The count of visits is not what it must be.
    LostCount(String),
    /// A login left the session its id.
    SameId(String),
    /// A session that was logged out is served.
    Revived(String),
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests, by what was asked for.
    pub requests: BTreeMap<Step, u64>,
    /// Answers of each node.
    pub served_by: BTreeMap<String, u64>,
    /// All that went wrong.
    pub mishaps: Vec<Mishap>,
    /// The longest that a request took.
    pub slowest: Duration,
    /// Visits that were counted once more than they were answered, since the request was under way when a node died.
    pub counted_twice: u64,
}

impl Tally {
    /// The requests that failed because they were under way when a node was killed.
    pub fn interrupted(&self) -> impl Iterator<Item = (Step, &str)> {
        self.mishaps.iter().filter_map(|mishap| match mishap {
            Mishap::Interrupted(step, why) => Some((*step, why.as_str())),
            _ => None,
        })
    }

    /// All else that went wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<&Mishap> {
        self.mishaps.iter().filter(|mishap| !matches!(mishap, Mishap::Interrupted(..))).collect()
    }

    /// Adds what another visitor noticed.
    pub fn add(&mut self, other: Self) {
        for (step, count) in other.requests {
            *self.requests.entry(step).or_default() += count;
        }
        for (node, count) in other.served_by {
            *self.served_by.entry(node).or_default() += count;
        }
        self.mishaps.extend(other.mishaps);
        self.slowest = self.slowest.max(other.slowest);
        self.counted_twice += other.counted_twice;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.requests.values().sum();
        let (faults, interrupted) = (self.faults().len(), self.interrupted().count());
        let Self { requests, served_by, slowest, counted_twice, .. } = self;
        write!(f, "{all} requests {requests:?}, served by {served_by:?}, slowest {slowest:?}; ")?;
        write!(f, "{faults} faults, {interrupted} interrupted, {counted_twice} counted twice")
    }
}
