//! Visitors: each has a session and several tabs, which send one request after the other to any node.
//!
//! `visitor`: one of them. `extra`: what only some runs ask for. `serve`: what a request does on the node.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::SessionId;
use tokio::sync::oneshot;

use crate::network::Trace;
use crate::oracle::{Did, Oracle, Others, Reply, Request, UsersHeld, Violation, What, name};
use crate::record::Recorder;
use crate::scenario::product::Product;
use crate::scenario::{Load, Mix, Scenario};

mod extra;
mod records;
mod serve;
mod visitor;

pub use serve::{How, look, look_at_all, patient};
use visitor::{Tab, UnderWay, Visitor, follow};

/// For so long a handle is kept at most; and for six tenths of the idle limit.
const KEPT_MS_MAX: u64 = 3_000;

/// The nodes, as visitors and what judges their answers need them.
pub trait Service {
    /// Nodes that take requests.
    fn serving(&self) -> Vec<usize>;

    /// The life that a node is in.
    fn life(&self, node: usize) -> u32;

    /// Serves `request` on its node, with values of the one size, and of more than the other one if they are to be too large. The
    /// answer never comes if the node dies meanwhile; there is none in it if the request was dropped.
    fn serve(&self, request: Request, sizes: (u32, u32)) -> oneshot::Receiver<Option<Reply>>;

    /// Members of the view of `node` that hold a live copy of `id` and are its owners by their own view: number and life.
    fn holders(&self, node: usize, id: SessionId) -> BTreeSet<(usize, u32)>;

    /// Whether who holds a session now, and did when `request` was sent, held it all the time, and could be asked.
    fn were_near(&self, holder: usize, request: &Request) -> bool;

    /// Whether what was known when `request` was sent still holds: who owns what, and in whose view.
    fn is_steady_since(&self, request: &Request) -> bool;

    /// What all nodes but for `but` hold of an attribute; none if that may have been otherwise when `request` was answered.
    fn others(&self, but: usize, id: SessionId, key: &str, request: &Request) -> Option<Others>;

    /// What the nodes hold of these sessions of a user; `but` is the node that was asked.
    fn users_held(&self, but: usize, ids: &[SessionId]) -> UsersHeld;
}

