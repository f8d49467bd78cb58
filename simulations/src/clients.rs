//! Visitors: each has a session and several tabs, which send one request after the other to any node.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::{Commit, CommitError, Mesh, Session, SessionId};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Duration, Instant, sleep};

use crate::cluster::Cluster;
use crate::network::Trace;
use crate::oracle::{COUNTER, Did, Oracle, Reply, Request, Seen, Violation, What, name};
use crate::record::Recorder;
use crate::scenario::{Load, Mix, Scenario};

#[derive(Debug)]
struct UnderWay {
    request: Request,
    answer: oneshot::Receiver<Reply>,
}

#[derive(Debug)]
struct Tab {
    next_ms: u64,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct Visitor {
    node: usize,
    login: Option<usize>,
    /// The login before, which a late tab may still use.
    former: Option<usize>,
    tabs: Vec<Tab>,
    /// Nothing is sent before.
    absent_until_ms: u64,
}

impl Visitor {
    fn is_busy_with(&self, what: impl Fn(What) -> bool) -> bool {
        self.tabs.iter().any(|tab| tab.under_way.as_ref().is_some_and(|under_way| what(under_way.request.what)))
    }
}

/// All visitors of a run.
#[derive(Debug)]
pub struct Clients {
    load: Load,
    idle_ms: u64,
    rng: StdRng,
    visitors: Vec<Visitor>,
    /// Requests of visitors that came all at once.
    burst: Vec<UnderWay>,
    /// When such a visitor looks at its session again.
    again: Vec<(u64, usize)>,
    values: u64,
    trace: Trace,
    recorder: Recorder,
}

impl Clients {
    /// Visitors that have not come yet.
    #[must_use]
    pub fn new(scenario: &Scenario, trace: Trace, recorder: Recorder) -> Self {
        let load = scenario.load.clone();
        let mut rng = StdRng::seed_from_u64(scenario.seed ^ 0xc11e_4715);
        let visitors = (0..load.visitors)
            .map(|_| Visitor {
                node: rng.random_range(0..scenario.nodes),
                login: None,
                former: None,
                tabs: (0..load.tabs).map(|_| Tab { next_ms: 0, under_way: None }).collect(),
                absent_until_ms: 0,
            })
            .collect();
        Self {
            load,
            idle_ms: scenario.idle_ms,
            rng,
            visitors,
            burst: Vec::new(),
            again: Vec::new(),
            values: 0,
            trace,
            recorder,
        }
    }

    /// Whether no request is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let tabs = || self.visitors.iter().flat_map(|visitor| &visitor.tabs);
        self.burst.is_empty() && tabs().all(|tab| tab.under_way.is_none())
    }

