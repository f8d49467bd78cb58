//! Getting a change to all who must hold it, and learning who does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::{NodeHash, SessionId, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::replication::acks::{Ack, Done, Holds};
use sessionmesh_core::replication::outbox::{Item, Lane, Sent};
use sessionmesh_core::replication::release;
use sessionmesh_core::replication::targets::{self as rule, Targets};
use sessionmesh_core::stamp::Stamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::state::node::Node;
use super::state::telemetry::ack_number;
use crate::error::CommitError;
use crate::event::Event;
use crate::lock::lock;
use crate::stats::CommitOutcome;

/// What a commit waits for, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) ack: Ack,
    pub(crate) strict: bool,
    pub(crate) until: Instant,
}

impl Wait {
    /// For all owners, until a commit deadline from now: for ends that stand whatever comes of it.
    pub(crate) fn for_owners(node: &Node) -> Self {
        Self { ack: Ack::Owners, strict: false, until: Instant::now() + node.config.commit_deadline }
    }
}

/// Refuses changes once this node has handed over what it held. To be asked under the lock of the session: whoever
/// closes the node passes through all locks afterwards, and then sees every change that was still let in.
pub(crate) fn check_open(node: &Node) -> Result<(), CommitError> {
    if node.is_closed() { Err(CommitError::Left) } else { Ok(()) }
}

/// A change that was made on this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) stamp: Stamp,
    /// What is sent of the session: all from this stamp on.
    pub(crate) from: Stamp,
    pub(crate) at: Moment,
}

/// Marks a change of session `id` for all who must have it, and waits for the answers that `wait` asks for.
pub(crate) async fn replicate(node: &Node, id: SessionId, made: Made, wait: Wait) -> Result<usize, CommitError> {
    let Made { from, at, .. } = made;
    if wait.ack == Ack::Local {
        node.telemetry.committed(wait.ack, CommitOutcome::Acknowledged);
        mark_owners(node, id, from, Lane::Usual, at);
        return Ok(0);
    }
    let copies = acknowledged(node, id, made, wait).await;
    let outcome = match &copies {
        Ok(_) => CommitOutcome::Acknowledged,
        Err(CommitError::TimedOut { copies }) => {
            node.emit(Event::CommitTimedOut { id, copies: *copies });
            CommitOutcome::TimedOut
        }
        Err(_) => CommitOutcome::TooFewCopies,
    };
    node.telemetry.committed(wait.ack, outcome);
    // Every wait begins a commit deadline before its end.
    let took = (Instant::now() + node.config.commit_deadline).saturating_duration_since(wait.until);
    node.telemetry.latencies.commit[ack_number(wait.ack)].record(took);
    copies
}

/// Marks it, and waits.
async fn acknowledged(node: &Node, id: SessionId, made: Made, wait: Wait) -> Result<usize, CommitError> {
    let Made { stamp, from, at } = made;
    let (reply, mut answer) = oneshot::channel();
    if failpoint::planted(Bug::WaitAfterMark) {
        mark_owners(node, id, from, Lane::Awaited, at);
    }
    let ticket = lock(&node.replication.acks).wait(id, stamp.counter, wait.ack, reply);
    if !failpoint::planted(Bug::WaitAfterMark) {
        mark_owners(node, id, from, Lane::Awaited, at);
    }
    let waited_for = targets(node, id.slot());
    if waited_for.is_nobody(wait.ack) {
        lock(&node.replication.acks).give_up(id, ticket, &waited_for);
        coverage::reached_if(Path::StrictAlone, || wait.strict);
        return if wait.strict { Err(CommitError::NoOtherNode) } else { Ok(0) };
    }
    let late = if failpoint::planted(Bug::DeadlineIgnored) { node.config.commit_deadline * 4 } else { Duration::ZERO };
    let copies = if let Ok(Ok(copies)) = timeout_at(wait.until + late, &mut answer).await {
        copies
    } else {
        let waited_for = targets(node, id.slot());
        let given_up = lock(&node.replication.acks).give_up(id, ticket, &waited_for);
        if let Some(copies) = given_up {
            coverage::reached(Path::CommitTimedOut);
            return Err(CommitError::TimedOut { copies });
        }
        // Answered at the last moment.
        answer.try_recv().unwrap_or(0)
    };
    match wait.ack.copies_wanted() {
        wanted if wait.strict && copies < wanted => Err(CommitError::TooFewCopies { copies, wanted }),
        _ => Ok(copies),
    }
}

/// Marks a session dirty for all who must have it: each owner, and a stand-in for each owner that is left out.
///
/// The topology is read after the change was stored. If it changes meanwhile, the marks are made again, so either
/// they or the hand-off scan sees the session.
pub(crate) fn mark_owners(node: &Node, id: SessionId, from: Stamp, lane: Lane, now: Moment) {
    mark_for_all(node, id.into(), from, lane, true, now);
}

