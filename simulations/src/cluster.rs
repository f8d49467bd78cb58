//! The nodes of a run, their lives, and the links between them.
//!
//! `life`: one node, from its start to its end. `faults`: what goes wrong with nodes and links. `links`: what that
//! makes of the links. `look`, `settled`: the cluster as a whole, for the oracle and for who waits until all is well.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, UNIX_EPOCH};

use sessionmesh::record_store::RecordStore;
use sessionmesh::{Kept, Mesh, Stats};
use tokio::sync::oneshot;
use turmoil::Sim;

use crate::clock::EPOCH_MS;
use crate::impairments::{Down, Impairments};
use crate::network::Trace;
use crate::oracle::ObservedEvent;
use crate::record::Recorder;
use crate::scenario::Scenario;
use crate::tcp::Tcp;

mod certificates;
mod faults;
mod life;
mod links;
pub(crate) mod look;
pub(crate) mod settled;

use certificates::CertificateFiles;
use life::{Job, NodeState, NodeStates, live};

/// Who does not answer for so long is taken for gone by reads, so a link on which answers take longer is a partition: 7/10
/// of the commit deadline, less what else may take time.
const SILENT_MS: u64 = 300;

/// A planned stop.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// The node.
    pub node: usize,
    /// It handed over all that it held. If not, or if there was nobody to take it, it is as good as crashed.
    pub handed_over: bool,
    /// So many others it saw, that do not leave themselves.
    pub stayed: usize,
}

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
    /// Connections were reset since somebody last looked.
    reset_unseen: bool,
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
    tcp: Tcp,
    trace: Trace,
    recorder: Recorder,
    /// Nodes that left, and whether they could hand over all.
    left: Rc<RefCell<Vec<Departure>>>,
    observed: Rc<RefCell<Vec<ObservedEvent>>>,
    certificates: Option<Rc<CertificateFiles>>,
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
            .udp_capacity(8192)
            .build();
        let names: Vec<String> = (0..scenario.nodes).map(|node| format!("n{node}")).collect();
        let impairments = Impairments::new(scenario.network, scenario.seed);
        let tcp = Tcp::new(impairments.clone(), scenario.network.streams, scenario.seed);
        let shared = Shared {
            scenario: scenario.clone(),
            states: Rc::default(),
            addrs: Rc::new(names.iter().map(|name| sim.lookup(name.as_str())).collect()),
            impairments,
            tcp,
            trace,
            recorder,
            left: Rc::default(),
            observed: Rc::default(),
            certificates: scenario.certificates.then(|| Rc::new(CertificateFiles::new())),
        };
        let late: BTreeSet<usize> = (scenario.nodes - scenario.late..scenario.nodes).collect();
        for (node, name) in names.iter().enumerate() {
            let skew_ms = Arc::new(AtomicI64::new(scenario.skew_ms.get(node).copied().unwrap_or(0)));
            shared.states.borrow_mut().push(NodeState { skew_ms, down: late.contains(&node), ..NodeState::default() });
            let of_host = shared.clone();
            sim.host(name.as_str(), move || live(node, of_host.clone()));
            if late.contains(&node) {
                sim.crash(name.as_str());
                shared.impairments.set_down(shared.addrs[node], Some(Down::Process));
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
            reset_unseen: false,
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

    /// The nodes that left since the last call.
    #[must_use]
    pub fn left(&self) -> Vec<Departure> {
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

    /// Whether the node is frozen.
    #[must_use]
    pub fn is_frozen(&self, node: usize) -> bool {
        self.states.borrow()[node].frozen
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

    /// The record store of a node.
    #[must_use]
    pub fn store(&self, node: usize) -> Option<RecordStore> {
        self.states.borrow()[node].store.clone()
    }

    /// What each node keeps, and has under way.
    #[must_use]
    pub fn kept(&self) -> Vec<(String, Kept)> {
        self.meshes().into_iter().map(|(name, mesh)| (name, mesh.kept())).collect()
    }

    /// The figures of all nodes. It takes a while to count them: see [`Cluster::kept`].
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
