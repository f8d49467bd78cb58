//! The nodes of a run, their lives, and the links between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use sessionmesh::{Discovery as Ways, Gate, Member, MemberState, Mesh, SessionId, Stats};
use tokio::sync::{mpsc, oneshot};
use turmoil::Sim;

use crate::clock::{EPOCH_MS, SimClock};
use crate::impairments::Impairments;
use crate::network::{Host, SimNetwork, Trace};
use crate::oracle::ObservedEvent;
use crate::oracle::world::{Look, Ready};
use crate::record::Recorder;
use crate::record::timeline::Disturbed;
use crate::scenario::{Ack, Discovery, Fault, Mode, Scenario};

/// The port of every node.
const PORT: u16 = 7400;
/// Who does not answer for so long is taken for gone by reads, so a link on which answers take longer is a partition: 7/10
/// of the commit deadline, less what else may take time.
const SILENT_MS: u64 = 300;
/// How long a planned stop may take.
const LEAVE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(Mesh) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What is known of one node from outside.
#[derive(Default)]
struct NodeState {
    mesh: Option<Mesh>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    lives: u32,
    down: bool,
    /// Shut while the process is frozen; a new one for each life.
    gate: Gate,
    frozen: bool,
    /// Since when it is frozen, or not.
    frozen_since_ms: u64,
    /// When this life began.
    since_ms: u64,
    /// It was seen to be ready.
    ready: bool,
    /// By how much the wall clock is wrong.
    skew_ms: Arc<AtomicI64>,
}

type NodeStates = Rc<RefCell<Vec<NodeState>>>;

/// The nodes and the network between them.
pub struct Cluster {
    sim: Sim<'static>,
    states: NodeStates,
    shared: Shared,
    names: Vec<String>,
    /// Nodes that were never started.
    late: BTreeSet<usize>,
    cuts: BTreeSet<(usize, usize)>,
    holds: BTreeSet<(usize, usize)>,
    held_streams: BTreeSet<(usize, usize)>,
    slow: BTreeMap<(usize, usize), u64>,
    /// Gossip or beacons are lost beyond the usual.
    hushed: bool,
    /// A node started while it could not be heard, or could not hear others, and they have not found each other yet.
    started_unheard: bool,
    /// The cluster was split since somebody last looked, if only for a moment.
    split_unseen: bool,
    /// Nodes that were frozen for so long since the last calm that others may have gone on without them.
    slept: BTreeSet<usize>,
}

