//! Visitors, as many a second as wished: each comes again and again, to any node, and checks that all its notes were kept.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{Shown, State};
use crate::http_client::{Answer, ask};
use crate::node::app::account::NOTES;

/// Visitors there are at least; each does one thing after the other. With more requests there are more, so that each comes about
/// once a second.
const VISITORS_MIN: usize = 100;
/// A note that is missing for so long counts as lost. A node that was cut off shows what it holds until it meets the others again.
const SETTLED: Duration = Duration::from_secs(5);
/// A balancer would wait so long for a node, and then try the next one.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often all nodes are tried before a request counts as failed.
const ROUNDS: usize = 5;
/// Between two rounds, while the cluster says "come again".
const AGAIN: Duration = Duration::from_millis(100);

/// How many come, and what became of them.
#[derive(Debug)]
pub(crate) struct Load {
    rate: u32,
    on: AtomicBool,
    requests: AtomicU64,
    failed: AtomicU64,
    acknowledged: AtomicU64,
    lost: AtomicU64,
}

impl Load {
    /// Of so many requests a second, once they are switched on.
    pub(crate) fn new(rate: u32) -> Self {
        let zero = || AtomicU64::new(0);
        Self { rate, on: AtomicBool::new(false), requests: zero(), failed: zero(), acknowledged: zero(), lost: zero() }
    }

    /// Switches the visitors on or off.
    pub(crate) fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// For the page: requests, those that no node answered, writes that were acknowledged, and those of them that were lost.
    pub(super) fn shown(&self) -> Value {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({
            "on": self.on.load(Ordering::Relaxed),
            "rate": self.rate,
            "requests": count(&self.requests),
            "failed": count(&self.failed),
            "acknowledged": count(&self.acknowledged),
            "lost": count(&self.lost),
        })
    }
}

/// One visitor.
#[derive(Debug, Default)]
struct Visitor {
    cookie: Option<String>,
    /// The number of the latest note that was sent.
    number: u64,
    /// The latest one of each place that was acknowledged.
    noted: [u64; NOTES],
    /// Since when it is missing.
    missing: [Option<Instant>; NOTES],
}

/// Lets visitors come while they are switched on.
pub(super) async fn run(load: Arc<Load>, nodes: watch::Receiver<Vec<Shown>>) {
    let number = VISITORS_MIN.max(usize::try_from(load.rate).unwrap_or(VISITORS_MIN));
    let visitors: Arc<Mutex<Vec<Visitor>>> = Arc::new(Mutex::new((0..number).map(|_| Visitor::default()).collect()));
    let mut ticks = interval(Duration::from_secs(1) / load.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut turn = 0_usize;
    loop {
        ticks.tick().await;
        if !load.on.load(Ordering::Relaxed) {
            continue;
        }
        let next = visitors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // All are waiting for an answer.
        let Some(mut visitor) = next else { continue };
        turn += 1;
        let (load, nodes, visitors) = (load.clone(), nodes.clone(), visitors.clone());
        tokio::spawn(async move {
            visitor.come(&load, &nodes, turn).await;
            visitors.lock().unwrap_or_else(PoisonError::into_inner).insert(0, visitor);
        });
    }
}

impl Visitor {
    async fn come(&mut self, load: &Load, nodes: &watch::Receiver<Vec<Shown>>, turn: usize) {
        load.requests.fetch_add(1, Ordering::Relaxed);
        self.number += 1;
        for round in 0..ROUNDS {
            let tried = reachable(&nodes.borrow(), turn + round);
            for to in tried {
                match timeout(PATIENCE, self.ask(to)).await {
                    Ok(Ok(answer)) if matches!(answer.status, StatusCode::OK | StatusCode::UNAUTHORIZED) => {
                        return self.note(load, &answer);
                    }
                    // It may have been done all the same; the next node is asked to do it, too.
                    _ => {}
                }
            }
            sleep(AGAIN).await;
        }
        load.failed.fetch_add(1, Ordering::Relaxed);
    }

    async fn ask(&self, to: SocketAddr) -> Result<Answer, String> {
        match &self.cookie {
            Some(cookie) => ask(to, "POST", "/note", Some(cookie), Some(&json!({ "number": self.number }))).await,
            None => ask(to, "POST", "/login", None, Some(&json!({ "user": "visitor" }))).await,
        }
    }

    fn note(&mut self, load: &Load, answer: &Answer) {
        load.acknowledged.fetch_add(1, Ordering::Relaxed);
        if let Some(cookie) = answer.cookie() {
            self.cookie = Some(cookie);
        }
        match (answer.status, answer.body["notes"].as_array()) {
            (StatusCode::OK, Some(notes)) => {
                for ((noted, missing), found) in self.noted.iter_mut().zip(&mut self.missing).zip(notes) {
                    let found = found.as_u64().unwrap_or_default();
                    if found < *noted && missing.get_or_insert_with(Instant::now).elapsed() < SETTLED {
                        continue;
                    }
                    load.lost.fetch_add(u64::from(found < *noted), Ordering::Relaxed);
                    (*noted, *missing) = (found, None);
                }
            }
            // Logged in.
            (StatusCode::OK, None) => {}
            // Logged out: all is gone, and the login, too.
            _ => {
                let noted = self.noted.iter().filter(|noted| **noted > 0).count() as u64;
                load.lost.fetch_add(noted + 1, Ordering::Relaxed);
                *self = Self::default();
            }
        }
    }
}

/// Those that a balancer would try, beginning with another one each time.
fn reachable(nodes: &[Shown], turn: usize) -> Vec<SocketAddr> {
    let runs = |node: &&Shown| !matches!(node.state, State::Dead | State::Starting);
    let mut all: Vec<SocketAddr> = nodes.iter().filter(runs).map(|node| node.http).collect();
    let middle = turn.checked_rem(all.len()).unwrap_or(0);
    all.rotate_left(middle);
    all
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use tokio::time::advance;

    use super::*;

    fn answer(status: StatusCode, body: Value) -> Answer {
        Answer { status, headers: HeaderMap::new(), body }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_counts_as_lost_if_it_was_acknowledged_and_is_gone() {
        let (load, mut visitor) = (Load::new(1), Visitor { cookie: Some("a".into()), ..Visitor::default() });
        let notes = |notes: [u64; 3]| answer(StatusCode::OK, json!({ "notes": notes }));
        let mut note = |of: Answer| {
            visitor.note(&load, &of);
            load.lost.load(Ordering::Relaxed)
        };
        assert_eq!(note(notes([0, 1, 0])), 0);
        assert_eq!(note(notes([0, 1, 2])), 0);
        assert_eq!(note(notes([0, 0, 2])), 0, "the first is not to be seen,");
        advance(SETTLED / 2).await;
        assert_eq!(note(notes([0, 1, 2])), 0, "and comes back");
        assert_eq!(note(notes([0, 1, 0])), 0);
        advance(SETTLED).await;
        assert_eq!(note(notes([32, 1, 0])), 1, "the other one does not");
        assert_eq!(note(notes([32, 1, 0])), 1, "and counts once");
        assert_eq!(note(answer(StatusCode::UNAUTHORIZED, Value::Null)), 4, "two notes and the login");
        assert_eq!(load.acknowledged.load(Ordering::Relaxed), 8);
    }
}
