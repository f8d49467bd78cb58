//! The nodes of a run, their lives, and the links between them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use sessionmesh::{AckName, Discovery as Ways, MemberState, Mesh, ModeName, SessionId};
use tokio::sync::{mpsc, oneshot};
use turmoil::Sim;

use crate::clock::{EPOCH_MS, SimClock};
use crate::network::{DatagramFaults, SimNetwork, Trace};
use crate::record::Recorder;
use crate::record::timeline::Disturbed;
use crate::scenario::{Discovery, Fault, Mode, Scenario};

/// The port of every node.
const PORT: u16 = 7400;
/// How long a planned stop may take.
const LEAVE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(Mesh) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What is known of one node from outside.
#[derive(Default)]
struct Seat {
    mesh: Option<Mesh>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    lives: u32,
    down: bool,
}

type Seats = Rc<RefCell<Vec<Seat>>>;

/// The nodes and the network between them.
pub struct Cluster {
    sim: Sim<'static>,
    seats: Seats,
    names: Vec<String>,
    cuts: BTreeSet<(usize, usize)>,
    holds: BTreeSet<(usize, usize)>,
    /// Nodes that left without being able to hand over all.
    lost: Rc<RefCell<Vec<usize>>>,
    trace: Trace,
    recorder: Recorder,
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
            .min_message_latency(Duration::from_millis(scenario.latency_ms.0))
            .max_message_latency(Duration::from_millis(scenario.latency_ms.1))
            .tcp_capacity(8192)
            .udp_capacity(8192)
            .build();
        let seats: Seats = Rc::default();
        let names: Vec<String> = (0..scenario.nodes).map(|node| format!("n{node}")).collect();
        let addrs: Vec<IpAddr> = names.iter().map(|name| sim.lookup(name.as_str())).collect();
        for (node, name) in names.iter().enumerate() {
            seats.borrow_mut().push(Seat::default());
            let (scenario, seats, addrs, trace) = (scenario.clone(), seats.clone(), addrs.clone(), trace.clone());
            let network = (trace, recorder.clone());
            sim.host(name.as_str(), move || {
                live(node, scenario.clone(), seats.clone(), addrs.clone(), network.clone())
            });
        }
        Self { sim, seats, names, cuts: BTreeSet::new(), holds: BTreeSet::new(), lost: Rc::default(), trace, recorder }
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
        self.trace.note(fault.to_string().as_bytes());
        match *fault {
            Fault::Crash(node) => {
                self.sim.crash(self.names[node].as_str());
                self.seats.borrow_mut()[node].down = true;
                return Some(node);
            }
            Fault::PowerLoss(node) => {
                let before = self.cuts.clone();
                for other in (0..self.names.len()).filter(|other| *other != node) {
                    self.cuts.extend([(node, other), (other, node)]);
                }
                self.apply_links();
                self.inflict(&Fault::Crash(node));
                self.cuts = before;
                self.apply_links();
                return Some(node);
            }
            Fault::Start(node) => {
                if self.seats.borrow()[node].down {
                    self.seats.borrow_mut()[node].down = false;
                    self.sim.bounce(self.names[node].as_str());
                }
            }
            Fault::Leave(node) => {
                let (seats, lost) = (self.seats.clone(), self.lost.clone());
                drop(self.ask(node, move |mesh| async move {
                    let handed_over = mesh.leave(LEAVE).await.is_ok() && mesh.members().len() > 1;
                    if !handed_over {
                        lost.borrow_mut().push(node);
                    }
                    // The node has stopped; the host waits to be started again.
                    seats.borrow_mut()[node].mesh = None;
                }));
                // No new requests go to it.
                self.seats.borrow_mut()[node].jobs = None;
            }
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
            Fault::Heal => {
                self.cuts.clear();
                self.holds.clear();
                self.apply_links();
            }
        }
        None
    }

    /// The nodes that left since the last call and could not hand over all, or had nobody to take it: as good as
    /// crashed.
    #[must_use]
    pub fn left_with_losses(&self) -> Vec<usize> {
        self.lost.take()
    }

    /// Heals all links and starts all nodes that are down.
    pub fn heal(&mut self) {
        self.inflict(&Fault::Heal);
        for node in 0..self.names.len() {
            self.inflict(&Fault::Start(node));
        }
    }

    /// turmoil keeps one state for each direction of a link, so all are set from the faults that are active.
    fn apply_links(&self) {
        let holds = self.holds.iter().map(|(one, other)| Disturbed::Held(*one, *other));
        let cuts = self.cuts.iter().map(|(from, to)| Disturbed::Cut(*from, *to));
        self.recorder.disturbed(self.now_ms(), cuts.chain(holds));
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

    /// Whether any link is disturbed.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        !self.cuts.is_empty() || !self.holds.is_empty()
    }

    /// Whether something that was sent is lost.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Nodes that take requests.
    #[must_use]
    pub fn serving(&self) -> Vec<usize> {
        let seats = self.seats.borrow();
        (0..seats.len()).filter(|node| seats[*node].jobs.is_some()).collect()
    }

    /// The life that a node is in.
    #[must_use]
    pub fn life(&self, node: usize) -> u32 {
        self.seats.borrow()[node].lives
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
        if let Some(jobs) = &self.seats.borrow()[node].jobs {
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
        let seats = self.seats.borrow();
        let mut up = Vec::new();
        for (seat, name) in seats.iter().zip(&self.names).filter(|(seat, _)| !seat.down) {
            match &seat.mesh {
                Some(mesh) if seat.jobs.is_some() => up.push((name, mesh)),
                _ => return Some(format!("{name} is starting or leaving")),
            }
        }
        let mut first: Option<Vec<(Arc<str>, u64)>> = None;
        for (name, mesh) in &up {
            let members = mesh.members();
            if !mesh.is_ready() || members.iter().any(|member| member.state != MemberState::Ready) {
                return Some(format!("not all are ready by the view of {name}"));
            }
            let seen: Vec<_> = members.iter().map(|member| (member.name.clone(), member.incarnation)).collect();
            if !seen.iter().map(|(name, _)| &**name).eq(up.iter().map(|(name, _)| name.as_str())) {
                let seen: Vec<_> = seen.iter().map(|(name, _)| &**name).collect();
                return Some(format!("{name} sees {seen:?}"));
            }
            if *first.get_or_insert_with(|| seen.clone()) != seen {
                return Some(format!("{name} sees other incarnations"));
            }
        }
        None
    }

    /// Whether some node suspects another.
    #[must_use]
    pub fn suspects(&self) -> bool {
        self.meshes().iter().any(|(_, mesh)| !mesh.stats().suspected.is_empty())
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
            if stats.outbox > 0 || stats.waiting_commits > 0 {
                let (outbox, commits) = (stats.outbox, stats.waiting_commits);
                return Some(format!("{name} has {outbox} sessions to send, and {commits} commits wait"));
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

    /// The figures of all nodes, for the report of a failure.
    #[must_use]
    pub fn figures(&self) -> String {
        self.meshes().iter().map(|(name, mesh)| format!("\n  {name}: {:?}", mesh.stats())).collect()
    }

    fn meshes(&self) -> Vec<(String, Mesh)> {
        let seats = self.seats.borrow();
        let up = seats.iter().zip(&self.names);
        up.filter_map(|(seat, name)| Some((name.clone(), seat.mesh.clone()?))).collect()
    }
}

/// One life of a node: it starts, takes jobs, and ends when the host crashes.
async fn live(
    node: usize,
    scenario: Rc<Scenario>,
    seats: Seats,
    addrs: Vec<IpAddr>,
    network: (Trace, Recorder),
) -> Result<(), Box<dyn std::error::Error>> {
    let life = {
        let seat = &mut seats.borrow_mut()[node];
        seat.lives += 1;
        seat.lives
    };
    let seed = scenario.seed ^ ((node as u64 + 1) << 32) ^ (u64::from(life) << 48);
    let mesh = build(node, life, seed, &scenario, &addrs, network).start().await?;
    let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
    {
        let seat = &mut seats.borrow_mut()[node];
        seat.mesh = Some(mesh.clone());
        seat.jobs = Some(jobs);
    }
    let _vacate = Vacate { node, seats: seats.clone() };
    while let Some(job) = waiting.recv().await {
        tokio::task::spawn_local(job(mesh.clone()));
    }
    // It leaves: the last jobs go on, and the host stays until the driver starts it again.
    while seats.borrow()[node].mesh.is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(mesh);
    seats.borrow_mut()[node].down = true;
    std::future::pending().await
}

struct Vacate {
    node: usize,
    seats: Seats,
}

impl Drop for Vacate {
    fn drop(&mut self) {
        let (mesh, jobs) = {
            let seat = &mut self.seats.borrow_mut()[self.node];
            (seat.mesh.take(), seat.jobs.take())
        };
        drop((mesh, jobs));
    }
}

fn build(
    node: usize,
    life: u32,
    seed: u64,
    scenario: &Scenario,
    addrs: &[IpAddr],
    (trace, recorder): (Trace, Recorder),
) -> sessionmesh::MeshBuilder {
    let faults = DatagramFaults { lost: scenario.datagrams.0, doubled: scenario.datagrams.1 };
    let skew = scenario.skew_ms[node] - scenario.set_back_ms * i64::from(life - 1);
    let others = (0..addrs.len()).filter(|other| *other != node || addrs.len() == 1);
    let discovery = match scenario.discovery {
        Discovery::Multicast => Ways::multicast(),
        Discovery::Seeds => Ways::seeds(others.map(|other| SocketAddr::from((addrs[other], PORT)).to_string())),
        Discovery::Names => Ways::seeds(others.map(|other| format!("n{other}:{PORT}"))),
    };
    let (mode, backups) = match scenario.mode {
        Mode::AllToAll => (ModeName::AllToAll, 1),
        Mode::PrimaryBackup(backups) => (ModeName::PrimaryBackup, backups),
    };
    Mesh::builder()
        .name(format!("n{node}"))
        .bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))
        .advertise(SocketAddr::from((addrs[node], PORT)))
        .insecure(true)
        .mode(mode)
        .backups(backups)
        .ack(if scenario.copies.is_some() { AckName::Copies } else { AckName::Owners })
        .ack_copies(scenario.copies.unwrap_or(1))
        .audit_interval(Duration::from_millis(scenario.audit_ms))
        .discovery(discovery)
        .network(Arc::new(SimNetwork::new(faults, seed, trace).recorded(recorder, node)))
        .clock(Arc::new(SimClock::new(skew)))
        .seed(seed)
}
