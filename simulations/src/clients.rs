//! Visitors: each has a session and several tabs, which send one request after the other to any node.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::{Commit, CommitError, Mesh, Session, SessionId};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Duration, Instant, sleep};

use crate::cluster::Cluster;
use crate::network::Trace;
use crate::oracle::{Did, Oracle, Reply, Request, Seen, Violation, What, key};
use crate::record::Recorder;
use crate::scenario::{Load, Mix};

#[derive(Debug)]
struct Tab {
    next_ms: u64,
    under_way: Option<(Request, oneshot::Receiver<Reply>)>,
}

#[derive(Debug)]
struct Visitor {
    node: usize,
    login: Option<usize>,
    /// The login before, which a late tab may still use.
    former: Option<usize>,
    tabs: Vec<Tab>,
}

impl Visitor {
    fn is_busy_with(&self, what: impl Fn(What) -> bool) -> bool {
        self.tabs.iter().any(|tab| tab.under_way.as_ref().is_some_and(|(request, _)| what(request.what)))
    }
}

/// All visitors of a run.
#[derive(Debug)]
pub struct Clients {
    load: Load,
    rng: StdRng,
    visitors: Vec<Visitor>,
    values: u64,
    trace: Trace,
    recorder: Recorder,
}

impl Clients {
    /// Visitors that have not come yet.
    #[must_use]
    pub fn new(load: &Load, nodes: usize, seed: u64, trace: Trace, recorder: Recorder) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0xc11e_4715);
        let visitors = (0..load.visitors)
            .map(|_| Visitor {
                node: rng.random_range(0..nodes),
                login: None,
                former: None,
                tabs: (0..load.tabs).map(|_| Tab { next_ms: 0, under_way: None }).collect(),
            })
            .collect();
        Self { load: load.clone(), rng, visitors, values: 0, trace, recorder }
    }

    /// Whether no request is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.visitors.iter().flat_map(|visitor| &visitor.tabs).all(|tab| tab.under_way.is_none())
    }

    /// Takes the answers that have come.
    ///
    /// # Errors
    ///
    /// One of them breaks a promise.
    pub fn receive(&mut self, oracle: &mut Oracle, now_ms: u64) -> Result<(), Violation> {
        for (at, visitor) in self.visitors.iter_mut().enumerate() {
            for number in 0..visitor.tabs.len() {
                let tab = &mut visitor.tabs[number];
                let Some((request, answer)) = &mut tab.under_way else { continue };
                let reply = match answer.try_recv() {
                    Ok(reply) => Some(reply),
                    Err(TryRecvError::Closed) => None,
                    Err(TryRecvError::Empty) => continue,
                };
                let request = *request;
                self.trace.note(format!("{now_ms} {at} {number} {request:?} {reply:?}").as_bytes());
                self.recorder.finish(&format!("v{at}.{number}"), reply.as_ref(), now_ms);
                tab.under_way = None;
                tab.next_ms = now_ms + self.rng.random_range(self.load.think_ms.0..=self.load.think_ms.1);
                oracle.finish(&request, reply.as_ref(), now_ms)?;
                follow(visitor, &request, reply.as_ref(), oracle.current(request.login));
            }
        }
        Ok(())
    }

    /// Sends what is due.
    pub fn send(&mut self, cluster: &Cluster, oracle: &mut Oracle, now_ms: u64) {
        let serving = cluster.serving();
        for at in 0..self.visitors.len() {
            for number in 0..self.load.tabs {
                let tab = &self.visitors[at].tabs[number];
                if tab.under_way.is_some() || tab.next_ms > now_ms {
                    continue;
                }
                let Some(node) = self.choose_node(at, &serving) else { return };
                let Some((login, what)) = self.choose_request(at, oracle) else { continue };
                let id = oracle.current(login).filter(|_| !matches!(what, What::Create(_)));
                let life = cluster.life(node);
                let request = Request { login, tab: number, what, id, node, life, start_ms: now_ms };
                self.recorder.begin(&format!("v{at}.{number}"), &request);
                oracle.begin(&request);
                let answer = cluster.ask(node, move |mesh| serve(mesh, request));
                self.visitors[at].tabs[number].under_way = Some((request, answer));
            }
        }
    }

    fn choose_node(&mut self, at: usize, serving: &[usize]) -> Option<usize> {
        let own = self.visitors[at].node;
        if serving.contains(&own) && self.rng.random_range(0..100) < self.load.sticky {
            return Some(own);
        }
        let node = *serving.choose(&mut self.rng)?;
        if !serving.contains(&own) {
            // The balancer moves the visitor for good.
            self.visitors[at].node = node;
        }
        Some(node)
    }

    fn choose_request(&mut self, at: usize, oracle: &mut Oracle) -> Option<(usize, What)> {
        self.values += 1;
        let value = self.values;
        let visitor = &mut self.visitors[at];
        let late = visitor.former.filter(|login| self.rng.random_bool(0.1) && oracle.current(*login).is_some());
        let Some(login) = late.or(visitor.login) else {
            if visitor.is_busy_with(|what| matches!(what, What::Create(_))) {
                return None;
            }
            return Some((oracle.login(), What::Create(value)));
        };
        let Mix { read, write, slow_write, logout, renew } = self.load.mix;
        let dice = self.rng.random_range(0..read + write + slow_write + logout + renew);
        let what = if dice < read {
            What::Read
        } else if dice < read + write {
            What::Write(value, 0)
        } else if dice < read + write + slow_write {
            What::Write(value, self.rng.random_range(10..1_500))
        } else if visitor.is_busy_with(|what| matches!(what, What::Logout | What::Renew)) || late.is_some() {
            What::Read
        } else if dice < read + write + slow_write + logout {
            What::Logout
        } else {
            What::Renew
        };
        if what == What::Logout {
            visitor.former = visitor.login.take();
        }
        Some((login, what))
    }
}

