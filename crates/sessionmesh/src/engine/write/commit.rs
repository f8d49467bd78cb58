//! Changing a session on this node, and waiting until the change has copies.

use std::sync::Arc;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::entry::Entry;
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::session::{Attribute, IdleLimit, Record, Session, Status, Successor, ValueBytes};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::terms::Terms;
use tokio::time::Instant;

use crate::engine::read::{self, SUCCESSORS_MAX};
use crate::engine::replication::{Made, Wait, check_open, replicate};
use crate::engine::state::node::Node;
use crate::error::{CommitError, LimitExceeded};
use crate::event::Event;

/// Changes to one session, that become visible together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    /// Written (some) and removed (none) attributes.
    pub(crate) attributes: Vec<(Arc<str>, Option<ValueBytes>)>,
    /// A new idle limit in milliseconds.
    pub(crate) idle_limit_ms: Option<u64>,
    /// The session is new, with this idle limit unless the change sets another.
    pub(crate) create: Option<u64>,
    /// A new session takes over the attributes of this one, with their stamps, so that late writes to it still merge.
    pub(crate) inherit: Option<Arc<Session>>,
    /// A new session takes the place of one that has ended or will, so it is none more.
    pub(crate) replaces: bool,
}

/// What came of a commit that was made.
#[derive(Debug)]
pub(crate) struct Committed {
    /// The session that was changed: another one if the session had been renewed meanwhile.
    pub(crate) id: SessionId,
    pub(crate) record: Record,
    /// Other nodes that hold the change, or why that is not enough. The change was made either way.
    pub(crate) copies: Result<usize, CommitError>,
    pub(crate) changed: bool,
}

/// Applies `change` to session `id` and waits for its copies. `base` is what the caller holds of it, for a node that
/// holds nothing itself.
pub(crate) async fn commit(
    node: &Arc<Node>,
    id: SessionId,
    base: Option<&Record>,
    change: &Change,
    wait: Wait,
) -> Result<Committed, CommitError> {
    let attempt = |id, base: Option<&Record>| write(node, id, base, change);
    let written = on_latest(node, id, base, wait.until, attempt).await;
    let (id, written) = written.inspect_err(|error| node.telemetry.refused(wait.ack, error))?;
    let (stamp, record) = match written {
        Written::Nothing(record) => return Ok(Committed { id, record, copies: Ok(0), changed: false }),
        Written::New(stamp, record) => {
            node.emit(Event::Created { id });
            (stamp, record)
        }
        Written::At(stamp, record) => (stamp, record),
    };
    let from = if change.create.is_some() { Stamp::ZERO } else { stamp };
    let copies = replicate(node, id, Made { stamp, from, at: record.access }, wait).await;
    Ok(Committed { id, record, copies, changed: true })
}

/// What came of an attempt to change a session.
pub(super) enum Attempt<T> {
    Done(T),
    /// It has been renewed or moved: nothing was changed.
    Renewed(Successor),
}

/// Lets `attempt` change session `id`, or the one that took its place, over as many renewals as there were. It gets the id
/// and what is known of the session beside what this node holds: `base` for `id` itself. Says which session it was.
pub(super) async fn on_latest<T>(
    node: &Arc<Node>,
    id: SessionId,
    base: Option<&Record>,
    until: Instant,
    mut attempt: impl FnMut(SessionId, Option<&Record>) -> Result<Attempt<T>, CommitError>,
) -> Result<(SessionId, T), CommitError> {
    // Nearly always none is held, and a future that has nothing to wait for costs a commit more than the question.
    if !node.replication.expiry_holds.is_empty() {
        node.replication.expiry_holds.passed(id, until).await;
    }
    match attempt(id, base)? {
        Attempt::Done(done) => Ok((id, done)),
        // Few commits follow a renewal; boxed, so that the others need not carry what it takes.
        Attempt::Renewed(successor) => Box::pin(on_successor(node, successor, until, attempt)).await,
    }
}

