//! The state that all tasks of a node share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use rand::Rng as _;
use rand::rngs::StdRng;
use sessionmesh_core::acks::{Acks, Holds, Targets};
use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::keeping::Keeping;
use sessionmesh_core::liveness::current;
use sessionmesh_core::liveness::peer::PeerStatus;
use sessionmesh_core::liveness::stall::Stall;
use sessionmesh_core::liveness::timing::Timing;
use sessionmesh_core::membership::lost::LostMembers;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::outbox::{Item, Lane, Sent};
use sessionmesh_core::placement::targets;
use sessionmesh_core::probe::{self, Bug, Path};
use sessionmesh_core::stamp::{LamportClock, Stamp};
use sessionmesh_core::terms::Terms;
use sessionmesh_core::view::{NodeHash, ViewHash};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::evidence::Reports;
use super::expiry_holds::ExpiryHolds;
use super::inbox::Inbox;
use super::keys::Keys;
use super::lateness::Lateness;
use super::peer::Peer;
use super::progress::HighWaterMark;
use super::seldom::Seldom;
use super::spare::Spare;
use super::store::Store;
use super::topology::Topology;
use super::trust::Trust;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Failure;
use crate::event::Event;
use crate::life::Life;
use crate::lock::lock;
use crate::membership::Carried;
use crate::network::Network;
use crate::seal::ConnectionSeal;
use crate::stats::Counters;

/// One running node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// What this node says about things that concern all members; what is in force is in the view.
    pub(crate) terms: Terms,
    pub(crate) timing: Timing,
    pub(crate) incarnation: u64,
    pub(crate) me: NodeHash,
    /// Where other nodes reach this one.
    pub(crate) advertise: std::net::SocketAddr,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) seal: Arc<dyn ConnectionSeal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: std::time::Duration,
    /// What is done at intervals is done at multiples of a beat from here on, so that it shares its wake-ups.
    pub(crate) born: tokio::time::Instant,
    pub(crate) store: Store,
    /// Room for messages that are arriving.
    pub(crate) inbox: Inbox,
    /// File descriptors for links.
    pub(crate) spare: Spare,
    /// How often it was said that links cannot be opened for want of descriptors.
    pub(crate) starving: Mutex<Seldom>,
    pub(crate) keys: Keys,
    pub(crate) lamport: LamportClock,
    pub(crate) topology: ArcSwap<Topology>,
    pub(crate) acks: Mutex<Acks<oneshot::Sender<usize>>>,
    pub(crate) keeping: Mutex<Keeping>,
    pub(crate) expiry_holds: ExpiryHolds,
    /// Tasks that follow renewals: see `Stats::following`.
    pub(crate) following: AtomicUsize,
    pub(crate) rng: Mutex<StdRng>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) counters: Counters,
    /// What is learned about members, for whoever computes the view.
    pub(crate) reports: Reports,
    /// Where strangers that dialled take links, for whoever talks to gossip.
    pub(crate) strangers: mpsc::Sender<std::net::SocketAddr>,
    /// Where gossip goes that a connection has carried here.
    pub(crate) gossip: mpsc::Sender<Carried>,
    /// The epoch whose walk through the store is complete.
    pub(crate) walked: HighWaterMark,
    /// Whether this node itself ran of late. Only the task that beats changes it.
    pub(crate) stall: ArcSwap<Stall>,
    /// Whether the other members let this node answer for its own copies.
    pub(crate) trust: Trust,
    /// How late the beats come.
    pub(crate) lateness: Lateness,
    /// Something changed that readiness, a drain or a reader may wait for.
    pub(crate) changed: Notify,
    /// How often the node has discarded what it held and joined anew.
    pub(crate) joins: AtomicU64,
    /// It has done so just now.
    pub(crate) rejoin: Notify,
    /// The node has handed over what it held and takes no commits any more.
    pub(crate) closed: AtomicBool,
    /// When people were told last of a node that was refused; 0 for never.
    pub(crate) refusal_told: AtomicU64,
    /// Members that vanished without leaving, see [`LostMembers`].
    pub(crate) lost: Mutex<LostMembers>,
    /// Ids that nobody knew a moment ago.
    pub(crate) unknown: Mutex<super::unknown::Unknown>,
    pub(crate) stop: CancellationToken,
    /// All tasks of this node start here, and a failure of the node is told.
    pub(crate) life: Life,
}

