//! Plays a scenario: faults and load, then healing, again and again, with the oracle watching.

use std::collections::BTreeMap;
use std::rc::Rc;

use sessionmesh::SessionId;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::clients::{Clients, look_at_all};
use crate::cluster::Cluster;
use crate::entropy;
use crate::network::Trace;
use crate::oracle::{Oracle, Said, Violation};
use crate::record::Recorder;
use crate::scenario::{Kind, Mode, Scenario};

/// After so long without faults and clients the cluster must have settled.
const SETTLES_WITHIN_MS: u64 = 40_000;
/// Requests must have ended so long after the last one was sent.
const DRAINS_WITHIN_MS: u64 = 4_000;
/// For so long after the links have healed, connections may still stand still: turmoil never retransmits, so a link finds
/// out after two deadlines, and dials again after a second at most.
const LINKS_RECOVER_MS: u64 = 2_500;
/// Connections on which nothing arrives for less than this go on as if nothing had been.
const LINKS_STAY_UP_MS: u64 = 900;
/// How often the cluster is looked at.
const LOOK_MS: u64 = 5;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The broken promise, if one was.
    pub violation: Option<Violation>,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// The hash of all that happened, and how much that was.
    pub trace: (u64, u64),
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long the cluster took to settle, each time.
    pub settling_ms: Vec<u64>,
}

/// Plays `scenario` on a thread of its own, whose randomness is the scenario's.
#[must_use]
pub fn play(scenario: &Scenario) -> Report {
    play_recorded(scenario, &Recorder::off())
}

/// Plays `scenario` as [`play`] does, and records it.
#[must_use]
pub fn play_recorded(scenario: &Scenario, recorder: &Recorder) -> Report {
    let report = play_on_a_thread(scenario, recorder.clone());
    if let Some(violation) = &report.violation {
        recorder.violation(violation);
    }
    report
}

fn play_on_a_thread(scenario: &Scenario, recorder: Recorder) -> Report {
    let scenario = scenario.clone();
    let seed = scenario.seed;
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    let played = thread.spawn(move || {
        entropy::seed_this_thread(seed);
        recorder.noting(|| {
            let mut play = Play::new(Rc::new(scenario), recorder.clone());
            let ended = play.all();
            play.report(ended.err())
        })
    });
    played.expect("a thread can be started").join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        let violation = Violation { promise: "nothing panics", detail: text, at_ms: 0 };
        Report {
            violation: Some(violation),
            simulated_ms: 0,
            trace: (0, 0),
            counts: BTreeMap::new(),
            settling_ms: Vec::new(),
        }
    })
}

/// Plays the runs of `seeds` of one kind in one mode.
///
/// # Panics
///
/// A promise was broken. The text says which, in which scenario, and how to see it again.
pub fn check(kind: Kind, mode: Mode, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let scenario = Scenario::aimed(seed, kind, mode);
        if let Some(violation) = play(&scenario).violation {
            panic!("{}", failure(&scenario, &violation));
        }
    }
}

/// A failure as text.
#[must_use]
pub fn failure(scenario: &Scenario, violation: &Violation) -> String {
    let Violation { promise, detail, at_ms } = violation;
    let mode = match scenario.mode {
        Mode::AllToAll => "all-to-all".to_owned(),
        Mode::PrimaryBackup(backups) => format!("primary-backup-{backups}"),
    };
    format!(
        "broken promise at {at_ms} ms: {promise}\n  {detail}\n{scenario}replay: cargo run --release -- run {} {} {mode}",
        scenario.seed,
        scenario.kind.name(),
    )
}

struct Play {
    scenario: Rc<Scenario>,
    cluster: Cluster,
    clients: Clients,
    oracle: Oracle,
    trace: Trace,
    recorder: Recorder,
    settling_ms: Vec<u64>,
    looked_ms: u64,
    disturbed_since_ms: Option<u64>,
    links_work_from_ms: u64,
}

impl Play {
    fn new(scenario: Rc<Scenario>, recorder: Recorder) -> Self {
        let trace = Trace::default();
        Self {
            cluster: Cluster::new(&scenario, trace.clone(), recorder.clone()),
            clients: Clients::new(&scenario.load, scenario.nodes, scenario.seed, trace.clone(), recorder.clone()),
            oracle: Oracle::new(scenario.spare_copies(), scenario.copies.is_none(), scenario.tick_ms),
            trace,
            recorder,
            settling_ms: Vec::new(),
            looked_ms: 0,
            disturbed_since_ms: None,
            links_work_from_ms: 0,
            scenario,
        }
    }