/// What all lives of all nodes share.
#[derive(Clone)]
struct Shared {
    scenario: Rc<Scenario>,
    states: NodeStates,
    addrs: Rc<Vec<IpAddr>>,
    impairments: Impairments,
    trace: Trace,
    recorder: Recorder,
    /// Nodes that left, and whether they could hand over all.
    left: Rc<RefCell<Vec<(usize, bool)>>>,
    observed: Rc<RefCell<Vec<ObservedEvent>>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Cluster {
    /// All nodes of `scenario`, started.
    #[must_use]
    pub fn new(scenario: &Rc<Scenario>, trace: Trace, recorder: Recorder) -> Self {
        let tick = Duration::from_millis(scenario.tick_ms);
        let mut sim = turmoil::Builder::new()
            .rng_seed(scenario.seed)
            .epoch(UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .simulation_duration(Duration::from_secs(3_600))
            .tick_duration(tick)
            .min_message_latency(Duration::from_millis(scenario.network.latency_ms.0))
            .max_message_latency(Duration::from_millis(scenario.network.latency_ms.1))
            .tcp_capacity(8192)
            .udp_capacity(8192)
            .build();
        let names: Vec<String> = (0..scenario.nodes).map(|node| format!("n{node}")).collect();
        let shared = Shared {
            scenario: scenario.clone(),
            states: Rc::default(),
            addrs: Rc::new(names.iter().map(|name| sim.lookup(name.as_str())).collect()),
            impairments: Impairments::new(scenario.network),
            trace,
            recorder,
            left: Rc::default(),
            observed: Rc::default(),
        };
        let late: BTreeSet<usize> = (scenario.nodes - scenario.late..scenario.nodes).collect();
        for (node, name) in names.iter().enumerate() {
            let skew_ms = Arc::new(AtomicI64::new(scenario.skew_ms.get(node).copied().unwrap_or(0)));
            shared.states.borrow_mut().push(NodeState { skew_ms, down: late.contains(&node), ..NodeState::default() });
            let shared = shared.clone();
            sim.host(name.as_str(), move || live(node, shared.clone()));
            if late.contains(&node) {
                sim.crash(name.as_str());
            }
        }
        Self {
            sim,
            states: shared.states.clone(),
            shared,
            names,
            late,
            cuts: BTreeSet::new(),
            holds: BTreeSet::new(),
            held_streams: BTreeSet::new(),
            slow: BTreeMap::new(),
            hushed: false,
            started_unheard: false,
            split_unseen: false,
            slept: BTreeSet::new(),
        }
    }

    /// Simulated time since the start, in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One step of time.
    ///
    /// # Errors
    ///
    /// A node could not be started, or stopped by itself.
    pub fn step(&mut self) -> Result<(), String> {
        self.sim.step().map(drop).map_err(|error| error.to_string())
    }

    /// Lets `fault` happen. Says which node went down, losing what it held.
    pub fn inflict(&mut self, fault: &Fault) -> Option<usize> {
        self.shared.trace.note(fault.to_string().as_bytes());
        self.shared.recorder.fault(self.now_ms(), fault);
        let crashed = self.cause(fault);
        self.split_unseen |= self.is_split();
        self.record_disturbances();
        crashed
    }

    fn cause(&mut self, fault: &Fault) -> Option<usize> {
        match *fault {
            Fault::Crash(node) => return self.crash(node),
            Fault::PowerLoss(node) => {
                let before = self.cuts.clone();
                for other in (0..self.names.len()).filter(|other| *other != node) {
                    self.cuts.extend([(node, other), (other, node)]);
                }
                self.apply_links();
                let crashed = self.crash(node);
                self.cuts = before;
                self.apply_links();
                return crashed;
            }
            Fault::Start(node) => self.start(node),
            Fault::Leave(node) => self.leave(node),
            Fault::Freeze(node) => self.freeze(node, true),
            Fault::Thaw(node) => self.freeze(node, false),
            Fault::Cut(one, other) => {
                self.cuts.extend([(one, other), (other, one)]);
                self.apply_links();
            }
            Fault::CutOneWay(from, to) => {
                self.cuts.insert((from, to));
                self.apply_links();
            }
            Fault::Hold(one, other) => {
                self.holds.insert((one.min(other), one.max(other)));
                self.apply_links();
            }
            Fault::HoldStreams(one, other) => {
                self.held_streams.insert((one.min(other), one.max(other)));
                self.shared.impairments.hold_streams(self.shared.addrs[one], self.shared.addrs[other]);
            }
            Fault::Slow(one, other, ms) => {
                self.slow.insert((one, other), ms);
                let (a, b) = (self.names[one].as_str(), self.names[other].as_str());
                self.sim.set_link_latency(a, b, Duration::from_millis(ms));
            }
            Fault::LoseDatagrams(thousandths) => {
                self.started_unheard |= self.is_starting();
                self.hushed = true;
                self.shared.impairments.lose_datagrams(thousandths);
            }
            Fault::LoseMulticast => {
                self.started_unheard |= self.is_starting();
                self.hushed = true;
                self.shared.impairments.lose_beacons();
            }
            Fault::Heal => self.heal_links(),
            Fault::Jump(node, ms) => {
                self.states.borrow()[node].skew_ms.fetch_add(ms, Ordering::Relaxed);
            }
            // The clients see to it.
            Fault::Burst(..) => {}
        }
        None
    }

    fn crash(&mut self, node: usize) -> Option<usize> {
        let was_down = {
            let state = &mut self.states.borrow_mut()[node];
            state.frozen = false;
            std::mem::replace(&mut state.down, true)
        };
        // Also a node that has left is still a host.
        self.shared.impairments.dying(|| self.sim.crash(self.names[node].as_str()));
        (!was_down).then_some(node)
    }

    fn start(&mut self, node: usize) {
        if std::mem::replace(&mut self.states.borrow_mut()[node].down, false) {
            self.late.remove(&node);
            self.started_unheard |= self.hushed || (0..self.names.len()).any(|other| self.is_frozen(other));
            self.shared.impairments.dying(|| self.sim.bounce(self.names[node].as_str()));
        }
    }

    /// Whether a node that is up has not found the others yet, or not got all from them.
    fn is_starting(&self) -> bool {
        let ready = |mesh: &Mesh| mesh.is_ready();
        self.states.borrow().iter().any(|state| !state.down && !state.mesh.as_ref().is_some_and(ready))
    }

    fn leave(&self, node: usize) {
        let (states, left) = (self.states.clone(), self.shared.left.clone());
        drop(self.ask(node, move |mesh| async move {
            let ended_well = mesh.leave(LEAVE).await.is_ok();
            let stays = |member: &Member| member.state != MemberState::Leaving;
            let handed_over = ended_well && mesh.members().iter().any(stays);
            left.borrow_mut().push((node, handed_over));
            // The node has stopped; the host waits to be started again.
            states.borrow_mut()[node].mesh = None;
        }));
        // No new requests go to it.
        self.states.borrow_mut()[node].jobs = None;
    }

    fn freeze(&mut self, node: usize, frozen: bool) {
        self.started_unheard |= frozen && self.is_starting();
        let now = self.now_ms();
        let gate = {
            let state = &mut self.states.borrow_mut()[node];
            if state.frozen == frozen || state.mesh.is_none() {
                return;
            }
            state.frozen = frozen;
            state.frozen_since_ms = now;
            state.gate.clone()
        };
        if frozen { gate.shut() } else { gate.open() }
    }

    /// The nodes that left since the last call. Those that could not hand over all, or had nobody to take it (`false`),
    /// are as good as crashed.
    #[must_use]
    pub fn left(&self) -> Vec<(usize, bool)> {
        self.shared.left.take()
    }

    /// The events that were told since the last call.
    #[must_use]
    pub fn observed_events(&self) -> Vec<ObservedEvent> {
        self.shared.observed.take()
    }

    /// Nodes that were never there may come now, at the next healing.
    pub fn admit_all(&mut self) {
        self.late.clear();
    }

    /// Heals all links, wakes all nodes, and starts all that are down.
    pub fn heal(&mut self) {
        self.shared.trace.note(b"heal");
        self.heal_links();
        for node in 0..self.names.len() {
            self.freeze(node, false);
            if !self.late.contains(&node) {
                self.start(node);
            }
        }
        self.record_disturbances();
    }

    fn heal_links(&mut self) {
        self.cuts.clear();
        self.holds.clear();
        self.held_streams.clear();
        self.hushed = false;
        let (low, high) = self.shared.scenario.network.latency_ms;
        for ((one, other), _) in std::mem::take(&mut self.slow) {
            let (a, b) = (self.names[one].as_str(), self.names[other].as_str());
            self.sim.set_link_latency(a, b, Duration::from_millis(low));
            self.sim.set_link_max_message_latency(a, b, Duration::from_millis(high));
        }
        self.shared.impairments.heal();
        self.apply_links();
    }

    fn record_disturbances(&self) {
        let held = self.holds.iter().chain(&self.held_streams).map(|(one, other)| Disturbed::Held(*one, *other));
        let cuts = self.cuts.iter().map(|(from, to)| Disturbed::Cut(*from, *to));
        let frozen = (0..self.names.len()).filter(|node| self.is_frozen(*node)).map(Disturbed::Frozen);
        self.shared.recorder.disturbed(self.now_ms(), cuts.chain(held).chain(frozen));
    }

    /// turmoil keeps one state for each direction of a link, so all are set from the faults that are active.
    fn apply_links(&self) {
        for one in 0..self.names.len() {
            for other in one + 1..self.names.len() {
                let (a, b) = (self.names[one].as_str(), self.names[other].as_str());
                if self.holds.contains(&(one, other)) {
                    self.sim.hold(a, b);
                    continue;
                }
                self.sim.release(a, b);
                if self.cuts.contains(&(one, other)) {
                    self.sim.partition_oneway(a, b);
                }
                if self.cuts.contains(&(other, one)) {
                    self.sim.partition_oneway(b, a);
                }
            }
        }
    }

    /// Whether any link is disturbed, or a node frozen.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.is_apart() || self.hushed || self.is_slow() || self.states.borrow().iter().any(|state| state.frozen)
    }

    fn is_apart(&self) -> bool {
        [&self.cuts, &self.holds, &self.held_streams].iter().any(|links| !links.is_empty())
    }

    /// Whether something that was sent is lost.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Whether a link takes longer than usual.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        !self.slow.is_empty()
    }

