//! The parts of a [`Node`](super::node::Node), each with what belongs to one concern.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::rngs::StdRng;
use sessionmesh_core::id::NodeHash;
use sessionmesh_core::liveness::stall::Stall;
use sessionmesh_core::membership::lost::LostMembers;
use sessionmesh_core::replication::acks::Acks;
use sessionmesh_core::replication::release::HandoffConfirmations;
use sessionmesh_core::stamp::LamportClock;
use sessionmesh_core::terms::Terms;
use sessionmesh_core::wire::version::Versions;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::evidence::Reports;
use super::expiry_holds::ExpiryHolds;
use super::inbox::Inbox;
use super::lateness::Lateness;
use super::lease_cache::LeaseCache;
use super::progress::HighWaterMark;
use super::served::Served;
use super::spare_descriptors::SpareDescriptors;
use super::topology::Topology;
use super::unknown_ids::UnknownIds;
use crate::clock::Clock;
use crate::life::Life;
use crate::membership::Carried;
use crate::network::Network;
use crate::security::Security;

/// Who this node is to others.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) hash: NodeHash,
    pub(crate) incarnation: u64,
    /// Where other nodes reach this one.
    pub(crate) advertise: SocketAddr,
    /// What this node says about things that concern all members; what is in force is in the view.
    pub(crate) terms: Terms,
    /// Which versions of the protocol this node speaks.
    pub(crate) versions: Versions,
}

/// What reaches outside of the process, and can be replaced by a simulation.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) security: Arc<Security>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What the clock said when the node started.
    pub(crate) started: Duration,
    /// What is done at intervals is done at multiples of a tick from here on, so that it shares its wake-ups.
    pub(crate) ticks_from: Instant,
    pub(crate) rng: Mutex<StdRng>,
    /// Whether ids are drawn from it, too, so that a run can be repeated. Else they come from the system.
    pub(crate) is_seeded: bool,
}

/// The other members, and what this node may do beside them.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) topology: ArcSwap<Topology>,
    /// Members that vanished without leaving.
    pub(crate) lost: Mutex<LostMembers>,
    /// Until when the other members let this node answer for its own copies.
    pub(crate) lease_cache: LeaseCache,
    /// Whether this node itself ran of late. Only the monitor changes it.
    pub(crate) stall: ArcSwap<Stall>,
    /// How late the ticks of the monitor come.
    pub(crate) lateness: Lateness,
    /// What is learned about members, for the task that computes the view.
    pub(crate) reports: Reports,
    /// Where strangers that dialled take links, for whoever talks to gossip.
    pub(crate) strangers: mpsc::Sender<SocketAddr>,
    /// Where gossip goes that a connection has carried here.
    pub(crate) gossip: mpsc::Sender<Carried>,
}

/// What was sent to whom, and what they confirmed.
#[derive(Debug)]
pub(crate) struct Replication {
    pub(crate) lamport: LamportClock,
    /// Commits that wait for copies.
    pub(crate) acks: Mutex<Acks<oneshot::Sender<usize>>>,
    /// Owners that keep what this node hands off.
    pub(crate) confirmations: Mutex<HandoffConfirmations>,
    /// The epoch for which the hand-off scan of the store is complete.
    pub(crate) scanned: HighWaterMark,
    pub(crate) expiry_holds: ExpiryHolds,
    /// Tasks that follow a renewal: see [`Stats::renewals_in_progress`](crate::Stats::renewals_in_progress).
    pub(crate) renewals_followed: AtomicUsize,
}

/// From the start of the node to its end.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// All tasks of this node start here, and a failure of the node is told.
    pub(crate) life: Life,
    pub(crate) stop: CancellationToken,
    /// The node has handed over what it held and takes no commits any more.
    pub(crate) closed: AtomicBool,
    /// Something changed that readiness, a drain or a reader may wait for.
    pub(crate) changed: Notify,
    /// How often the node has discarded what it held and joined anew.
    pub(crate) joins: AtomicU64,
    /// It has done so just now.
    pub(crate) rejoin: Notify,
    /// What the others said, when they were asked last, of how much this node will have when it is ready.
    pub(crate) expected: Mutex<Option<Expected>>,
}

/// About how many sessions a node that joins will have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// When the others were asked.
    pub(crate) asked: Instant,
    /// As many.
    pub(crate) sessions: usize,
}

/// What keeps the work that strangers and crowds can cause within limits.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// Room for messages that are arriving.
    pub(crate) inbox: Inbox,
    /// File descriptors for links.
    pub(crate) spare: SpareDescriptors,
    /// Connections of each node.
    pub(crate) served: Served,
    /// Ids that nobody knew a moment ago.
    pub(crate) unknown: Mutex<UnknownIds>,
}

impl Replication {
    /// Of a node that has sent nothing yet.
    pub(crate) fn new(node: NodeHash) -> Self {
        Self {
            lamport: LamportClock::new(node),
            acks: Mutex::default(),
            confirmations: Mutex::default(),
            scanned: HighWaterMark::new(1),
            expiry_holds: ExpiryHolds::default(),
            renewals_followed: AtomicUsize::new(0),
        }
    }
}

impl Lifecycle {
    /// Of a node that joins for the first time.
    pub(crate) fn new(life: Life) -> Self {
        Self {
            stop: life.stop().clone(),
            life,
            closed: AtomicBool::new(false),
            changed: Notify::new(),
            joins: AtomicU64::new(0),
            rejoin: Notify::new(),
            expected: Mutex::default(),
        }
    }
}
