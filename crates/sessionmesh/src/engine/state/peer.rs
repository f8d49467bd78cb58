//! Another node, as this node sees it: what it may lack, what it was asked, whether it is alive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessionmesh_core::id::NodeHash;
use sessionmesh_core::liveness::peer::PeerLiveness;
use sessionmesh_core::liveness::timing::Timing;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::view::Member;
use sessionmesh_core::replication::backlog::Backlog;
use sessionmesh_core::replication::outbox::{Item, Lane, Outbox};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::Message;
use sessionmesh_core::wire::version::Version;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::progress::Rounds;
use crate::lock::lock;

/// Messages other than batches that may wait for a link. More are refused: the asker counts the peer as silent.
const CONTROL_MESSAGES_MAX: usize = 4096;

/// One incarnation of another node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) member: Member,
    pub(crate) node: NodeHash,
    /// The times that this peer goes by.
    pub(crate) timing: Timing,
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) liveness: Mutex<PeerLiveness>,
    /// Wakes the link: there is something to send.
    pub(crate) wake: Notify,
    /// Ends the link.
    pub(crate) stop: CancellationToken,
    control: Mutex<Control>,
    connected: AtomicBool,
    /// Audits with it, as they are wanted and done.
    pub(crate) audits: Rounds,
    was_left_out: AtomicBool,
    /// The latest ping: when it left by the clock of pings, and exactly.
    pub(crate) pinged: Mutex<(Moment, Duration)>,
    /// Since when its marks wait.
    pub(crate) backlog: Mutex<Backlog>,
}

#[derive(Debug, Default)]
struct Control {
    /// What the link speaks, while it is up.
    version: Option<Version>,
    waiting: VecDeque<Vec<u8>>,
    requests: BTreeMap<u64, oneshot::Sender<Vec<u8>>>,
    numbers: u64,
}

impl Peer {
    pub(crate) fn new(member: Member, now: Moment, stop: CancellationToken) -> Self {
        Self {
            node: member.node(),
            timing: Timing::new(member.terms.commit_deadline_ms),
            member,
            outbox: Mutex::default(),
            liveness: Mutex::new(PeerLiveness::new(now)),
            wake: Notify::new(),
            stop,
            control: Mutex::default(),
            connected: AtomicBool::new(false),
            audits: Rounds::wanted(),
            was_left_out: AtomicBool::new(false),
            pinged: Mutex::new((Moment::START, Duration::ZERO)),
            backlog: Mutex::default(),
        }
    }

    /// Marks an item dirty for this peer. While the peer is suspected it is owed everything, since commits may be
    /// acknowledged without it.
    pub(crate) fn mark(&self, item: impl Into<Item>, from: Stamp, lane: Lane, owed: bool, now: Moment) {
        self.mark_in_lane(item.into(), from, owed, now, |_| lane);
    }

    /// Marks an item that this peer owns; in the bulk lane if the peer is left out, since nobody waits for it then. Says
    /// whether it is.
    pub(crate) fn mark_as_owner(&self, item: Item, from: Stamp, lane: Lane, now: Moment) -> bool {
        let mut left_out = false;
        self.mark_in_lane(item, from, false, now, |liveness| {
            left_out = liveness.is_left_out(now);
            if left_out { Lane::Bulk } else { lane }
        });
        left_out
    }

    fn mark_in_lane(&self, item: Item, from: Stamp, owed: bool, now: Moment, lane: impl FnOnce(&PeerLiveness) -> Lane) {
        {
            let mut outbox = lock(&self.outbox);
            let mut liveness = lock(&self.liveness);
            let lane = lane(&liveness);
            if outbox.is_clear() {
                liveness.progressed(now);
            }
            outbox.mark(item, from, lane, owed || liveness.is_suspected());
        }
        self.wake.notify_one();
    }

    /// Stops waiting for this peer. What it has not answered is owed to it from now on.
    pub(crate) fn suspect(&self, timing: &Timing, now: Moment) {
        lock(&self.liveness).suspect(timing, now);
        lock(&self.outbox).owe_all();
    }

    /// Whether the peer is left out since this was asked last.
    pub(crate) fn newly_left_out(&self, now: Moment) -> bool {
        let left_out = lock(&self.liveness).is_left_out(now);
        let before = self.was_left_out.swap(left_out, Ordering::AcqRel);
        left_out && !before
    }

    /// Whether the link is up.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// What the link speaks, while it is up.
    pub(crate) fn version(&self) -> Option<Version> {
        lock(&self.control).version
    }

    /// The link is up, and speaks this version.
    pub(crate) fn link_up(&self, version: Version) {
        lock(&self.control).version = Some(version);
        self.connected.store(true, Ordering::Release);
    }

    /// The link is down: what was under way is dirty again, and whoever asked something is told that no answer comes.
    pub(crate) fn link_down(&self, now: Moment) {
        self.connected.store(false, Ordering::Release);
        lock(&self.outbox).link_broke();
        lock(&self.liveness).disconnected(now);
        let mut control = lock(&self.control);
        *control = Control { numbers: control.numbers, ..Control::default() };
    }

    /// Queues a message that needs no answer. Says whether there was room and a link.
    pub(crate) fn send(&self, message: &Message<'_>) -> bool {
        let mut control = lock(&self.control);
        let encoded = control.version.and_then(|version| codec::encode(message, version).ok());
        encoded.is_some_and(|bytes| self.queue(&mut control, bytes))
    }

    /// Asks, and hands out where the encoded answer will come, and in which version. It comes never if the link breaks.
    pub(crate) fn ask(
        &self,
        message: impl FnOnce(u64) -> Message<'static>,
    ) -> Option<(oneshot::Receiver<Vec<u8>>, Version)> {
        let mut control = lock(&self.control);
        let version = control.version?;
        control.numbers += 1;
        let number = control.numbers;
        let bytes = codec::encode(&message(number), version).ok()?;
        if !self.queue(&mut control, bytes) {
            return None;
        }
        // Requests whose asker gave up are swept here, so that a silent peer cannot make them pile up.
        control.requests.retain(|_, reply| !reply.is_closed());
        let (reply, answer) = oneshot::channel();
        control.requests.insert(number, reply);
        Some((answer, version))
    }

    /// A reply came.
    pub(crate) fn answer(&self, request: u64, encoded: Vec<u8>) {
        let reply = lock(&self.control).requests.remove(&request);
        if let Some(reply) = reply {
            // The asker may have stopped waiting.
            let _ = reply.send(encoded);
        }
    }

    /// Takes the messages that wait, for the link to send.
    pub(crate) fn take_control(&self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut lock(&self.control).waiting)
    }

    /// Whether messages wait for the link.
    pub(crate) fn has_control(&self) -> bool {
        !lock(&self.control).waiting.is_empty()
    }

    fn queue(&self, control: &mut Control, bytes: Vec<u8>) -> bool {
        if !self.is_connected() || control.waiting.len() >= CONTROL_MESSAGES_MAX {
            return false;
        }
        control.waiting.push_back(bytes);
        self.wake.notify_one();
        true
    }
}