    /// Whether nodes that run may take each other for dead.
    #[must_use]
    pub fn is_split(&self) -> bool {
        // Two that slept, one after the other, never met: each may go on without what the other one did.
        let missed_each_other = self.slept.len() > 1;
        let slow = self.slow.values().any(|ms| is_too_slow(*ms));
        self.is_apart() || slow || self.started_unheard || missed_each_other
    }

    fn note_sleepers(&mut self, calm: bool) {
        if calm {
            self.slept.clear();
        }
        let (states, now) = (self.states.borrow(), self.now_ms());
        let long = |state: &NodeState| state.frozen && now.saturating_sub(state.frozen_since_ms) >= SILENT_MS;
        self.slept.extend(states.iter().enumerate().filter(|(_, state)| long(state)).map(|(node, _)| node));
    }

    /// Whether the node is frozen.
    #[must_use]
    pub fn is_frozen(&self, node: usize) -> bool {
        self.states.borrow()[node].frozen
    }

    /// Members of the view of `node` that hold a live copy of `id` and are its owners by their own view: number and life.
    #[must_use]
    pub fn holders(&self, node: usize, id: SessionId) -> BTreeSet<(usize, u32)> {
        let states = self.states.borrow();
        let Some(reader) = &states[node].mesh else { return BTreeSet::new() };
        let seen: Vec<_> = reader.members().into_iter().map(|member| (member.name, member.incarnation)).collect();
        let holds = |(at, name): &(usize, &String)| {
            states[*at].mesh.as_ref().filter(|mesh| mesh.holds_live(id)).is_some_and(|mesh| {
                let myself = mesh.members().into_iter().find(|member| *member.name == **name);
                mesh.owners(id).iter().any(|owner| **owner == **name)
                    && myself.is_some_and(|myself| seen.contains(&(myself.name, myself.incarnation)))
            })
        };
        let holders = self.names.iter().enumerate().filter(|(at, _)| !states[*at].down).filter(holds);
        holders.map(|(at, _)| (at, states[at].lives)).collect()
    }