/// [`on_latest`], once a session is known to have been renewed.
async fn on_successor<T>(
    node: &Arc<Node>,
    successor: Successor,
    until: Instant,
    mut attempt: impl FnMut(SessionId, Option<&Record>) -> Result<Attempt<T>, CommitError>,
) -> Result<(SessionId, T), CommitError> {
    let mut successor = successor;
    for _ in 0..SUCCESSORS_MAX {
        coverage::reached(Path::CommitFollowedRenewal);
        // As far as it can be found before the deadline of the commit.
        let deadline = until.min(read::deadline_of_a_read(node));
        let (id, base) = read::resolve(node, successor.id(), deadline).await.unwrap_or((successor.id(), None));
        node.replication.expiry_holds.passed(id, until).await;
        match attempt(id, base.as_ref())? {
            Attempt::Done(done) => return Ok((id, done)),
            Attempt::Renewed(next) => successor = next,
        }
    }
    Err(CommitError::Unknown)
}

enum Written {
    Nothing(Record),
    New(Stamp, Record),
    At(Stamp, Record),
}

/// Applies a change to the copy held here, under the map's lock.
fn write(node: &Node, id: SessionId, base: Option<&Record>, change: &Change) -> Result<Attempt<Written>, CommitError> {
    let now = node.now();
    node.store.update(id, |held| {
        check_open(node)?;
        let known = match known(held.as_ref(), base, now) {
            Err(CommitError::Unknown) if change.create.is_some() => None,
            known => Some(known?),
        };
        if let Some(successor) = known.as_ref().map_or(Ok(None), successor_of)? {
            return Ok(Attempt::Renewed(successor));
        }
        let session = known.as_ref().map(|record| &*record.session).or(change.inherit.as_deref());
        let is_new =
            |key: &str, value: &Option<ValueBytes>| session.and_then(|session| session.get(key)) != value.as_ref();
        let puts: Vec<_> = change.attributes.iter().filter(|(key, value)| is_new(key, value)).collect();
        check_limits(node, session, &puts)?;
        if known.is_none() && !change.replaces {
            // Checked at creation, too; but several may have been created before the first was committed.
            let (found, allowed) = (node.store.live() as u64 + 1, node.config.max_sessions);
            exceeded(["sessions", "max_sessions"], found, allowed)?;
        }
        // Owners may be about to agree that a session past its limit is over. An access alone might come too late for them, but
        // not a change: so its limit is set anew.
        let revived = |record: &Record| record.is_past_limit(now).then(|| record.session.idle_limit().ms);
        let idle_limit_ms = change.idle_limit_ms.or_else(|| known.as_ref().and_then(revived));
        let (mut record, stamp) = match known {
            Some(record) if puts.is_empty() && idle_limit_ms.is_none() => {
                return Ok(Attempt::Done(Written::Nothing(record)));
            }
            Some(record) => (record, node.tick()),
            None => {
                let stamp = node.tick();
                let limit = IdleLimit { stamp, ms: change.idle_limit_ms.or(change.create).unwrap_or(1) };
                let inherited = change.inherit.as_deref();
                let created_ms = inherited.map_or_else(|| node.ports.clock.wall_ms(), Session::created_ms);
                let mut session = Session::new(created_ms, limit);
                session.put_all(inherited.map_or(&[][..], Session::attributes).iter().cloned());
                (Record::new(session, now), stamp)
            }
        };
        let session = Arc::make_mut(&mut record.session);
        let keys = session.attributes().len();
        let attribute =
            |(key, value): &(Arc<str>, Option<ValueBytes>)| Attribute { key: key.clone(), value: value.clone(), stamp };
        session.put_all(puts.into_iter().map(attribute));
        if session.attributes().len() > keys {
            node.store.keys.intern(session);
        }
        if let Some(ms) = idle_limit_ms {
            session.set_idle_limit(IdleLimit { stamp, ms });
        }
        let new = held.is_none() && base.is_none();
        let record = hold(held, record, now);
        Ok(Attempt::Done(if new { Written::New(stamp, record) } else { Written::At(stamp, record) }))
    })
}

