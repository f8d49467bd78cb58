//! Ending a session for good, and what follows from an end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::entry::Entry;
use sessionmesh_core::id::{NodeHash, SessionId};
use sessionmesh_core::replication::effects::{self, Announcement, Effects, Snapshot};
use sessionmesh_core::replication::outbox::Lane;
use sessionmesh_core::session::{Attribute, Invalidated, RETENTION_MS_MAX, Record, Session, Status, Successor};
use sessionmesh_core::stamp::Stamp;
use tokio::time::{Instant, sleep};

use super::commit::{Attempt, on_latest};
use crate::engine::read::{self, Access};
use crate::engine::replication::{self, Made, Wait, check_open, replicate};
use crate::engine::state::node::Node;
use crate::error::{CommitError, LoadError};
use crate::event::Event;
use crate::network::BoxFuture;

/// What came of an end that was made.
#[derive(Debug)]
pub(crate) struct EndOutcome {
    /// What the session held, as far as this node and the caller know, if it is this call that ended it.
    pub(crate) content: Option<Arc<Session>>,
    /// This node knows of an earlier end.
    pub(crate) before: bool,
    /// Other nodes that hold the tombstone, or why that is not enough. The session has ended either way.
    pub(crate) copies: Result<usize, CommitError>,
}

/// Ends session `id` for good, and waits for the copies of its tombstone. It need not be held here.
pub(crate) async fn invalidate(
    node: &Arc<Node>,
    id: SessionId,
    base: Option<&Record>,
    successor: Option<Successor>,
    wait: Wait,
) -> Result<usize, CommitError> {
    end_session(node, id, base, successor, wait).await?.copies
}

/// [`invalidate`], with what was ended.
pub(crate) async fn end_session(
    node: &Arc<Node>,
    id: SessionId,
    base: Option<&Record>,
    successor: Option<Successor>,
    wait: Wait,
) -> Result<EndOutcome, CommitError> {
    let now = node.now();
    let retention = node.cluster.topology.load().view.in_force().tombstone_retention_ms;
    let mut overtaken = None;
    let ended = node.store.update(id, |held| {
        check_open(node)?;
        let before = Snapshot::of(held.as_ref());
        let stamp = node.tick();
        let limit = held.as_ref().map(Entry::record).or(base).map_or(0, |r| r.session.idle_limit().ms);
        // No copy outlives its guard of twice the idle limit, so neither may the tombstone end before.
        let retention_ms = retention.max(limit.saturating_mul(3)).min(RETENTION_MS_MAX);
        let end = Invalidated { successor, stamp, retention_ms, since: now };
        let was = held.as_ref().and_then(|entry| entry.record().session.invalidated().copied());
        match held {
            Some(entry) => {
                if was.is_none() {
                    overtaken = Some(entry.record().session.clone());
                }
                entry.change(|record| record.invalidate(end));
            }
            None => *held = Some(Entry::ended(end)),
        }
        Ok::<_, CommitError>((stamp, before, Snapshot::of(held.as_ref()), was))
    });
    let (stamp, before, after, was) = ended?;
    let role = node.cluster.topology.load().role(id.slot());
    run(node, id, None, effects::after_end(before, after, overtaken.as_deref(), was.as_ref(), successor, role));
    let copies = replicate(node, id, Made { stamp, from: Stamp::ZERO, at: now }, wait).await;
    let content = if was.is_some() { None } else { overtaken.or_else(|| base.map(|base| base.session.clone())) };
    Ok(EndOutcome { content, before: was.is_some(), copies })
}

/// Does what follows from a merge or an end of session `id`. `from` is who sent what was merged.
pub(crate) fn run(node: &Arc<Node>, id: SessionId, from: Option<NodeHash>, effects: Effects) {
    let Effects { late_writes, lift_hold, announcement, propagate_access, loser, forward, send_back } = effects;
    if let Some((successor, attributes)) = late_writes {
        forward_late_writes(node, successor, attributes);
    }
    if lift_hold {
        node.replication.expiry_holds.lift(id);
    }
    match announcement {
        Some(Announcement::Invalidated) => node.emit(Event::Invalidated { id }),
        Some(Announcement::Renewed(successor)) => node.emit(Event::Renewed { id, successor }),
        Some(Announcement::Moved(successor)) => node.emit(Event::Moved { id, successor }),
        None => {}
    }
    if propagate_access {
        replication::propagate_access(node, id, node.now());
    }
    if let Some((loser, winner)) = loser {
        retire_loser(node, loser, winner);
    }
    if let Some(from) = forward {
        replication::forward_to_owners(node, id, from, Lane::Usual);
    }
    let sender = || node.cluster.topology.load().peer(from?).cloned();
    if send_back && let Some(sender) = sender() {
        coverage::reached(Path::NewerSentBack);
        sender.mark(id, Stamp::ZERO, Lane::Usual, false, node.now());
    }
}

