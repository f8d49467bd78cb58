//! The life of one cluster: a cold start, load and faults, healing, again and again, with the oracle watching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sessionmesh::{Mesh, SessionId};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::logs;
use super::setup::Setup;
use crate::clients::{Clients, How, Service as _, look};
use crate::network::Trace;
use crate::oracle::{Oracle, Rules, Said, Seen, Violation};
use crate::record::Recorder;
use crate::scenario::Fault;

/// A step takes this long, and what it does.
const STEP: Duration = Duration::from_micros(700);
/// All nodes are ready so long after they were started, and the cluster has settled so long after all was healed: measured in
/// time in which the nodes ran.
const SETTLES_WITHIN: Duration = Duration::from_secs(25);
/// Requests have ended so long after the last one was sent.
const DRAINS_WITHIN: Duration = Duration::from_secs(10);
/// A step counts as so much at most: what took longer was not the cluster's.
const STEP_MAX: Duration = Duration::from_millis(20);
/// So often in a row the cluster must look settled: its nodes are not looked at in one moment.
const SETTLED_LOOKS: u32 = 3;
/// How much an answer may be late by: a thread that has to wait for its turn answers late.
const SLACK_MS: u64 = 1_500;

/// The promises that are judged beside those of the oracle.
pub const PROMISES: [&str; 4] = [
    "a cold start ends with all nodes ready",
    "every request ends",
    "nothing panics, and no node stops by itself",
    "without faults and clients the cluster settles",
];

/// What happened in one cluster.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The broken promise, if one was, and all that is known of it.
    pub failure: Option<String>,
    /// How often each promise was compared with what happened.
    pub judged: BTreeMap<&'static str, u64>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Plays the cluster of `seed`, which is the `number`th of this process, until it has ended or `over` is set.
#[must_use]
pub fn play(number: u64, seed: u64, over: &AtomicBool) -> Report {
    let setup = Setup::draw(number, seed);
    let clock = Instant::now();
    logs::begin(number, clock);
    let mut story = Story::new(setup, clock, over);
    let ended = story.all();
    let failure = match ended {
        Err(End::Broken(violation)) => Some(story.tell(&violation, seed)),
        Ok(()) | Err(End::Over) => None,
    };
    let Story { oracle, mut counts, cluster, mut judged, .. } = story;
    cluster.end();
    let panic = logs::panic_in(number);
    let log = logs::end(number);
    let failure = failure.or_else(|| panic.map(|panic| format!("BROKEN PROMISE: {}\n  {panic}", PROMISES[2])));
    for (promise, times) in oracle.judged() {
        *judged.entry(promise).or_default() += times;
    }
    for (what, times) in oracle.counts {
        *counts.entry(what).or_default() += times;
    }
    let failure = failure.map(|failure| failure + "\nthe last lines of the nodes:\n" + &log.join("\n") + "\n");
    Report { failure, judged, counts }
}

/// Why a story ends before its end.
enum End {
    Broken(Violation),
    /// Nobody waits for it any more.
    Over,
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

struct Story<'a> {
    setup: Setup,
    cluster: Cluster,
    clients: Clients,
    oracle: Oracle,
    counts: BTreeMap<&'static str, u64>,
    judged: BTreeMap<&'static str, u64>,
    over: &'a AtomicBool,
    /// What was done to the cluster, and when.
    deeds: Vec<String>,
    stepped: Instant,
    /// How long the nodes have run, stalls apart.
    ran: Duration,
}

impl<'a> Story<'a> {
    fn new(setup: Setup, clock: Instant, over: &'a AtomicBool) -> Self {
        let scenario = &setup.scenario;
        Self {
            clients: Clients::new(scenario, Trace::default(), Recorder::off()),
            oracle: Oracle::new(Rules {
                nodes: scenario.nodes,
                spare: scenario.spare_copies(),
                ack: scenario.ack,
                sessions_per_user: 0,
                slack_ms: SLACK_MS,
                latency_ms: 1,
                idle_ms: None,
            }),
            cluster: Cluster::new(setup.clone(), clock),
            counts: BTreeMap::new(),
            judged: BTreeMap::new(),
            over,
            deeds: Vec::new(),
            stepped: clock,
            ran: Duration::ZERO,
            setup,
        }
    }