/// What a visitor makes of an answer.
fn follow(visitor: &mut Visitor, request: &Request, reply: Option<&Reply>, current: Option<SessionId>) {
    let did = reply.map(|reply| &reply.did);
    match (request.what, did) {
        (What::Create(_), Some(Did::Acked(..) | Did::Unconfirmed(..))) => visitor.login = Some(request.login),
        // Which id counts is not known.
        (What::Renew, None) if visitor.login == Some(request.login) => visitor.former = visitor.login.take(),
        _ => {}
    }
    // The node says that the session is gone.
    let gone = reply.is_some_and(|reply| matches!(reply.seen, Some((Seen::Nothing, _))));
    if gone && visitor.login == Some(request.login) && request.id == current {
        visitor.former = visitor.login.take();
    }
}

/// One request, on the node.
async fn serve(mesh: Mesh, request: Request) -> Reply {
    let started = Instant::now();
    let Some(id) = request.id else {
        let reply = |did, started: Instant| Reply { seen: None, did, took_ms: millis(started) };
        let session = match mesh.create().await {
            Ok(session) => session,
            Err(error) => return reply(Did::Refused(error.to_string()), started),
        };
        put(&session, request);
        let committed = session.commit().await;
        return reply(did(&session, committed), started);
    };
    let (seen, session) = look(&mesh, id, false).await;
    let seen = Some((seen, millis(started)));
    let Some(session) = session else {
        return Reply { seen, did: Did::Nothing, took_ms: 0 };
    };
    if let What::Write(_, pause_ms) = request.what {
        sleep(Duration::from_millis(pause_ms)).await;
    }
    let started = Instant::now();
    let did = match request.what {
        What::Create(_) | What::Read => Did::Nothing,
        What::Write(..) => {
            put(&session, request);
            let committed = session.commit().await;
            did(&session, committed)
        }
        What::Logout => {
            let ended = session.invalidate().await;
            did(&session, ended)
        }
        What::Renew => {
            let renewed = session.renew_id().await;
            did(&session, renewed)
        }
    };
    Reply { seen, did, took_ms: millis(started) }
}

fn put(session: &Session, request: Request) {
    if let Some(value) = request.what.value() {
        session.insert(&key(request.tab), &value).expect("a number is JSON");
    }
}

fn did(session: &Session, result: Result<Commit, CommitError>) -> Did {
    match result {
        Ok(commit) => Did::Acked(commit.id, commit.copies),
        Err(error @ (CommitError::Ended | CommitError::Unknown | CommitError::Limit(_))) => {
            Did::Refused(error.to_string())
        }
        Err(error) => Did::Unconfirmed(session.id(), error.to_string()),
    }
}

/// What a node says of a session.
async fn look(mesh: &Mesh, id: SessionId, peek: bool) -> (Seen, Option<Session>) {
    let loaded = if peek { mesh.peek(id).await } else { mesh.load(id).await };
    match loaded {
        Err(error) => (Seen::CannotTell(error.to_string()), None),
        Ok(None) => (Seen::Nothing, None),
        Ok(Some(session)) => {
            let keys = session.keys();
            let value = |key: &str| session.get::<u64>(key).expect("a number was written");
            let values = keys.iter().filter_map(|key| Some((key.to_string(), value(key)?))).collect();
            (Seen::Session(values), Some(session))
        }
    }
}

/// What a node says of all these sessions, without counting as an access.
pub async fn look_at_all(mesh: Mesh, ids: Vec<SessionId>) -> BTreeMap<SessionId, Seen> {
    let mut all = BTreeMap::new();
    for id in ids {
        all.insert(id, look(&mesh, id, true).await.0);
    }
    all
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