    /// How many requests are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        let tabs = self.visitors.iter().flat_map(|visitor| &visitor.tabs);
        self.burst.len() + tabs.filter(|tab| tab.under_way.is_some()).count()
    }

    /// Takes the answers that have come.
    ///
    /// # Errors
    ///
    /// One of them breaks a promise.
    pub fn receive(&mut self, cluster: &Cluster, oracle: &mut Oracle, now_ms: u64) -> Result<(), Violation> {
        for (at, visitor) in self.visitors.iter_mut().enumerate() {
            for number in 0..visitor.tabs.len() {
                let tab = &mut visitor.tabs[number];
                let Some(reply) = tab.under_way.as_mut().and_then(UnderWay::reply) else { continue };
                let Some(UnderWay { request, .. }) = tab.under_way.take() else { continue };
                self.trace.note(format!("{now_ms} {at} {number} {request:?} {reply:?}").as_bytes());
                self.recorder.finish(&client(&request), reply.as_ref(), now_ms);
                tab.next_ms = now_ms + self.rng.random_range(self.load.think_ms.0..=self.load.think_ms.1);
                finish(cluster, oracle, &request, reply.as_ref(), now_ms)?;
                follow(visitor, &request, reply.as_ref(), oracle.current(request.login));
            }
        }
        for mut under_way in std::mem::take(&mut self.burst) {
            match under_way.reply() {
                None => self.burst.push(under_way),
                Some(reply) => {
                    if self.rng.random_bool(0.7) {
                        let pause = self.rng.random_range(1..2_000);
                        self.again.push((now_ms + pause, under_way.request.login));
                    }
                    self.trace.note(format!("{now_ms} {:?} {reply:?}", under_way.request).as_bytes());
                    self.recorder.finish(&client(&under_way.request), reply.as_ref(), now_ms);
                    finish(cluster, oracle, &under_way.request, reply.as_ref(), now_ms)?;
                }
            }
        }
        Ok(())
    }

    /// Many new visitors come to one node at once, and look at their sessions a few times afterwards.
    pub fn burst(&mut self, cluster: &Cluster, oracle: &mut Oracle, node: usize, sessions: u32, now_ms: u64) {
        if !cluster.serving().contains(&node) {
            return;
        }
        for _ in 0..sessions {
            self.values += 1;
            let (login, what) = (oracle.login(), What::Create(self.values));
            let under_way = self.ask(cluster, oracle, Asked { login, tab: 0, what, node }, now_ms);
            self.burst.push(under_way);
        }
    }

    /// Sends what is due.
    pub fn send(&mut self, cluster: &Cluster, oracle: &mut Oracle, now_ms: u64) {
        let serving = cluster.serving();
        for (due_ms, login) in std::mem::take(&mut self.again) {
            match serving.choose(&mut self.rng) {
                Some(&node) if due_ms <= now_ms && oracle.current(login).is_some() => {
                    let under_way = self.ask(cluster, oracle, Asked { login, tab: 0, what: What::Read, node }, now_ms);
                    self.burst.push(under_way);
                }
                _ if due_ms <= now_ms => {}
                _ => self.again.push((due_ms, login)),
            }
        }
        for at in 0..self.visitors.len() {
            for number in 0..self.load.tabs {
                let visitor = &self.visitors[at];
                let tab = &visitor.tabs[number];
                if tab.under_way.is_some() || tab.next_ms > now_ms || visitor.absent_until_ms > now_ms {
                    continue;
                }
                let Some(node) = self.choose_node(at, &serving) else { return };
                let Some((login, what)) = self.choose_request(at, oracle, now_ms) else { continue };
                let under_way = self.ask(cluster, oracle, Asked { login, tab: number, what, node }, now_ms);
                self.visitors[at].tabs[number].under_way = Some(under_way);
            }
        }
    }

    fn ask(&self, cluster: &Cluster, oracle: &mut Oracle, asked: Asked, now_ms: u64) -> UnderWay {
        let Asked { login, tab, what, node } = asked;
        let id = oracle.current(login).filter(|_| !matches!(what, What::Create(_)));
        let request = Request {
            login,
            tab,
            what,
            id,
            node,
            life: cluster.life(node),
            start_ms: now_ms,
            holders: id.map(|id| cluster.holders(node, id)).unwrap_or_default(),
            quiet_since: oracle.quiet_since(login, id),
        };
        oracle.begin(&request);
        self.recorder.begin(&client(&request), &request);
        let (job, pad) = (request.clone(), self.load.value_bytes);
        let answer = cluster.ask(node, move |mesh| serve(mesh, job, pad));
        UnderWay { request, answer }
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

    /// What the next request of a visitor is; none if there is nothing to do now.
    fn choose_request(&mut self, at: usize, oracle: &mut Oracle, now_ms: u64) -> Option<(usize, What)> {
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
        let mix = self.load.mix;
        let Mix { read, write, slow_write, shared, count, remove, logout, renew, absent } = mix;
        let weights = [read, write, slow_write, shared, count, remove, logout, renew, absent];
        let mut dice = self.rng.random_range(0..weights.iter().sum());
        let chosen = weights.iter().position(|weight| {
            let hit = dice < *weight;
            dice = dice.saturating_sub(*weight);
            hit
        });
        let ending = visitor.is_busy_with(|what| matches!(what, What::Logout | What::Renew)) || late.is_some();
        let what = match chosen {
            Some(1) => What::Write(value, 0),
            Some(2) => What::Write(value, self.rng.random_range(10..1_500)),
            Some(3) => What::Share(value),
            Some(4) => What::Count,
            Some(5) => What::Remove(value),
            Some(6) if !ending => What::Logout,
            Some(7) if !ending => What::Renew,
            Some(8) => {
                // Some come back in time, some do not.
                let away = self.idle_ms * self.rng.random_range(3..16) / 10;
                visitor.absent_until_ms = now_ms + away;
                return None;
            }
            _ => What::Read,
        };
        if what == What::Logout {
            visitor.former = visitor.login.take();
        }
        Some((login, what))
    }
}

/// A request that is to be sent.
struct Asked {
    login: usize,
    tab: usize,
    what: What,
    node: usize,
}

