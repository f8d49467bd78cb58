//! Plays a scenario: faults and load, then healing, again and again, with the oracle watching.

use std::collections::BTreeMap;
use std::rc::Rc;

use sessionmesh::SessionId;
use sessionmesh::coverage::{self, Path};
use sessionmesh::failpoint::{self, Bug};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::clients::{Clients, look_at_all};
use crate::cluster::Cluster;
use crate::entropy;
use crate::network::Trace;
use crate::oracle::{Oracle, Rules, Said, Violation};
use crate::record::Recorder;
use crate::scenario::{Fault, Kind, Scenario};

/// After so long without faults and clients the cluster must have settled: a node that starts looks for others for ten seconds;
/// and a copy that was only passed on, and could not be let go at once, waits for its turn in the sweeps, twice or three times.
const fn settles_within_ms(kind: Kind) -> u64 {
    match kind {
        Kind::Calm | Kind::Crash | Kind::PowerLoss | Kind::Leave | Kind::QuickRestart | Kind::Rolling | Kind::Idle => {
            20_000
        }
        _ => 40_000,
    }
}
/// Requests must have ended so long after the last one was sent.
const DRAINS_WITHIN_MS: u64 = 4_000;
/// Or so long, if all sessions of a user may be ended.
const ALL_END_WITHIN_MS: u64 = 10_000;
/// For so long after the links have healed, connections may still stand still: systems send again what was lost after longer and
/// longer pauses, so a link finds out after two deadlines, and dials again after a second at most.
const LINKS_RECOVER_MS: u64 = 2_500;
/// A node is taken for gone so long after it was cut off.
const NOTICED_WITHIN_MS: u64 = 3_000;
/// Who was cut off for too long finds out so long after it hears others again.
const DISCARDS_WITHIN_MS: u64 = 4_000;
/// Connections on which nothing arrives for less than this go on as if nothing had been.
const LINKS_STAY_UP_MS: u64 = 900;
/// In these no message is lost and no node dies, so every copy gets where it must be without being looked for.
const NOTHING_TO_REPAIR: [Kind; 4] = [Kind::Calm, Kind::Leave, Kind::Rolling, Kind::Join];
/// When all sessions have ended, no fence around one may last longer than this.
const FENCES_FALL_WITHIN_MS: u64 = 5_000;
/// How often the cluster is looked at.
const LOOK_MS: u64 = 10;
/// How often the copies of all sessions are compared.
const COMPARE_MS: u64 = 100;
/// Batches that a node may send to one peer before they are answered (the library's `engine::link`).
const IN_FLIGHT_MAX: usize = 4;

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
    /// How often each promise was compared with what happened.
    pub judged: BTreeMap<&'static str, u64>,
    /// How often which rare path of the library was taken.
    pub reached: BTreeMap<&'static str, u64>,
    /// How long the cluster took to settle, each time.
    pub settling_ms: Vec<u64>,
}

/// What else may be done to a run, beside what its scenario says.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// A mistake that the library makes.
    pub bug: Option<Bug>,
    /// Collects what happens.
    pub recorder: Recorder,
}

/// Plays `scenario` on a thread of its own, whose randomness is the scenario's.
#[must_use]
pub fn play(scenario: &Scenario) -> Report {
    play_with(scenario, &Extras::default())
}

/// Plays `scenario` as [`play`] does, with `extras`.
#[must_use]
pub fn play_with(scenario: &Scenario, extras: &Extras) -> Report {
    let report = play_on_a_thread(scenario, extras.clone());
    if let Some(violation) = &report.violation {
        extras.recorder.violation(violation);
    }
    report
}

fn play_on_a_thread(scenario: &Scenario, Extras { bug, recorder }: Extras) -> Report {
    let scenario = scenario.clone();
    let seed = scenario.seed;
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    // No run may depend on which one of the process came first.
    sessionmesh::draw_keys_of_the_process();
    let played = thread.spawn(move || {
        entropy::seed_this_thread(seed);
        failpoint::plant(bug);
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
            judged: BTreeMap::new(),
            reached: BTreeMap::new(),
            settling_ms: Vec::new(),
        }
    })
}