/// All visitors of a run.
#[derive(Debug)]
pub struct Clients {
    load: Load,
    idle_ms: u64,
    product: Product,
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
            product: Product {
                own_limits: scenario.product.own_limits && scenario.has_idle_limit(),
                ..scenario.product.clone()
            },
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
    pub fn receive(&mut self, cluster: &impl Service, oracle: &mut Oracle, now_ms: u64) -> Result<(), Violation> {
        for (at, visitor) in self.visitors.iter_mut().enumerate() {
            for number in 0..visitor.tabs.len() {
                let tab = &mut visitor.tabs[number];
                let Some(reply) = tab.under_way.as_mut().and_then(UnderWay::reply) else { continue };
                let Some(UnderWay { request, .. }) = tab.under_way.take() else { continue };
                self.trace.note(format!("{now_ms} {at} {number} {request:?} {reply:?}").as_bytes());
                self.recorder.finish(&client(&request), reply.as_ref(), now_ms);
                tab.next_ms = now_ms + self.rng.random_range(self.load.think_ms.0..=self.load.think_ms.1);
                finish(cluster, oracle, &request, reply.as_ref(), now_ms)?;
                follow(visitor, &request, reply.as_ref(), oracle);
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
    pub fn burst(&mut self, cluster: &impl Service, oracle: &mut Oracle, node: usize, sessions: u32, now_ms: u64) {
        if !cluster.serving().contains(&node) {
            return;
        }
        for _ in 0..sessions {
            self.values += 1;
            let (login, what) = (oracle.login(), What::Create(self.values));
            let under_way = self.ask(cluster, oracle, Asked::plain(login, what, node), now_ms);
            self.burst.push(under_way);
        }
    }

    /// Sends what is due.
    pub fn send(&mut self, cluster: &impl Service, oracle: &mut Oracle, now_ms: u64) {
        let serving = cluster.serving();
        for (due_ms, login) in std::mem::take(&mut self.again) {
            match serving.choose(&mut self.rng) {
                Some(&node) if due_ms <= now_ms && oracle.current(login).is_some() => {
                    let under_way = self.ask(cluster, oracle, Asked::plain(login, What::Read, node), now_ms);
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
                let Some((login, what)) = self.choose_request((at, number), oracle, now_ms) else { continue };
                let (pause_ms, patience_ms) = (self.choose_pause(what), self.choose_patience());
                let asked = Asked { login, tab: number, what, node, pause_ms, patience_ms };
                let under_way = self.ask(cluster, oracle, asked, now_ms);
                self.visitors[at].tabs[number].under_way = Some(under_way);
            }
        }
    }

    fn ask(&self, cluster: &impl Service, oracle: &mut Oracle, asked: Asked, now_ms: u64) -> UnderWay {
        let Asked { login, tab, what, node, pause_ms, patience_ms } = asked;
        let (user, idle_ms) = oracle.login_as(login);
        let id = match what {
            What::Create(_) => None,
            What::ReadMoved => oracle.moved_from(login, now_ms),
            _ => oracle.current(login),
        };
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
            pause_ms,
            patience_ms,
            user,
            idle_ms,
            is_record: oracle.is_record(login),
        };
        oracle.begin(&request);
        self.recorder.begin(&client(&request), &request);
        let sizes = (self.load.value_bytes, self.product.max_value_bytes);
        let answer = cluster.serve(request.clone(), sizes);
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
    fn choose_request(&mut self, (at, tab): (usize, usize), oracle: &mut Oracle, now_ms: u64) -> Option<(usize, What)> {
        self.values += 1;
        let value = self.values;
        let visitor = &mut self.visitors[at];
        let late = visitor.former.filter(|login| self.rng.random_bool(0.1) && oracle.current(*login).is_some());
        let Some(login) = late.or(visitor.login) else {
            if visitor.is_busy_with(|what| matches!(what, What::Create(_))) {
                return None;
            }
            return Some((self.new_login(oracle), What::Create(value)));
        };
        if !oracle.is_record(login)
            && let Some(what) = self.choose_extra((at, tab), late, value, oracle.moved_from(login, now_ms).is_some())
        {
            return Some((login, what));
        }
        let visitor = &mut self.visitors[at];
        let mix = self.load.mix;
        let Mix { read, write, slow_write, shared, count, remove, logout, renew, absent, keep } = mix;
        let weights = [read, write, slow_write, shared, count, remove, logout, renew, absent, keep];
        let chosen = choose_weighted(&mut self.rng, &weights);
        let ending = visitor.is_busy_with(|what| what == What::Logout || what.gives_id()) || late.is_some();
        let what = match chosen {
            Some(1) => What::Write(value, 0),
            Some(2) => What::Write(value, self.rng.random_range(10..1_500)),
            Some(3) => What::Share(value),
            Some(4) if !oracle.is_record(login) => What::Count,
            Some(5) => What::Remove(value),
            Some(6) if !ending => What::Logout,
            Some(7) if !ending => What::Renew,
            Some(8) => {
                // Some come back in time, some do not.
                let away = self.idle_ms * self.rng.random_range(3..16) / 10;
                visitor.absent_until_ms = now_ms + away;
                return None;
            }
            Some(9) if !oracle.is_record(login) => {
                What::Keep(self.rng.random_range(10..KEPT_MS_MAX.min(self.idle_ms * 6 / 10)))
            }
            _ => What::Read,
        };
        if what == What::Logout {
            visitor.former = visitor.login.take();
        }
        Some((login, what))
    }
}

/// The place of one of these weights, each as often as its share in them. They must not all be 0.
fn choose_weighted(rng: &mut StdRng, weights: &[u32]) -> Option<usize> {
    let mut dice = rng.random_range(0..weights.iter().sum());
    weights.iter().position(|weight| {
        let hit = dice < *weight;
        dice = dice.saturating_sub(*weight);
        hit
    })
}

/// A request that is to be sent.
struct Asked {
    login: usize,
    tab: usize,
    what: What,
    node: usize,
    pause_ms: u64,
    patience_ms: Option<u64>,
}

impl Asked {
    /// By somebody who waits for the answer.
    fn plain(login: usize, what: What, node: usize) -> Self {
        Self { login, tab: 0, what, node, pause_ms: 0, patience_ms: None }
    }
}

/// A tab has one request under way at a time.
fn client(request: &Request) -> String {
    format!("login {} tab {}", request.login, request.tab)
}

fn finish(
    cluster: &impl Service,
    oracle: &mut Oracle,
    request: &Request,
    reply: Option<&Reply>,
    now_ms: u64,
) -> Result<(), Violation> {
    let holders = request.id.map(|id| cluster.holders(request.node, id)).unwrap_or_default();
    let holders = if cluster.life(request.node) == request.life { holders } else { BTreeSet::new() };
    let near = holders.into_iter().filter(|(holder, _)| cluster.were_near(*holder, request)).collect();
    let written = request.what.write(request.tab).map(|(key, ..)| name(key)).unwrap_or_default();
    let mut others = match reply.map(|reply| &reply.did) {
        Some(Did::Acked(id, _) | Did::Saved(id)) => cluster.others(request.node, *id, &written, request),
        _ => Some(Others::default()),
    };
    if let (What::Create(_) | What::EndAll | What::EndOthers, Some(others)) = (request.what, &mut others) {
        let created = reply.and_then(|reply| match reply.did {
            Did::Acked(id, _) if request.id.is_none() => Some(id),
            _ => None,
        });
        let ids: Vec<_> = oracle.ids_of_user_of(request.login).into_iter().chain(created).collect();
        others.of_user = cluster.users_held(request.node, &ids);
    }
    if cluster.is_steady_since(request) {
        return oracle.finish(request, reply, &near, others.as_ref(), now_ms);
    }
    let unknown = Request { holders: BTreeSet::new(), ..request.clone() };
    oracle.finish(&unknown, reply, &BTreeSet::new(), others.as_ref(), now_ms)
}