impl UnderWay {
    /// The answer, if there is one; none in it if the node died over it.
    #[allow(clippy::option_option, reason = "not answered yet and never answered are different")]
    fn reply(&mut self) -> Option<Option<Reply>> {
        match self.answer.try_recv() {
            Ok(reply) => Some(Some(reply)),
            Err(TryRecvError::Closed) => Some(None),
            Err(TryRecvError::Empty) => None,
        }
    }
}

/// A tab has one request under way at a time.
fn client(request: &Request) -> String {
    format!("login {} tab {}", request.login, request.tab)
}

fn finish(
    cluster: &Cluster,
    oracle: &mut Oracle,
    request: &Request,
    reply: Option<&Reply>,
    now_ms: u64,
) -> Result<(), Violation> {
    // Whoever was near all the time: links only ever change to worse or to healed, and a healed link was worse before.
    let near = |(holder, _): &(usize, u32)| !cluster.is_disturbed() && !cluster.is_frozen(*holder);
    let holders = request.id.map(|id| cluster.holders(request.node, id)).unwrap_or_default();
    let holders = if cluster.life(request.node) == request.life { holders } else { BTreeSet::new() };
    oracle.finish(request, reply, &holders.into_iter().filter(near).collect(), now_ms)
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
async fn serve(mesh: Mesh, request: Request, pad: u32) -> Reply {
    let started = Instant::now();
    let Some(id) = request.id else {
        let reply = |did, started: Instant| Reply { seen: None, did, took_ms: millis(started), counted: None };
        let session = match mesh.create().await {
            Ok(session) => session,
            Err(error) => return reply(Did::Refused(error.to_string()), started),
        };
        put(&session, &request, pad);
        let committed = session.commit().await;
        return reply(did(&session, committed), started);
    };
    let (seen, session) = look(&mesh, id, false).await;
    let seen = Some((seen, millis(started)));
    let Some(session) = session else {
        return Reply { seen, did: Did::Nothing, took_ms: 0, counted: None };
    };
    if let What::Write(_, pause_ms) = request.what {
        sleep(Duration::from_millis(pause_ms)).await;
    }
    let started = Instant::now();
    let mut counted = None;
    let did = match request.what {
        What::Create(_) | What::Read => Did::Nothing,
        What::Write(..) | What::Share(_) | What::Remove(_) => {
            put(&session, &request, pad);
            let committed = session.commit().await;
            did(&session, committed)
        }
        What::Count => {
            match session.update(COUNTER, |n: Option<Padded>| Some((n.map_or(0, |n| n.0) + 1, None))).await {
                Ok(number) => {
                    counted = number.map(|number| number.0);
                    Did::Acked(session.id(), 0)
                }
                Err(error) => did(&session, Err(error)),
            }
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
    Reply { seen, did, took_ms: millis(started), counted }
}

/// An attribute's value: its number, and something to give it weight.
type Padded = (u64, Option<String>);

fn put(session: &Session, request: &Request, pad: u32) {
    match request.what.write(request.tab) {
        Some((key, _, true)) => session.remove(&name(key)),
        Some((key, value, false)) => {
            let pad = (pad > 0).then(|| "x".repeat(pad as usize));
            session.insert::<Padded>(&name(key), &(value, pad)).expect("a number and a text are JSON");
        }
        None => {}
    }
}

fn did(session: &Session, result: Result<Commit, CommitError>) -> Did {
    match result {
        Ok(commit) => Did::Acked(commit.id, commit.copies),
        Err(
            error @ (CommitError::Ended
            | CommitError::Unknown
            | CommitError::CannotTell(_)
            | CommitError::Limit(_)
            | CommitError::Left),
        ) => Did::Refused(error.to_string()),
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
            let value = |key: &str| session.get::<Padded>(key).expect("only such values are written");
            let values = keys.iter().filter_map(|key| Some((key.to_string(), value(key)?.0))).collect();
            (Seen::Session(values), Some(session))
        }
    }
}

/// What a node says of all these sessions, without counting as an access.
pub async fn look_at_all(mesh: Mesh, ids: Vec<SessionId>) -> BTreeMap<SessionId, Seen> {
    let looks: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let mesh = mesh.clone();
            (id, tokio::task::spawn_local(async move { look(&mesh, id, true).await.0 }))
        })
        .collect();
    let mut all = BTreeMap::new();
    for (id, seen) in looks {
        all.insert(id, seen.await.expect("a look does not panic, and nobody aborts it"));
    }
    all
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