    fn all(&mut self) -> Result<(), End> {
        let (nodes, late) = (self.setup.scenario.nodes, self.setup.scenario.late);
        self.deed("cold start");
        self.count("cold starts");
        for node in 0..nodes - late {
            self.start(node);
        }
        self.settle(PROMISES[0])?;
        for episode in self.setup.scenario.episodes.clone() {
            let start = self.cluster.now_ms();
            self.deed("an episode begins");
            let mut events = episode.events.iter().peekable();
            while self.cluster.now_ms() < start + episode.length_ms {
                while let Some(event) = events.next_if(|event| start + event.at_ms <= self.cluster.now_ms()) {
                    self.inflict(&event.fault);
                }
                self.clients.send(&self.cluster, &mut self.oracle, self.cluster.now_ms());
                self.step()?;
            }
            self.deed("all is healed");
            self.settle(PROMISES[3])?;
        }
        Ok(())
    }

    fn start(&mut self, node: usize) {
        self.count("starts");
        self.cluster.start(node);
    }

    fn inflict(&mut self, fault: &Fault) {
        self.deed(&fault.to_string());
        match *fault {
            Fault::Crash(node) => {
                self.oracle.crashed(node, self.cluster.now_ms());
                if self.cluster.kill(node) {
                    self.count("crashes");
                }
                // It may have gone on for a moment.
                self.oracle.crashed(node, self.cluster.now_ms());
            }
            Fault::Start(node) if self.cluster.is_down(node) => {
                self.count("joins");
                self.start(node);
            }
            Fault::Leave(node) if self.cluster.leave(node) => self.count("leaves"),
            Fault::Burst(node, sessions) => {
                self.clients.burst(&self.cluster, &mut self.oracle, node, sessions, self.cluster.now_ms());
            }
            _ => {}
        }
    }

    fn step(&mut self) -> Result<(), End> {
        if self.over.load(Ordering::Relaxed) {
            return Err(End::Over);
        }
        thread::sleep(STEP);
        let took = self.stepped.elapsed();
        self.stepped = Instant::now();
        if !self.cluster.is_stalled() {
            self.ran += took.min(STEP_MAX);
        }
        let left = self.cluster.step().map_err(|detail| self.violation(PROMISES[2], detail))?;
        let now = self.cluster.now_ms();
        for departure in left {
            self.oracle.left(departure.stayed.min(self.cluster.serving().len()), now);
            if !departure.handed_over {
                self.oracle.crashed(departure.node, now);
            }
        }
        for node in self.cluster.gave_way() {
            self.deed("it gave way to another life of its name");
            self.inflict(&Fault::Crash(node));
            self.inflict(&Fault::Start(node));
        }
        let oracle = &self.oracle;
        let look = self.cluster.look(|| oracle.ids());
        self.oracle.look(&look, now)?;
        for event in self.cluster.observed() {
            self.oracle.observed(&event)?;
        }
        self.clients.receive(&self.cluster, &mut self.oracle, now)?;
        if let Some(panic) = logs::panic_in(self.setup.number) {
            return Err(self.violation(PROMISES[2], panic).into());
        }
        Ok(())
    }

