//! The state that all tasks of a node share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::Rng as _;
use rand::rand_core::UnwrapErr;
use rand::rngs::OsRng;
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::{NodeHash, SessionId, Slot};
use sessionmesh_core::interleave;
use sessionmesh_core::liveness::leases;
use sessionmesh_core::liveness::peer::PeerStatus;
use sessionmesh_core::liveness::timing::Timing;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::transition;
use sessionmesh_core::stamp::Stamp;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::parts::{Bounds, Cluster, Identity, Lifecycle, Ports, Replication};
use super::peer::Peer;
use super::store::Store;
use super::telemetry::Telemetry;
use super::topology::Topology;
use crate::config::Config;
use crate::error::Failure;
use crate::event::Event;
use crate::lock::lock;
use crate::security::Refusal;

/// One running node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// The times that this node goes by.
    pub(crate) timing: Timing,
    pub(crate) identity: Identity,
    pub(crate) ports: Ports,
    pub(crate) store: Store,
    pub(crate) cluster: Cluster,
    pub(crate) replication: Replication,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) telemetry: Telemetry,
    pub(crate) bounds: Bounds,
}

impl Node {
    /// Whether this node takes no commits any more: it has left, or a part of it has failed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lifecycle.closed.load(Ordering::SeqCst) || self.lifecycle.life.failure().is_some()
    }

    /// This node's time.
    #[cfg_attr(sessionmesh_simulation, track_caller)]
    pub(crate) fn now(&self) -> Moment {
        interleave::point();
        Moment::after_start(self.ports.clock.elapsed().saturating_sub(self.ports.started))
    }

    /// The cluster as it is seen now.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.cluster.topology.load_full()
    }

    /// The stamp of a new change. To be taken under the lock of the session.
    pub(crate) fn tick(&self) -> Stamp {
        if failpoint::planted(Bug::WallClockStamps) {
            self.replication.lamport.jump(self.ports.clock.wall_ms());
        }
        self.replication.lamport.tick()
    }

    /// Ticks every `period`, in step with everything else of this node that has a multiple of that period. What was missed
    /// is not made up for.
    pub(crate) fn ticks(&self, period: std::time::Duration) -> Interval {
        let mut ticks = interval_at(self.ports.ticks_from, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// A number below `bound`, from the injected randomness.
    pub(crate) fn random_below(&self, bound: u64) -> u64 {
        lock(&self.ports.rng).random_range(0..bound.max(1))
    }

    /// A new id in one of this node's home slots; in anybody's while it has none, because it is leaving.
    pub(crate) fn mint(&self) -> SessionId {
        let topology = self.topology();
        let mut rng = lock(&self.ports.rng);
        let slot = match topology.home.as_slice() {
            [] => Slot::masked(rng.random()),
            home => home[rng.random_range(0..home.len())],
        };
        if self.ports.is_seeded {
            return SessionId::mint(&mut *rng, slot);
        }
        drop(rng);
        // From the system each time: a generator of our own would go on alike in two copies of this process's memory, as
        // when a machine is resumed twice from one snapshot, and give two visitors the same id.
        SessionId::mint(&mut UnwrapErr(OsRng), slot)
    }

    /// Whether this node ran of late.
    pub(crate) fn is_awake(&self, now: Moment) -> bool {
        self.cluster.stall.load().is_awake(&self.timing, now)
    }

    /// A connection from this address was refused: counts it, and says so now and then.
    pub(crate) fn refused(&self, refusal: Refusal, from: IpAddr, why: &dyn std::fmt::Display) {
        let unsaid = self.ports.security.refusals.note(refusal);
        self.telemetry.emit_as(Event::Refused { reason: refusal.name(), text: format!("from {from}: {why}") }, unsaid);
    }

    /// Whether other machines can reach this node, and its traffic is not protected.
    pub(crate) fn is_exposed(&self) -> bool {
        let protected = self.config.is_protected() && !self.config.accept_plaintext;
        !protected && !(self.config.bind.ip().to_canonical().is_loopback())
    }

    /// When what is read at `now` may have come.
    pub(crate) fn arrived_at(&self, now: Moment) -> Moment {
        self.cluster.stall.load().arrived_at(&self.timing, now)
    }

    /// When the answer to what was asked at `asked` came, if it is read at `now`.
    pub(crate) fn answered_at(&self, asked: Moment, now: Moment) -> Moment {
        self.cluster.stall.load().answered_at(asked, &self.timing, now)
    }

    /// What the rules look at of this peer.
    pub(crate) fn status_of(&self, peer: &Peer, now: Moment) -> PeerStatus {
        let tick = self.cluster.stall.load().tick(&self.timing, now);
        // Who has no file descriptor for links cannot know who is silent.
        let could_hear = !self.bounds.spare.is_wanting(now);
        lock(&peer.liveness).status(tick, could_hear, &self.timing, &peer.timing, now)
    }

    /// The same of each member, and of former ones.
    pub(crate) fn statuses(&self, topology: &Topology, now: Moment) -> impl Fn(NodeHash) -> Option<PeerStatus> {
        move |node| topology.peer_or_former(node).map(|peer| self.status_of(peer, now))
    }

    /// Whether this node may answer for its own copies: it has all that its slots hold, and every other member lets it at
    /// this moment, under the present view.
    pub(crate) fn is_current(&self, topology: &Topology, now: Moment) -> bool {
        !topology.is_joining(topology.me) && self.is_leased(topology, now)
    }

    /// Whether every other member lets this node answer for its own copies at this moment, under the present view.
    pub(crate) fn is_leased(&self, topology: &Topology, now: Moment) -> bool {
        self.cluster.lease_cache.holds(topology.epoch, now) || self.has_all_leases(topology, now)
    }

    fn has_all_leases(&self, topology: &Topology, now: Moment) -> bool {
        let changes = self.cluster.lease_cache.changes();
        let peers = topology.peers().map(|peer| self.status_of(peer, now));
        let until = leases::leased_until(peers, topology.hash(), now);
        if let Some(until) = until {
            self.cluster.lease_cache.remember(topology.epoch, changes, until);
        }
        until.is_some()
    }

    /// Whether a change of the view still goes on: members that do not own a session may be the only ones to hold it.
    pub(crate) fn is_in_transition(&self, topology: &Topology, now: Moment) -> bool {
        let scanned = self.replication.scanned.get() == topology.epoch;
        let peers = topology.peers().map(|peer| self.status_of(peer, now));
        transition::is_in_transition(scanned, !topology.former.is_empty(), peers, topology.hash())
    }

    /// Whether nothing is owed to `peer` in the epoch of `topology`; noted, so that it counts from then on.
    pub(crate) fn mark_caught_up(&self, topology: &Topology, peer: &Peer) -> bool {
        let epoch = topology.epoch;
        if lock(&peer.liveness).is_caught_up(epoch) {
            return true;
        }
        let done = self.replication.scanned.get() == epoch && lock(&peer.outbox).owed() == 0;
        let mut liveness = lock(&peer.liveness);
        if done && !liveness.is_suspected() {
            liveness.mark_caught_up(epoch);
        }
        liveness.is_caught_up(epoch)
    }

    /// Stops at once, as in a crash: nothing is served or handed over any more. The first failure is the one that is told.
    pub(crate) fn fail(&self, failure: Failure) {
        self.lifecycle.life.fail(failure);
        self.lifecycle.changed.notify_waiters();
    }

    /// A life of this node's name with a larger number takes part: this one was replaced.
    pub(crate) fn replaced(&self, incarnation: u64) {
        self.fail(Failure::Replaced { name: self.config.name.clone(), incarnation });
    }

    /// A member sees a life of this node's name with the number `seen`. One that is only just joining waits for gossip to
    /// say so, too: the member may not have noticed the death of the life before, whose number was larger by its clock.
    pub(crate) fn refused_as_stale(&self, seen: u64) {
        let topology = self.cluster.topology.load();
        if seen > self.identity.incarnation && !topology.is_joining(topology.me) {
            self.replaced(seen);
        }
    }

    /// Counts an event, writes it into the log, and tells whoever listens.
    pub(crate) fn emit(&self, event: Event) {
        self.telemetry.emit(event);
    }
}