    /// The nodes that became ready since this was called last, and what they lack of `ids`.
    fn newly_ready(&self, ids: impl Fn() -> BTreeSet<SessionId>) -> Vec<Ready> {
        let mut newly = Vec::new();
        for (node, (state, name)) in self.states.borrow_mut().iter_mut().zip(&self.names).enumerate() {
            let Some(mesh) = state.mesh.as_ref().filter(|mesh| !state.ready && mesh.is_ready()) else { continue };
            state.ready = true;
            let owns = |id: &SessionId| mesh.owners(*id).iter().any(|owner| **owner == **name);
            let lacks = ids().into_iter().filter(|id| owns(id) && !mesh.holds(*id)).collect();
            newly.push(Ready { node, since_ms: state.since_ms, lacks });
        }
        newly
    }

    /// How the cluster looks now. `ids` are the sessions there may be; whether they are where they must be is looked at
    /// if `compare` is set.
    #[must_use]
    pub fn look(&mut self, links_work: bool, ids: impl Fn() -> BTreeSet<SessionId>, compare: bool) -> Look {
        let quiet = self.unrest().is_none();
        self.started_unheard &= !quiet || self.hushed;
        let split_unseen = std::mem::take(&mut self.split_unseen);
        let calm = links_work && quiet && !split_unseen;
        self.note_sleepers(calm);
        let repaired = calm && compare && self.unsettled(&ids()).is_none();
        let nodes = 0..self.names.len();
        let up: Vec<usize> = nodes.clone().filter(|node| self.states.borrow()[*node].mesh.is_some()).collect();
        Look {
            calm,
            suspects: self.meshes().iter().any(|(_, mesh)| !mesh.suspected().is_empty()),
            split: split_unseen || self.is_split(),
            slow: self.is_slow(),
            frozen: nodes.clone().filter(|node| self.is_frozen(*node)).collect(),
            neighbours: if split_unseen {
                nodes.clone().map(|node| BTreeSet::from([node])).collect()
            } else if !self.is_apart() && !self.is_slow() {
                vec![BTreeSet::new(); self.names.len()]
            } else {
                nodes.map(|node| self.neighbours(node)).collect()
            },
            up: up.into_iter().map(|node| (node, self.life(node))).collect(),
            repaired,
            ready: self.newly_ready(ids),
        }
    }