/// Ends `loser` in a task of its own; what it holds is merged into `winner`, if there is one.
pub(crate) fn retire_loser(node: &Arc<Node>, loser: SessionId, winner: Option<Successor>) {
    let task = RenewalTask::new(node);
    let retiring: BoxFuture<'static, ()> = Box::pin(async move {
        let node = &task.0;
        if let Some(winner) = winner {
            let theirs = match patiently(node, || Box::pin(read::load(node, loser, Access::Peek))).await {
                Ok(found) => found.map(|(_, record)| record),
                Err(_) => node.store.get(loser).map(Entry::into_record),
            };
            if let Some(theirs) = theirs {
                merge_into(node, winner.id(), theirs.session.attributes()).await;
            }
        }
        let wait = Wait::for_owners(node);
        // It goes on replicating whatever the answer, so the answer changes nothing.
        let _ = invalidate(node, loser, None, winner, wait).await;
    });
    node.lifecycle.life.spawn("retire-loser", retiring);
}

/// What was written to an id that has been renewed goes to its successor: at once if this node holds that, else in a task of its
/// own.
fn forward_late_writes(node: &Arc<Node>, successor: SessionId, attributes: Vec<Attribute>) {
    let is_fenced = || node.replication.expiry_holds.holds(successor, node.now());
    if !is_fenced()
        && let Ok(Attempt::Done(changed)) = merge_here(node, successor, None, &attributes)
    {
        poured(node, successor, changed);
        return;
    }
    let task = RenewalTask::new(node);
    let forwarding: BoxFuture<'static, ()> = Box::pin(async move { merge_into(&task.0, successor, &attributes).await });
    node.lifecycle.life.spawn("late-writes", forwarding);
}

/// Counts a task that follows a renewal, for the figures.
struct RenewalTask(Arc<Node>);

impl RenewalTask {
    fn new(node: &Arc<Node>) -> Self {
        node.replication.renewals_followed.fetch_add(1, Ordering::Relaxed);
        Self(node.clone())
    }
}

impl Drop for RenewalTask {
    fn drop(&mut self) {
        self.0.replication.renewals_followed.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For so many commit deadlines it is tried to learn what a write that follows a renewal needs: nobody else may have that write.
const PATIENCE_DEADLINES: u32 = 60;

/// Reads again until it is known, unless that may last until nodes come back.
async fn patiently<'a, T>(
    node: &Node,
    read: impl Fn() -> BoxFuture<'a, Result<T, LoadError>> + Send,
) -> Result<T, LoadError> {
    let deadline = node.config.commit_deadline;
    let until = Instant::now() + deadline * PATIENCE_DEADLINES;
    loop {
        match read().await {
            Err(error) if !error.is_lasting() && Instant::now() < until && !node.lifecycle.stop.is_cancelled() => {
                let _ = node.lifecycle.stop.run_until_cancelled(sleep(deadline / 5)).await;
            }
            known => return known,
        }
    }
}

/// Merges attributes with their stamps into session `id`, or into its successor if it has one. So it does no harm if
/// several nodes do the same, or one does it again.
async fn merge_into(node: &Arc<Node>, id: SessionId, attributes: &[Attribute]) {
    let resolved = patiently(node, || Box::pin(read::resolve(node, id, read::deadline_of_a_read(node)))).await;
    // What this node holds takes it, whatever others know.
    let (id, theirs) = resolved.unwrap_or((id, None));
    let until = Instant::now() + node.config.commit_deadline;
    let merge = |id, theirs: Option<&Record>| merge_here(node, id, theirs, attributes);
    if let Ok((id, changed)) = on_latest(node, id, theirs.as_ref(), until, merge).await {
        poured(node, id, changed);
    }
}

/// Merges them into what this node holds of session `id`, or the caller knows of it. Says whether that changed anything.
fn merge_here(
    node: &Node,
    id: SessionId,
    theirs: Option<&Record>,
    attributes: &[Attribute],
) -> Result<Attempt<bool>, CommitError> {
    node.store.update(id, |held| {
        let known = held.as_ref().map(Entry::record).or(theirs);
        let mut record = known.ok_or(CommitError::Unknown)?.clone();
        if let Status::Invalidated { successor } = record.status() {
            return successor.map(Attempt::Renewed).ok_or(CommitError::Ended);
        }
        let changed = Arc::make_mut(&mut record.session).put_all(attributes.iter().cloned());
        if changed {
            *held = Some(Entry::new(record));
        }
        Ok(Attempt::Done(changed))
    })
}

/// The owners get what was merged, if that changed anything.
fn poured(node: &Node, id: SessionId, changed: bool) {
    if changed {
        coverage::reached(Path::LateWritePoured);
        replication::mark_owners(node, id, Stamp::ZERO, Lane::Usual, node.now());
    }
}