/// Like [`mark_owners`], but for the owners only: of what a node merely forwards, whoever made the change sees to
/// the stand-ins. Two stand-ins that named each other would forward it for ever.
pub(crate) fn forward_to_owners(node: &Node, item: impl Into<Item>, from: Stamp, lane: Lane) {
    mark_for_all(node, item.into(), from, lane, false, node.now());
}

/// Lets the owners know that a session was accessed.
pub(crate) fn propagate_access(node: &Node, id: SessionId, now: Moment) {
    mark_owners(node, id, Stamp::DIGEST_ONLY, Lane::Usual, now);
}

fn mark_for_all(node: &Node, item: Item, from: Stamp, lane: Lane, stand_ins: bool, now: Moment) {
    let mut epoch = None;
    loop {
        let topology = node.cluster.topology.load();
        if epoch == Some(topology.epoch) {
            return;
        }
        epoch = Some(topology.epoch);
        let mut missing = 0;
        for owner in topology.owners(item.slot()) {
            missing += usize::from(owner.mark_as_owner(item, from, lane, now));
        }
        if missing == 0 && !topology.may_have_displaced(&node.timing, now) {
            continue;
        }
        let status = node.statuses(&topology, now);
        let displaced = topology.displaced(item.slot(), &status, &node.timing, now);
        let stand_ins = if stand_ins { missing } else { 0 };
        let stand_ins = rule::stand_ins(&topology, item.slot(), stand_ins, &status);
        for peer in displaced.into_iter().chain(stand_ins).filter_map(|node| topology.peer_or_former(node)) {
            peer.mark(item, from, lane, false, now);
        }
    }
}

/// Whom a commit on a session in `slot` waits for.
pub(crate) fn targets(node: &Node, slot: Slot) -> Targets {
    let topology = node.cluster.topology.load();
    let now = node.now();
    let recovering = node.cluster.stall.load().is_recovering(&node.timing, now);
    rule::targets(&topology, slot, recovering, node.statuses(&topology, now), &node.timing, now)
}

/// `peer` answered that it holds `id`.
pub(crate) fn acknowledge(node: &Node, id: SessionId, peer: NodeHash, sent: u64, holds: Holds) {
    if !lock(&node.replication.acks).waits_for(id) {
        return;
    }
    let targets = targets(node, id.slot());
    let done = lock(&node.replication.acks).on_ack(id, peer, sent, holds, &targets);
    coverage::reached_if(Path::StandInConfirmed, || !done.is_empty() && !targets.stand_ins.is_empty());
    complete(done);
}

/// Looks again at every wait: owners changed, or one of them is left out from now on.
pub(crate) fn review_acks(node: &Node) {
    let waiting = lock(&node.replication.acks).sessions();
    for id in waiting {
        let targets = targets(node, id.slot());
        let done = lock(&node.replication.acks).review(id, &targets);
        complete(done);
    }
}

/// Notes that an owner keeps what was sent to it. It counts only if it was sent and answered under the present
/// owners: the topology is looked at under the lock, since a change of it stores the new one before it clears.
pub(crate) fn confirm_handoff(node: &Node, sent: &Sent, owner: NodeHash) {
    let mut confirmations = lock(&node.replication.confirmations);
    if node.cluster.topology.load().epoch == sent.epoch {
        confirmations.kept(sent.item, sent.version, owner);
    } else {
        coverage::reached(Path::KeptTooLate);
    }
}

/// Drops the copy of an item that this node does not own, if all owners keep it. Once those that join are ready, the view
/// task asks again.
pub(crate) fn drop_if_handed_off(node: &Node, item: impl Into<Item>) {
    let item = item.into();
    let slot = item.slot();
    let topology = node.cluster.topology.load();
    let waits = || match item {
        Item::Session(id) => lock(&node.replication.acks).waits_for(id),
        Item::Tombstones(slot) => lock(&node.replication.acks).waits_in(slot),
    };
    if !release::is_droppable(&topology, slot, waits) {
        return;
    }
    let owners = topology.owner_nodes(slot);
    let all_keep = |version| lock(&node.replication.confirmations).may_drop(item, version, &owners);
    if node.store.drop_if(item, |version| all_keep(version) || failpoint::planted(Bug::LetGoWithoutKept)) {
        coverage::reached(Path::CopyDropped);
        lock(&node.replication.confirmations).forget(item);
        node.telemetry.counters.copies_dropped.fetch_add(1, Ordering::Relaxed);
        node.lifecycle.changed.notify_waiters();
    }
}

fn complete(done: Vec<Done<oneshot::Sender<usize>>>) {
    for done in done {
        // The commit may have given up at its deadline.
        let _ = done.reply.send(done.copies);
    }
}