/// A read, a change and a write of one attribute in one step, under the map's lock.
pub(crate) async fn update<R>(
    node: &Arc<Node>,
    id: SessionId,
    base: Option<&Record>,
    key: &Arc<str>,
    wait: Wait,
    change: impl FnOnce(Option<&ValueBytes>) -> Result<(Option<ValueBytes>, R), CommitError>,
) -> Result<(Committed, R), CommitError> {
    // It is called once: after a change there is no other attempt.
    let mut change = Some(change);
    let attempt = |id, base: Option<&Record>| {
        let now = node.now();
        let before = failpoint::planted(Bug::UpdateInTwoLocks).then(|| node.store.get(id)).flatten();
        node.store.update(id, |held| {
            check_open(node)?;
            let mut record = known(before.as_ref().or(held.as_ref()), base, now)?;
            if let Some(successor) = successor_of(&record)? {
                return Ok(Attempt::Renewed(successor));
            }
            let change = change.take().ok_or(CommitError::Ended)?;
            let (value, result) = change(record.session.get(key))?;
            let put = (key.clone(), value);
            check_limits(node, Some(&record.session), &[&put])?;
            let stamp = node.tick();
            Arc::make_mut(&mut record.session).put(Attribute { key: put.0, value: put.1, stamp });
            Ok(Attempt::Done((stamp, hold(held, record, now), result)))
        })
    };
    let changed = on_latest(node, id, base, wait.until, attempt).await;
    let (id, (stamp, record, result)) = changed.inspect_err(|error| node.telemetry.refused(wait.ack, error))?;
    let copies = replicate(node, id, Made { stamp, from: stamp, at: record.access }, wait).await;
    Ok((Committed { id, record, copies, changed: true }, result))
}

/// All that this node and the caller know of a session.
fn known(held: Option<&Entry>, base: Option<&Record>, now: Moment) -> Result<Record, CommitError> {
    match (held, base) {
        (Some(entry), Some(base)) => {
            let mut record = entry.record().clone();
            record.merge(base);
            Ok(record)
        }
        (Some(entry), None) => Ok(entry.record().clone()),
        // A handle that was kept for longer than the session may be idle proves nothing.
        (None, Some(base)) if !base.is_past_limit(now) => Ok(base.clone()),
        (None, _) => Err(CommitError::Unknown),
    }
}

/// What took the place of a session that was renewed or moved; `None` if it lives.
fn successor_of(record: &Record) -> Result<Option<Successor>, CommitError> {
    match record.status() {
        Status::Live => Ok(None),
        Status::Invalidated { successor: Some(successor) } => Ok(Some(successor)),
        Status::Expired | Status::Invalidated { successor: None } => Err(CommitError::Ended),
    }
}

/// Holds a changed record. The access rides on its delta.
fn hold(held: &mut Option<Entry>, mut record: Record, now: Moment) -> Record {
    record.access = record.access.max(now);
    *held = Some(Entry::new(record.clone()));
    record
}

fn check_limits(
    node: &Node,
    session: Option<&Session>,
    puts: &[&(Arc<str>, Option<ValueBytes>)],
) -> Result<(), CommitError> {
    // What one node lets a visitor store, he can go on with on each other one: the largest limit of all members counts. It is
    // looked up only for what is beyond this node's own.
    let exceeded = |what, found: usize, limit: fn(&Terms) -> u64| {
        let own = limit(&node.identity.terms);
        if found as u64 <= own {
            return Ok(());
        }
        exceeded(what, found as u64, limit(node.cluster.topology.load().view.in_force()))
    };
    let size = |key: &str, value: &ValueBytes| key.len() + value.len();
    let (mut more, mut less) = ((0, 0), (0, 0));
    for (key, value) in puts {
        exceeded(["bytes of a key", "max_key_bytes"], key.len(), |limits| limits.max_key_bytes)?;
        if let Some(value) = value {
            exceeded(["bytes of a value", "max_value_bytes"], value.len(), |limits| limits.max_value_bytes)?;
            more = (more.0 + 1, more.1 + size(key, value));
        }
        if let Some(before) = session.and_then(|session| session.get(key)) {
            less = (less.0 + 1, less.1 + size(key, before));
        }
    }
    // Writes of several nodes at once may add up to more than a limit. Such a session may not grow, but shrink.
    let live = || session.into_iter().flat_map(Session::live);
    if more.0 > less.0 {
        exceeded(["attributes", "max_attributes"], live().count() + more.0 - less.0, |limits| limits.max_attributes)?;
    }
    if more.1 > less.1 {
        let bytes: usize = live().map(|(key, value)| size(key, value)).sum();
        exceeded(["bytes of a session", "max_session_bytes"], bytes + more.1 - less.1, |limits| {
            limits.max_session_bytes
        })?;
    }
    Ok(())
}

fn exceeded([what, setting]: [&'static str; 2], found: u64, allowed: u64) -> Result<(), CommitError> {
    if found > allowed { Err(CommitError::Limit(LimitExceeded { what, setting, found, allowed })) } else { Ok(()) }
}