    /// The nodes to which everything passes from `node`, and from which everything comes; itself too.
    #[must_use]
    pub fn neighbours(&self, node: usize) -> BTreeSet<usize> {
        let open = |other: &usize| {
            let pair = (node.min(*other), node.max(*other));
            let slow =
                [pair, (pair.1, pair.0)].iter().filter_map(|pair| self.slow.get(pair)).any(|ms| is_too_slow(*ms));
            !slow
                && !self.holds.contains(&pair)
                && !self.held_streams.contains(&pair)
                && !self.cuts.contains(&(node, *other))
                && !self.cuts.contains(&(*other, node))
        };
        (0..self.names.len()).filter(open).collect()
    }

    /// Nodes that take requests.
    #[must_use]
    pub fn serving(&self) -> Vec<usize> {
        let states = self.states.borrow();
        (0..states.len()).filter(|node| states[*node].jobs.is_some()).collect()
    }

    /// The life that a node is in.
    #[must_use]
    pub fn life(&self, node: usize) -> u32 {
        self.states.borrow()[node].lives
    }

    /// Runs `job` on a node. The answer never comes if the node dies meanwhile.
    pub fn ask<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        node: usize,
        job: impl FnOnce(Mesh) -> F + 'static,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |mesh| {
            Box::pin(async move {
                let _ = reply.send(job(mesh).await);
            })
        });
        if let Some(jobs) = &self.states.borrow()[node].jobs {
            let _ = jobs.send(job);
        }
        answer
    }

    /// Why the cluster is not calm: every node that is up is ready, and all see exactly the nodes that are up.
    #[must_use]
    pub fn unrest(&self) -> Option<String> {
        if self.is_disturbed() {
            return Some("links are disturbed".to_owned());
        }
        self.unready()
    }

    /// Why not every node that is up is ready and sees exactly the nodes that are up, disturbed or not.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let states = self.states.borrow();
        let mut up = Vec::new();
        for (state, name) in states.iter().zip(&self.names).filter(|(state, _)| !state.down) {
            match &state.mesh {
                Some(mesh) if state.jobs.is_some() => up.push((name, mesh)),
                _ => return Some(format!("{name} is starting or leaving")),
            }
        }
        // Views are sorted by name.
        up.sort_by_key(|(name, _)| name.as_str());
        let mut first: Option<Vec<u64>> = None;
        for (name, mesh) in &up {
            let members = mesh.members();
            if !mesh.is_ready() || members.iter().any(|member| member.state != MemberState::Ready) {
                return Some(format!("not all are ready by the view of {name}"));
            }
            if !members.iter().map(|member| &*member.name).eq(up.iter().map(|(name, _)| name.as_str())) {
                let seen: Vec<_> = members.iter().map(|member| &*member.name).collect();
                return Some(format!("{name} sees {seen:?}"));
            }
            let incarnations: Vec<u64> = members.iter().map(|member| member.incarnation).collect();
            if *first.get_or_insert_with(|| incarnations.clone()) != incarnations {
                return Some(format!("{name} sees other incarnations"));
            }
        }
        None
    }

    /// Why the cluster has not settled: it is calm, nothing is under way, and all of `ids` are held by their owners,
    /// equally, and by nobody else.
    #[must_use]
    pub fn unsettled(&self, ids: &BTreeSet<SessionId>) -> Option<String> {
        if let Some(why) = self.unrest() {
            return Some(why);
        }
        let meshes = self.meshes();
        for (name, mesh) in &meshes {
            let stats = mesh.stats();
            if stats.outbox > 0 || stats.waiting_commits > 0 || stats.renewals_in_progress > 0 {
                let (outbox, commits, following) = (stats.outbox, stats.waiting_commits, stats.renewals_in_progress);
                return Some(format!(
                    "{name} has {outbox} sessions to send, {commits} commits wait, {following} renewals are followed"
                ));
            }
            if let Some(suspected) = stats.suspected.first() {
                return Some(format!("{name} suspects {suspected}"));
            }
            if stats.sessions + stats.ended != stats.owned {
                let held = stats.sessions + stats.ended;
                return Some(format!("{name} holds {held} sessions but owns only {} of them", stats.owned));
            }
        }
        let by_name: BTreeMap<&str, &Mesh> = meshes.iter().map(|(name, mesh)| (name.as_str(), mesh)).collect();
        for id in ids {
            let owners = meshes.first()?.1.owners(*id);
            let digests: BTreeSet<_> = owners.iter().map(|owner| by_name[&**owner].digest(*id)).collect();
            if digests.len() > 1 {
                let held: Vec<_> = owners.iter().map(|owner| (owner, by_name[&**owner].digest(*id))).collect();
                return Some(format!("the owners of {id} differ: {held:x?}"));
            }
        }
        None
    }

    /// The figures of all nodes.
    #[must_use]
    pub fn stats(&self) -> Vec<(String, Stats)> {
        self.meshes().into_iter().map(|(name, mesh)| (name, mesh.stats())).collect()
    }

    /// The figures of all nodes, for the report of a failure.
    #[must_use]
    pub fn figures(&self) -> String {
        self.stats().iter().map(|(name, stats)| format!("\n  {name}: {stats:?}")).collect()
    }

    fn meshes(&self) -> Vec<(String, Mesh)> {
        let states = self.states.borrow();
        let up = states.iter().zip(&self.names);
        up.filter_map(|(state, name)| Some((name.clone(), state.mesh.clone()?))).collect()
    }
}