/// A failure as text.
#[must_use]
pub fn failure(scenario: &Scenario, violation: &Violation) -> String {
    let Violation { promise, detail, at_ms } = violation;
    format!(
        "broken promise at {at_ms} ms: {promise}\n  {detail}\n{scenario}\
         replay: cargo run --release -- replay {} --kind {} --mode {}",
        scenario.seed,
        scenario.kind.name(),
        scenario.mode,
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
    compared_ms: u64,
    disturbed_since_ms: Option<u64>,
    links_work_from_ms: u64,
    /// Nodes that were cut off since then.
    cut_off: BTreeMap<usize, u64>,
    /// Nodes that were cut off for longer than ends are remembered, and until when they may discard what they hold.
    discarding: BTreeMap<usize, u64>,
}

impl Play {
    fn new(scenario: Rc<Scenario>, recorder: Recorder) -> Self {
        let trace = Trace::default();
        Self {
            cluster: Cluster::new(&scenario, trace.clone(), recorder.clone()),
            clients: Clients::new(&scenario, trace.clone(), recorder.clone()),
            oracle: Oracle::new(Rules {
                nodes: scenario.nodes,
                spare: scenario.spare_copies(),
                ack: scenario.ack,
                slack_ms: 10 + 4 * scenario.tick_ms,
                latency_ms: scenario.network.latency_ms.1,
                idle_ms: scenario.has_idle_limit().then_some(scenario.idle_ms),
                sessions_per_user: usize::try_from(scenario.product.sessions_per_user).unwrap_or(usize::MAX),
            }),
            trace,
            recorder,
            settling_ms: Vec::new(),
            looked_ms: 0,
            compared_ms: 0,
            disturbed_since_ms: None,
            links_work_from_ms: 0,
            cut_off: BTreeMap::new(),
            discarding: BTreeMap::new(),
            scenario,
        }
    }

    fn report(self, mut violation: Option<Violation>) -> Report {
        self.recorder.stop(self.cluster.now_ms());
        let reached = Path::ALL.iter().zip(coverage::take_reached()).map(|((_, name, _), times)| (*name, times));
        let reached: BTreeMap<_, _> = reached.collect();
        let repaired = reached[Path::AuditRepair.name()];
        if violation.is_none() && repaired > 0 && NOTHING_TO_REPAIR.contains(&self.scenario.kind) {
            let detail = format!("audits repaired {repaired} times what differed for long");
            violation = Some(self.violation("where no message is lost, audits have nothing to repair", detail));
        }
        if let Some(violation) = &mut violation {
            let history = self.oracle.history(violation);
            violation.detail += &history;
        }
        Report {
            violation,
            simulated_ms: self.cluster.now_ms(),
            trace: self.trace.sum(),
            judged: self.oracle.judged(),
            counts: self.oracle.counts,
            reached,
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
                    self.inflict(&event.fault);
                }
                self.clients.send(&self.cluster, &mut self.oracle, self.cluster.now_ms());
                self.step()?;
            }
            self.cluster.admit_all();
            self.settle()?;
        }
        self.fade()
    }

    fn inflict(&mut self, fault: &Fault) {
        let now = self.cluster.now_ms();
        if let Some(node) = self.cluster.inflict(fault) {
            self.oracle.crashed(node, now);
        }
        // Also what lasts for a moment only.
        self.note_links(now);
        if let Fault::Burst(node, sessions) = *fault {
            self.clients.burst(&self.cluster, &mut self.oracle, node, sessions, now);
        }
        self.looked_ms = 0;
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.cluster.step().map_err(|detail| self.violation("every node starts and goes on", detail))?;
        let now = self.cluster.now_ms();
        self.note_discarded(now);
        for departure in self.cluster.left() {
            self.oracle.left(departure.stayed.min(self.cluster.serving().len()), now);
            if !departure.handed_over {
                self.oracle.crashed(departure.node, now);
            }
        }
        for node in self.cluster.supervise() {
            self.oracle.crashed(node, now);
        }
        if now >= self.looked_ms + LOOK_MS {
            self.looked_ms = now;
            self.note_links(now);
            let compare = now >= self.compared_ms + COMPARE_MS;
            if compare {
                self.compared_ms = now;
                self.check_bounds()?;
            }
            let links_work = now >= self.links_work_from_ms;
            let look = self.cluster.look(links_work, || self.oracle.ids(), compare);
            self.recorder.calm(now, look.calm);
            self.oracle.look(&look, now)?;
        }
        for event in self.cluster.observed_events() {
            self.oracle.observed(&event)?;
        }
        self.clients.receive(&self.cluster, &mut self.oracle, now)
    }

    /// Nothing that a node keeps grows beyond what clients have asked for.
    fn check_bounds(&mut self) -> Result<(), Violation> {
        let known = self.oracle.ids_asked_for();
        let peers = 2 * self.scenario.nodes;
        for (name, kept) in self.cluster.kept() {
            let held = kept.sessions + kept.ended;
            let bounds = [
                ("sessions and tombstones held", held, known),
                ("sessions fenced by a vote", kept.expiry_holds, known),
                ("sessions to send", kept.outbox, known * peers * (1 + IN_FLIGHT_MAX)),
                ("batches under way", kept.in_flight, IN_FLIGHT_MAX * peers),
                ("commits that wait", kept.waiting_commits, self.clients.under_way() + held),
            ];
            if let Some((what, found, bound)) = bounds.into_iter().find(|(_, found, bound)| found > bound) {
                let detail = format!("{name}: {what}: {found}, at most {bound}: {kept:?}");
                return Err(self.violation("what a node keeps is bounded by what clients asked for", detail));
            }
        }
        Ok(())
    }

    /// Clients stay away, until all sessions have ended by themselves.
    fn fade(&mut self) -> Result<(), Violation> {
        let live = self.oracle.live();
        let Some(until) = self.oracle.all_faded_at(self.cluster.now_ms()) else { return Ok(()) };
        while self.cluster.now_ms() < until {
            self.step()?;
        }
        for (name, kept) in self.cluster.kept() {
            if kept.sessions > 0 {
                let detail = format!("{name} still holds {}: {kept:?}", kept.sessions);
                return Err(self.violation("sessions that nobody uses end", detail));
            }
        }
        let until = self.cluster.now_ms() + FENCES_FALL_WITHIN_MS;
        while let Some((name, kept)) = self.cluster.kept().into_iter().find(|(_, kept)| kept.expiry_holds > 0) {
            if self.cluster.now_ms() > until {
                let detail = format!("{name} still fences {}: {kept:?}", kept.expiry_holds);
                return Err(self.violation("the fence around a session ends with the verdict", detail));
            }
            self.step()?;
        }
        self.oracle.faded(&live, self.cluster.now_ms())
    }

    /// Who was cut off for longer than ends are remembered discards what it holds when it hears of the others: as good as a crash.
    fn note_discarded(&mut self, now: u64) {
        let retention = self.scenario.product.retention_ms;
        if retention == 0 {
            return;
        }
        let alone = self.cluster.cut_off();
        for (node, since) in std::mem::take(&mut self.cut_off) {
            if alone.contains(&node) {
                self.cut_off.insert(node, since);
            } else if now - since + NOTICED_WITHIN_MS >= retention {
                self.discarding.insert(node, now + DISCARDS_WITHIN_MS);
            }
        }
        alone.into_iter().for_each(|node| {
            self.cut_off.entry(node).or_insert(now);
        });
        self.discarding.retain(|_, until| *until >= now);
        self.discarding.keys().for_each(|node| self.oracle.crashed(*node, now));
    }

    /// From when on the links are as good as new.
    fn note_links(&mut self, now: u64) {
        if self.cluster.take_reset() {
            self.links_work_from_ms = now + LINKS_RECOVER_MS;
        }
        if !self.cluster.is_disturbed() {
            self.disturbed_since_ms = None;
            return;
        }
        let since = *self.disturbed_since_ms.get_or_insert(now);
        // What a slow link carries is still under way when it is quick again.
        let still_up = !self.cluster.is_cut() && !self.cluster.is_slow() && now - since < LINKS_STAY_UP_MS;
        let recovery = if still_up { 20 + 4 * self.scenario.network.latency_ms.1 } else { LINKS_RECOVER_MS };
        self.links_work_from_ms = self.links_work_from_ms.max(now + recovery);
    }

    /// Heals everything, waits until the cluster has settled, and compares.
    fn settle(&mut self) -> Result<(), Violation> {
        self.cluster.heal();
        let healed = self.cluster.now_ms();
        self.recorder.stage(healed, "all is healed, no more requests");
        let within = if self.scenario.product.users > 0 { ALL_END_WITHIN_MS } else { DRAINS_WITHIN_MS };
        while !self.clients.is_idle() {
            self.step()?;
            if self.cluster.now_ms() > healed + within {
                return Err(self.violation("every request ends", String::new()));
            }
        }
        let ids = self.oracle.ids();
        loop {
            // A node that was still leaving is started as soon as it has stopped.
            self.cluster.heal();
            let now = self.cluster.now_ms();
            let links_stand = (now < self.links_work_from_ms).then(|| "connections may still stand still".to_owned());
            let why = links_stand.or_else(|| self.cluster.unsettled(&ids));
            let Some(why) = why else { break };
            if now > healed + settles_within_ms(self.scenario.kind) {
                return Err(
                    self.violation("without faults and clients the cluster settles", why + &self.cluster.figures())
                );
            }
            for _ in 0..10 {
                self.step()?;
            }
        }
        let settled = self.cluster.now_ms();
        self.settling_ms.push(settled - healed);
        self.recorder.stage(settled, format_args!("settled after {} ms", settled - healed));
        let said = self.look_around(ids.into_iter().collect())?;
        self.check_zones()?;
        self.oracle.settled(&said, self.cluster.now_ms())
    }

    /// Copies are in more than one zone, if there are several.
    fn check_zones(&mut self) -> Result<(), Violation> {
        let now = self.cluster.now_ms();
        for (id, zones) in self.cluster.zones_of(&self.oracle.ids()) {
            // Owners end it one after the other.
            if self.oracle.may_have_faded(id, now) {
                continue;
            }
            let promise = "the copies of a session are in more than one zone";
            self.oracle.judge(promise);
            if zones < 2 {
                return Err(self.violation(promise, id.to_string()));
            }
        }
        Ok(())
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