    fn report(self, mut violation: Option<Violation>) -> Report {
        self.recorder.stop(self.cluster.now_ms());
        if let Some(violation) = &mut violation {
            let history = self.oracle.history(violation);
            violation.detail += &history;
        }
        Report {
            violation,
            simulated_ms: self.cluster.now_ms(),
            trace: self.trace.sum(),
            counts: self.oracle.counts,
            settling_ms: self.settling_ms,
        }
    }

    fn all(&mut self) -> Result<(), Violation> {
        self.settle()?;
        let scenario = self.scenario.clone();
        for episode in &scenario.episodes {
            let start = self.cluster.now_ms();
            self.recorder.stage(start, "an episode begins");
            let mut events = episode.events.iter().peekable();
            while self.cluster.now_ms() < start + episode.length_ms {
                while let Some(event) = events.next_if(|event| start + event.at_ms <= self.cluster.now_ms()) {
                    self.recorder.fault(self.cluster.now_ms(), &event.fault);
                    if let Some(node) = self.cluster.inflict(&event.fault) {
                        self.oracle.crashed(node, self.cluster.now_ms());
                    }
                    self.looked_ms = 0;
                }
                self.clients.send(&self.cluster, &mut self.oracle, self.cluster.now_ms());
                self.step()?;
            }
            self.settle()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.cluster.step().map_err(|detail| self.violation("every node starts and goes on", detail))?;
        let now = self.cluster.now_ms();
        for node in self.cluster.left_with_losses() {
            self.oracle.crashed(node, now);
        }
        if now >= self.looked_ms + LOOK_MS {
            self.looked_ms = now;
            self.note_links(now);
            let calm = now >= self.links_work_from_ms && self.cluster.unrest().is_none();
            self.oracle.calm(calm, now);
            self.recorder.calm(now, calm);
            self.oracle.trusting(!self.cluster.suspects(), now);
        }
        self.clients.receive(&mut self.oracle, now)
    }

    /// From when on the links are as good as new.
    fn note_links(&mut self, now: u64) {
        if !self.cluster.is_disturbed() {
            self.disturbed_since_ms = None;
            return;
        }
        let since = *self.disturbed_since_ms.get_or_insert(now);
        let still_up = !self.cluster.is_cut() && now - since < LINKS_STAY_UP_MS;
        let recovery = if still_up { 20 + 4 * self.scenario.latency_ms.1 } else { LINKS_RECOVER_MS };
        self.links_work_from_ms = self.links_work_from_ms.max(now + recovery);
    }

    /// Heals everything, waits until the cluster has settled, and compares.
    fn settle(&mut self) -> Result<(), Violation> {
        self.cluster.heal();
        let healed = self.cluster.now_ms();
        self.recorder.stage(healed, "all is healed, no more requests");
        while !self.clients.is_idle() {
            self.step()?;
            if self.cluster.now_ms() > healed + DRAINS_WITHIN_MS {
                return Err(self.violation("every request ends", String::new()));
            }
        }
        let ids = self.oracle.ids();
        loop {
            // A node that was still leaving is started as soon as it has stopped.
            self.cluster.heal();
            let why = self.cluster.unsettled(&ids);
            let now = self.cluster.now_ms();
            let Some(why) = why else { break };
            if now > healed + SETTLES_WITHIN_MS {
                return Err(
                    self.violation("without faults and clients the cluster settles", why + &self.cluster.figures())
                );
            }
            for _ in 0..10 {
                self.step()?;
            }
        }
        let settled = self.cluster.now_ms();
        self.recorder.stage(settled, format_args!("settled after {} ms", settled - healed));
        self.settling_ms.push(settled - healed);
        let said = self.look_around(ids.into_iter().collect())?;
        self.oracle.settled(&said, self.cluster.now_ms())
    }

    /// What each node says of each session.
    fn look_around(&mut self, ids: Vec<SessionId>) -> Result<Vec<Said>, Violation> {
        let mut asked: Vec<(usize, oneshot::Receiver<_>)> = Vec::new();
        for node in self.cluster.serving() {
            let ids = ids.clone();
            asked.push((node, self.cluster.ask(node, move |mesh| look_at_all(mesh, ids))));
        }
        let mut said = Vec::new();
        while let Some((node, answer)) = asked.last_mut() {
            match answer.try_recv() {
                Ok(seen) => {
                    said.push((*node, self.cluster.life(*node), seen));
                    asked.pop();
                }
                Err(TryRecvError::Empty) => self.step()?,
                Err(TryRecvError::Closed) => {
                    let detail = format!("n{node} did not answer");
                    return Err(self.violation("every node starts and goes on", detail));
                }
            }
        }
        said.reverse();
        Ok(said)
    }

    fn violation(&self, promise: &'static str, detail: String) -> Violation {
        Violation { promise, detail, at_ms: self.cluster.now_ms() }
    }
}
