//! One visitor who comes, logs in, looks around, logs out and comes again, and checks every answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::load::Shared;
use super::{Mishap, Step, Tally, Visitor};
use crate::browser::Answer;

/// How often a visitor looks between a login and the logout.
const LOOKS: u64 = 12;

/// How often a visitor tries to log out before going away angry.
const TRIES: u32 = 3;

/// A visitor's requests, one after the other.
struct Walk {
    visitor: Visitor,
    shared: Arc<Shared>,
    pace: Interval,
    tally: Tally,
    /// The last count that was answered.
    visits: u64,
    /// So many more may have been counted: without an answer, or by a first node, before the balancer asked a second.
    doubtful: u64,
}

/// Goes on until the load is over.
pub(super) async fn walk(visitor: Visitor, shared: Arc<Shared>, pace: Duration) -> Tally {
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
    /// From a login to the logout; none if it came to a bad end.
    async fn life(&mut self) -> Option<()> {
        self.visitor.forget();
        (self.visits, self.doubtful) = (0, 0);
        let answer = self.request(Step::LogIn).await?;
        self.is_logged_in(&answer).then_some(())?;
        for look in 0..LOOKS {
            if look == LOOKS / 2 && self.shared.renewing {
                self.renew().await?;
            }
            // After a failed request the next one, as of someone who reloads the page: the login must still be there.
            if let Some(answer) = self.request(Step::Visit).await {
                self.is_logged_in(&answer).then_some(())?;
                self.is_counted(&answer);
            }
        }
        let mut tries = 0;
        while self.request(Step::LogOut).await.is_none() {
            tries += 1;
            (tries < TRIES).then_some(())?;
        }
        let answer = self.request(Step::Visit).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            self.tally.mishaps.push(Mishap::Revived(format!("{}: {answer:?}", self.visitor.user())));
        }
        Some(())
    }

    /// A second login: the session goes on under another id.
    async fn renew(&mut self) -> Option<()> {
        let before = self.visitor.session().map(str::to_owned);
        let answer = self.request(Step::Renew).await?;
        self.is_logged_in(&answer).then_some(())?;
        if self.visitor.session() == before.as_deref() {
            self.tally.mishaps.push(Mishap::SameId(format!("{}: {answer:?}", self.visitor.user())));
        }
        Some(())
    }

    /// A request in its turn; none if it failed.
    async fn request(&mut self, step: Step) -> Option<Answer> {
        self.pace.tick().await;
        let sent = Instant::now();
        let answer = match step {
            Step::LogIn | Step::Renew => self.visitor.log_in().await,
            Step::Visit => self.visitor.visit().await,
            Step::LogOut => self.visitor.log_out().await,
        };
        let answered = Instant::now();
        let under_way = self.shared.was_under_way(sent, answered);
        self.tally.slowest = self.tally.slowest.max(answered - sent);
        *self.tally.requests.entry(step).or_default() += 1;
        let why = match answer {
            Ok(answer) if !answer.status.is_server_error() => {
                if let Some(node) = answer.served_by() {
                    *self.tally.served_by.entry(node).or_default() += 1;
                }
                self.doubtful += u64::from(under_way);
                return Some(answer);
            }
            Ok(answer) => format!("{} {}", answer.status, answer.body),
            Err(error) => error,
        };
        self.doubtful += 1;
        let why = format!("{} after {:?}: {why}", self.visitor.user(), answered - sent);
        self.tally.mishaps.push(if under_way { Mishap::Interrupted(step, why) } else { Mishap::Failed(step, why) });
        None
    }

    fn is_logged_in(&mut self, answer: &Answer) -> bool {
        let user = self.visitor.user();
        let right = answer.status == StatusCode::OK && answer.json()["user"] == user;
        if !right {
            let lost = Mishap::LostLogin(format!("{user}, seen {} times: {answer:?}", self.visits));
            self.tally.mishaps.push(lost);
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