/// Whether nodes take each other for silent over a link on which a message takes so long.
fn is_too_slow(ms: u64) -> bool {
    2 * ms > SILENT_MS
}

/// One life of a node: it starts, takes jobs, and ends when the host crashes.
async fn live(node: usize, shared: Shared) -> Result<(), Box<dyn std::error::Error>> {
    let (states, gate) = (shared.states.clone(), Gate::new());
    let (life, skew_ms) = {
        let state = &mut states.borrow_mut()[node];
        state.lives += 1;
        (state.gate, state.frozen, state.ready) = (gate.clone(), false, false);
        state.since_ms = now_ms();
        (state.lives, state.skew_ms.clone())
    };
    if life > 1 {
        skew_ms.fetch_sub(shared.scenario.set_back_ms, Ordering::Relaxed);
    }
    let mesh = gate.guard(build(node, life, &shared, gate.clone(), skew_ms).start()).await?;
    let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
    {
        let state = &mut states.borrow_mut()[node];
        state.mesh = Some(mesh.clone());
        state.jobs = Some(jobs);
    }
    let mut events = mesh.events();
    let observed = shared.observed.clone();
    tokio::task::spawn_local(gate.guard(async move {
        while let Some(event) = events.next().await {
            observed.borrow_mut().push(ObservedEvent { at_ms: now_ms(), node, event });
        }
    }));
    let _clear = ClearWhenDropped { node, states: states.clone() };
    while let Some(job) = waiting.recv().await {
        tokio::task::spawn_local(gate.guard(job(mesh.clone())));
    }
    // It leaves: the last jobs go on, and the host stays until the driver starts it again.
    while states.borrow()[node].mesh.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(mesh);
    states.borrow_mut()[node].down = true;
    std::future::pending().await
}