    /// Starts all nodes that are down, waits until all has settled, and compares.
    fn settle(&mut self, promise: &'static str) -> Result<(), End> {
        let healed = self.ran;
        while !self.clients.is_idle() {
            self.step()?;
            if self.ran - healed > DRAINS_WITHIN {
                return Err(self.violation(PROMISES[1], self.cluster.figures()).into());
            }
        }
        self.judge(PROMISES[1]);
        let ids = self.oracle.ids();
        let said = loop {
            self.wait_until_settled(promise, healed, &ids)?;
            let asked_ms = self.cluster.now_ms();
            let said = self.look_around(ids.iter().copied().collect())?;
            self.step()?;
            // A node that did not run may not have been able to tell.
            if self.cluster.is_steady_from(asked_ms) {
                break said;
            }
        };
        self.judge(promise);
        self.deed("settled");
        self.oracle.settled(&said, self.cluster.now_ms())?;
        Ok(())
    }

    fn wait_until_settled(
        &mut self,
        promise: &'static str,
        healed: Duration,
        ids: &BTreeSet<SessionId>,
    ) -> Result<(), End> {
        let late = if promise == PROMISES[0] { self.setup.scenario.late } else { 0 };
        let mut settled = 0;
        while settled < SETTLED_LOOKS {
            for node in 0..self.setup.scenario.nodes - late {
                if self.cluster.is_down(node) {
                    self.count("joins");
                    self.start(node);
                }
            }
            self.step()?;
            let Some(why) = self.cluster.unsettled(ids) else {
                settled += 1;
                continue;
            };
            settled = 0;
            if self.ran - healed > SETTLES_WITHIN {
                return Err(self.violation(promise, why + &self.cluster.figures()).into());
            }
            thread::sleep(STEP * 5);
        }
        Ok(())
    }

    /// What each node says of each session.
    fn look_around(&mut self, ids: Vec<SessionId>) -> Result<Vec<Said>, End> {
        let began = self.ran;
        let mut asked = self.cluster.ask_all(|mesh| look_at_all(mesh, ids.clone()));
        let mut said = Vec::new();
        while let Some((node, life, answer)) = asked.last_mut() {
            match answer.try_recv() {
                Ok(seen) => {
                    said.push((*node, *life, seen));
                    asked.pop();
                }
                Err(TryRecvError::Empty) if self.ran - began < DRAINS_WITHIN => self.step()?,
                Err(_) => {
                    let detail = format!("n{node} did not say what it holds{}", self.cluster.figures());
                    return Err(self.violation(PROMISES[1], detail).into());
                }
            }
        }
        said.reverse();
        Ok(said)
    }

    fn violation(&self, promise: &'static str, detail: String) -> Violation {
        Violation { promise, detail, at_ms: self.cluster.now_ms() }
    }

    /// All that somebody needs who sees nothing but this, without the log.
    fn tell(&self, violation: &Violation, seed: u64) -> String {
        let Violation { promise, detail, at_ms } = violation;
        format!(
            "BROKEN PROMISE at {at_ms} ms in the cluster of seed {seed}: {promise}\n  {detail}{}\nthe cluster: {} threads for \
             each node\n{}what was done to it:\n  {}\nthe nodes:{}\nthe same again, though not in the same order: \
             cargo run --release -- stress --from {seed} --clusters 1\n",
            self.oracle.history(violation),
            self.setup.threads,
            self.setup.scenario,
            self.deeds.join("\n  "),
            self.cluster.figures(),
        )
    }

    fn deed(&mut self, what: &str) {
        self.deeds.push(format!("{} ms: {what}", self.cluster.now_ms()));
    }

    fn judge(&mut self, promise: &'static str) {
        *self.judged.entry(promise).or_default() += 1;
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// What a node says of all these sessions, without counting as an access: all are looked at at once.
async fn look_at_all(mesh: Mesh, ids: Vec<SessionId>) -> BTreeMap<SessionId, Seen> {
    let looks: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let mesh = mesh.clone();
            (id, tokio::spawn(async move { look(&mesh, id, How::Peek).await.0 }))
        })
        .collect();
    let mut all = BTreeMap::new();
    for (id, seen) in looks {
        all.insert(id, seen.await.expect("a look does not panic, and nobody aborts it"));
    }
    all
}
