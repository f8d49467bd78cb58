//! What is known of one node, and its lives: each begins with a start, takes jobs, and ends with the host or a planned
//! stop.

use std::cell::RefCell;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sessionmesh::record_store::RecordStore;
use sessionmesh::{Discovery as Ways, Gate, Mesh, MeshBuilder, Secret, UserIndex, Versions};
use sessionmesh_core::wire::version::Version;
use tokio::sync::mpsc;

use super::Shared;
use crate::clock::SimClock;
use crate::network::{Host, SimNetwork};
use crate::oracle::{ObservedEvent, USER};
use crate::scenario::product::Product;
use crate::scenario::{Ack, Discovery, Mode, Scenario};

/// The port of every node.
const PORT: u16 = 7400;

pub(super) type Job = Box<dyn FnOnce(Mesh) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What is known of one node from outside.
#[derive(Default)]
pub(super) struct NodeState {
    pub(super) mesh: Option<Mesh>,
    /// The record store of this life.
    pub(super) store: Option<RecordStore>,
    pub(super) jobs: Option<mpsc::UnboundedSender<Job>>,
    pub(super) lives: u32,
    pub(super) down: bool,
    /// Shut while the process is frozen; a new one for each life.
    pub(super) gate: Gate,
    pub(super) frozen: bool,
    /// Since when it is frozen, or not.
    pub(super) frozen_since_ms: u64,
    /// When this life began.
    pub(super) since_ms: u64,
    /// It was seen to be ready.
    pub(super) ready: bool,
    /// By how much the wall clock is wrong.
    pub(super) skew_ms: Arc<AtomicI64>,
}

pub(super) type NodeStates = Rc<RefCell<Vec<NodeState>>>;

/// One life of a node: it starts, takes jobs, and ends when the host crashes.
pub(super) async fn live(node: usize, shared: Shared) -> Result<(), Box<dyn std::error::Error>> {
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
        state.store = Some(RecordStore::new(mesh.clone()));
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
        let all = {
            let state = &mut self.states.borrow_mut()[self.node];
            (state.mesh.take(), state.store.take(), state.jobs.take())
        };
        drop(all);
    }
}

/// The same one in each run that has one: runs repeat.
fn secret(scenario: &Scenario) -> Vec<Secret> {
    const SECRET: &str = "3q2Jf0dXUzVbq7mRk1sYgE5wA9tLhPcOiZ8nTuB6vKo=";
    let parse = || Secret::parse(SECRET).expect("32 bytes that look random");
    scenario.secret.then(parse).into_iter().collect()
}

/// Another one, which is used in later lives; both are understood in all.
fn rotated(scenario: &Scenario, life: u32, mut secrets: Vec<Secret>) -> Vec<Secret> {
    const LATER: &str = "h0Vx8tDkq1ZsN4mBYwS7cL2eRfJ9uGpA6iTvoKzXb3M=";
    if scenario.product.rotation && !secrets.is_empty() {
        let at = if life > 1 { 0 } else { secrets.len() };
        secrets.insert(at, Secret::parse(LATER).expect("32 bytes that look random"));
    }
    secrets
}

/// In an upgrade nodes of both versions are there from the start, and whoever starts again has the later one.
fn versions(scenario: &Scenario, node: usize, life: u32) -> Versions {
    let newest = if scenario.upgrade && (life > 1 || node % 2 == 1) { Version::REHEARSED } else { Version::NEWEST };
    Versions::new(Version::OLDEST.number(), newest.number())
}

/// Others hear of another port by beacons only.
fn port(scenario: &Scenario, life: u32) -> u16 {
    let moved = scenario.product.moved_ports && scenario.discovery == Discovery::Multicast;
    if moved { PORT + u16::try_from(life - 1).unwrap_or(0) % 100 } else { PORT }
}

fn with_product(mut builder: MeshBuilder, node: usize, product: &Product) -> MeshBuilder {
    if product.users > 0 {
        builder = builder.user_index(UserIndex::pointer(USER, "/0")).max_sessions_per_user(product.sessions_per_user);
    }
    if product.zones > 0 {
        builder = builder.zone(format!("z{}", node % product.zones));
    }
    if product.retention_ms > 0 {
        builder = builder.tombstone_retention(Duration::from_millis(product.retention_ms));
    }
    if product.max_sessions > 0 {
        builder = builder.max_sessions(product.max_sessions);
    }
    if product.max_value_bytes > 0 {
        builder = builder.max_value_bytes(product.max_value_bytes);
    }
    builder
}

fn build(node: usize, life: u32, shared: &Shared, gate: Gate, skew_ms: Arc<AtomicI64>) -> MeshBuilder {
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
    let (impairments, tcp) = (shared.impairments.clone(), shared.tcp.clone());
    let (trace, recorder) = (shared.trace.clone(), shared.recorder.clone());
    let host = Host { node, me: addrs[node], impairments, tcp, gate, seed, trace, recorder };
    let builder = match &shared.certificates {
        Some(files) => files.give(Mesh::builder()),
        None => Mesh::builder(),
    };
    with_product(builder, node, &scenario.product)
        .name(format!("n{node}"))
        .bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port(scenario, life))))
        .advertise(SocketAddr::from((addrs[node], port(scenario, life))))
        .insecure(!scenario.secret && !scenario.certificates)
        .secret(rotated(scenario, life, secret(scenario)))
        .protocol_versions(versions(scenario, node, life))
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