/// Simulated time since the start, on a host.
fn now_ms() -> u64 {
    u64::try_from(turmoil::sim_elapsed().unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

struct ClearWhenDropped {
    node: usize,
    states: NodeStates,
}

impl Drop for ClearWhenDropped {
    fn drop(&mut self) {
        let (mesh, jobs) = {
            let state = &mut self.states.borrow_mut()[self.node];
            (state.mesh.take(), state.jobs.take())
        };
        drop((mesh, jobs));
    }
}

fn build(node: usize, life: u32, shared: &Shared, gate: Gate, skew_ms: Arc<AtomicI64>) -> sessionmesh::MeshBuilder {
    let Shared { scenario, addrs, .. } = shared;
    let seed = scenario.seed ^ ((node as u64 + 1) << 32) ^ (u64::from(life) << 48);
    let others = (0..addrs.len()).filter(|other| *other != node || addrs.len() == 1);
    let discovery = match scenario.discovery {
        Discovery::Multicast => Ways::multicast(),
        Discovery::Seeds => Ways::seeds(others.map(|other| SocketAddr::from((addrs[other], PORT)).to_string())),
        Discovery::Names => Ways::seeds(others.map(|other| format!("n{other}:{PORT}"))),
    };
    let mode = if life > 1 { scenario.later_mode.unwrap_or(scenario.mode) } else { scenario.mode };
    let mode = match mode {
        Mode::AllToAll => sessionmesh::Mode::AllToAll,
        Mode::PrimaryBackup(backups) => sessionmesh::Mode::PrimaryBackup { backups },
    };
    let ack = match scenario.ack {
        Ack::Owners => sessionmesh::Ack::Owners,
        Ack::Copies(copies) => sessionmesh::Ack::Copies(copies),
        Ack::Local => sessionmesh::Ack::Local,
    };
    let (impairments, trace, recorder) = (shared.impairments.clone(), shared.trace.clone(), shared.recorder.clone());
    let host = Host { node, me: addrs[node], impairments, gate, seed, trace, recorder };
    Mesh::builder()
        .name(format!("n{node}"))
        .bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))
        .advertise(SocketAddr::from((addrs[node], PORT)))
        .insecure(true)
        .mode(mode)
        .ack(ack)
        .strict(scenario.strict)
        .max_inactive(Duration::from_millis(scenario.idle_ms))
        .audit_interval(Duration::from_millis(scenario.audit_ms))
        .discovery(discovery)
        .network(Arc::new(SimNetwork::new(host)))
        .clock(Arc::new(SimClock::new(skew_ms)))
        .seed(seed)
}