impl Node {
    /// Whether this node takes no commits any more: it has left, or a part of it has failed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) || self.life.failure().is_some()
    }

    /// This node's time.
    pub(crate) fn now(&self) -> Moment {
        Moment::after_start(self.clock.elapsed().saturating_sub(self.started))
    }

    /// The cluster as it is seen now.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// The stamp of a new change. To be taken under the lock of the session.
    pub(crate) fn tick(&self) -> Stamp {
        if probe::planted(Bug::WallClockStamps) {
            self.lamport.jump(self.clock.wall_ms());
        }
        self.lamport.tick()
    }

    /// Ticks every `period`, in step with everything else of this node that has a multiple of that period. What was missed
    /// is not made up for.
    pub(crate) fn ticks(&self, period: std::time::Duration) -> Interval {
        let mut ticks = interval_at(self.born, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// A number below `bound`, from the injected randomness.
    pub(crate) fn random_below(&self, bound: u64) -> u64 {
        lock(&self.rng).random_range(0..bound.max(1))
    }

    /// A new id in one of this node's home slots; in anybody's while it has none, because it is leaving.
    pub(crate) fn mint(&self) -> SessionId {
        let topology = self.topology();
        let mut rng = lock(&self.rng);
        let slot = match topology.home.as_slice() {
            [] => Slot::masked(rng.random()),
            home => home[rng.random_range(0..home.len())],
        };
        SessionId::mint(&mut *rng, slot)
    }

    /// Marks a session dirty for all who must have it: each owner, and a stand-in for each owner that is left out.
    ///
    /// The topology is read after the change was stored. If it changes meanwhile, the marks are made again, so either
    /// they or the walk of the view change sees the session.
    pub(crate) fn spread(&self, id: SessionId, from: Stamp, lane: Lane) {
        self.mark_for_all(id.into(), from, lane, true);
    }

    /// Like [`Node::spread`], but for the owners only: of what a node merely passes on, whoever made the change sees to
    /// the stand-ins. Two stand-ins that named each other would pass it on for ever.
    pub(crate) fn pass_on(&self, item: impl Into<Item>, from: Stamp, lane: Lane) {
        self.mark_for_all(item.into(), from, lane, false);
    }

    /// Passes on that a session was accessed.
    pub(crate) fn propagate_access(&self, id: SessionId) {
        self.spread(id, Stamp::PROBE, Lane::Usual);
    }

    fn mark_for_all(&self, item: Item, from: Stamp, lane: Lane, stand_ins: bool) {
        let mut epoch = None;
        loop {
            let topology = self.topology.load();
            if epoch == Some(topology.epoch) {
                return;
            }
            epoch = Some(topology.epoch);
            let now = self.now();
            let mut missing = 0;
            for owner in topology.owners(item.slot()) {
                let left_out = lock(&owner.liveness).is_left_out(now);
                missing += usize::from(left_out);
                let lane = if left_out { Lane::Bulk } else { lane };
                owner.mark(item, from, lane, false, now);
            }
            let status = self.statuses(&topology, now);
            let displaced = topology.displaced(item.slot(), &status, &self.timing, now);
            let stand_ins = if stand_ins { missing } else { 0 };
            let stand_ins = targets::stand_ins(&topology, item.slot(), stand_ins, &status);
            for peer in displaced.into_iter().chain(stand_ins).filter_map(|node| topology.peer_or_former(node)) {
                peer.mark(item, from, lane, false, now);
            }
        }
    }

    /// Whom a commit on a session in `slot` waits for.
    pub(crate) fn targets(&self, slot: Slot) -> Targets {
        let topology = self.topology.load();
        let now = self.now();
        let recovering = self.stall.load().is_recovering();
        targets::targets(&topology, slot, recovering, self.statuses(&topology, now), &self.timing, now)
    }

    /// `peer` answered that it holds `id`.
    pub(crate) fn acknowledge(&self, id: SessionId, peer: NodeHash, sent: u64, holds: Holds) {
        if !lock(&self.acks).waits_for(id) {
            return;
        }
        let targets = self.targets(id.slot());
        let done = lock(&self.acks).heard(id, peer, sent, holds, &targets);
        probe::reached_if(Path::StandInConfirmed, || !done.is_empty() && !targets.stand_ins.is_empty());
        release(done);
    }

    /// Looks again at every wait: owners changed, or one of them is left out from now on.
    pub(crate) fn review_acks(&self) {
        let waiting = lock(&self.acks).sessions();
        for id in waiting {
            let targets = self.targets(id.slot());
            let done = lock(&self.acks).review(id, &targets);
            release(done);
        }
    }

    /// Notes that an owner keeps what was sent to it. It counts only if it was sent and answered under the present
    /// owners: the topology is looked at under the lock, since a change of it stores the new one before it clears.
    pub(crate) fn heard_kept(&self, sent: &Sent, owner: NodeHash) {
        let mut keeping = lock(&self.keeping);
        if self.topology.load().epoch == sent.epoch {
            keeping.kept(sent.item, sent.version, owner);
        } else {
            probe::reached(Path::KeptTooLate);
        }
    }

    /// Drops the copy of an item that this node does not own, if all owners keep it.
    ///
    /// Not while one of them is joining: newcomers that die before they are ready must take nothing with them. Once they
    /// are ready [`super::walk::let_go_of_what_is_kept`] asks again.
    pub(crate) fn let_go(&self, item: impl Into<Item>) {
        let item = item.into();
        let slot = item.slot();
        let topology = self.topology.load();
        let waits = || match item {
            Item::Session(id) => lock(&self.acks).waits_for(id),
            Item::Tombstones(slot) => lock(&self.acks).waits_in(slot),
        };
        if topology.is_owner(slot) || topology.has_joining_owner(slot) || waits() {
            return;
        }
        let owners = topology.owner_nodes(slot);
        let all_keep = |version| lock(&self.keeping).may_drop(item, version, &owners);
        if self.store.drop_if(item, |version| all_keep(version) || probe::planted(Bug::LetGoWithoutKept)) {
            probe::reached(Path::LetGo);
            lock(&self.keeping).forget(item);
            self.counters.let_go.fetch_add(1, Ordering::Relaxed);
            self.changed.notify_waiters();
        }
    }

    /// Whether this node ran of late.
    pub(crate) fn is_awake(&self, now: Moment) -> bool {
        self.stall.load().is_awake(&self.timing, now)
    }

    /// When what is read at `now` may have come.
    pub(crate) fn arrived_at(&self, now: Moment) -> Moment {
        self.stall.load().arrived_at(&self.timing, now)
    }

    /// When the answer to what was asked at `asked` came, if it is read at `now`.
    pub(crate) fn answered_at(&self, asked: Moment, now: Moment) -> Moment {
        self.stall.load().answered_at(asked, &self.timing, now)
    }

    /// What the rules look at of this peer.
    pub(crate) fn status_of(&self, peer: &Peer, now: Moment) -> PeerStatus {
        // Who did not run, or has no file descriptor for links, cannot know who is silent.
        let could_hear = self.is_awake(now) && !self.spare.is_wanting(now);
        lock(&peer.liveness).status(could_hear, &self.timing, &peer.timing, now)
    }

    /// The same of each member, and of former ones.
    fn statuses(&self, topology: &Topology, now: Moment) -> impl Fn(NodeHash) -> Option<PeerStatus> {
        move |node| topology.peer_or_former(node).map(|peer| self.status_of(peer, now))
    }

    /// Whether this node may answer for its own copies: it has all that its slots hold, and every other member lets it at
    /// this moment, under the present view.
    pub(crate) fn is_current(&self, topology: &Topology, now: Moment) -> bool {
        !topology.is_joining(topology.me) && (self.trust.holds(topology.epoch, now) || self.is_trusted(topology, now))
    }

    fn is_trusted(&self, topology: &Topology, now: Moment) -> bool {
        let changes = self.trust.changes();
        let peers = topology.peers().map(|peer| self.status_of(peer, now));
        let until = current::trusted_until(peers, topology.hash(), now);
        if let Some(until) = until {
            self.trust.found(topology.epoch, changes, until);
        }
        until.is_some()
    }

    /// Whether a change of the view still goes on: members that do not own a session may be the only ones to hold it.
    pub(crate) fn is_in_transition(&self, topology: &Topology, now: Moment) -> bool {
        let walked = self.walked.get() == topology.epoch;
        let peers = topology.peers().map(|peer| self.status_of(peer, now));
        current::is_in_transition(walked, !topology.former.is_empty(), peers, topology.hash())
    }

    /// Whether nothing is owed to `peer` under the view of `topology`; noted, so that it counts from then on.
    pub(crate) fn mark_caught_up(&self, topology: &Topology, peer: &Peer) -> bool {
        let view: ViewHash = topology.hash();
        if lock(&peer.liveness).is_caught_up(view) {
            return true;
        }
        let done = self.walked.get() == topology.epoch && lock(&peer.outbox).owed() == 0;
        let mut liveness = lock(&peer.liveness);
        if done && !liveness.is_suspected() {
            liveness.mark_caught_up(view);
        }
        liveness.is_caught_up(view)
    }

    /// Stops at once, as in a crash: nothing is served or handed over any more. The first failure is the one that is told.
    pub(crate) fn fail(&self, failure: Failure) {
        self.life.fail(failure);
        self.changed.notify_waiters();
    }

    /// A life of this node's name with a larger number takes part: this one was replaced.
    pub(crate) fn replaced(&self, incarnation: u64) {
        self.fail(Failure::Replaced { name: self.config.name.clone(), incarnation });
    }

    /// A member sees a life of this node's name with the number `seen`. One that is only just joining waits for gossip to
    /// say so, too: the member may not have noticed the death of the life before, whose number was larger by its clock.
    pub(crate) fn refused_as_stale(&self, seen: u64) {
        let topology = self.topology.load();
        if seen > self.incarnation && !topology.is_joining(topology.me) {
            self.replaced(seen);
        }
    }

    /// Tells whoever listens; nobody listening is no fault.
    pub(crate) fn emit(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

fn release(done: Vec<sessionmesh_core::acks::Done<oneshot::Sender<usize>>>) {
    for done in done {
        // The commit may have given up at its deadline.
        let _ = done.reply.send(done.copies);
    }
}
