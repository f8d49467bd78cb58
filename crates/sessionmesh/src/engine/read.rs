//! Reading a session: from this node's own map, or by asking its owners.

mod access;
pub(crate) mod copies;
pub(crate) mod figures_of_members;
mod unknown;
pub(crate) mod user_query;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::entry::Entry;
use sessionmesh_core::failpoint::{self, Bug};
use sessionmesh_core::id::SessionId;
use sessionmesh_core::liveness::leases::{self, OwnCopy};
use sessionmesh_core::membership::lost::LostMembers;
use sessionmesh_core::moment::Moment;
pub(crate) use sessionmesh_core::read::Found;
use sessionmesh_core::read::{Asker, ReadRound, Silence, Unclear, Verdict};
use sessionmesh_core::replication::delta::Delta;
use sessionmesh_core::session::{Record, Status};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::codec::{self, CodecError};
use sessionmesh_core::wire::message::{Held, Message, ReadQuery, ReadReply};
use sessionmesh_core::wire::version::Version;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::access::note_again;
use self::access::{note, note_at};
use self::unknown::{is_unknown_here, is_weeded_out};
use super::replication;
use super::request::{self, Reply, is_silent};
use super::state::node::Node;
use super::state::peer::Peer;
use super::state::topology::Topology;
use crate::error::LoadError;
use crate::event::Event;
use crate::lock::lock;
use crate::spans;

/// Whether a read counts as an access of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It does: the idle time starts anew.
    Note,
    /// It does not.
    Peek,
}

/// How long to wait between two rounds of questions.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Reads session `id`, and says under which id it is now: another one, if it moved not long ago. `None` means that there
/// is no such session, or that it has ended.
pub(crate) async fn load(
    node: &Arc<Node>,
    id: SessionId,
    access: Access,
) -> Result<Option<(SessionId, Record)>, LoadError> {
    Ok(living(look(node, id, access).await?))
}

/// [`load`], without an access and with this deadline.
pub(crate) async fn peek_until(
    node: &Arc<Node>,
    id: SessionId,
    deadline: Instant,
) -> Result<Option<(SessionId, Record)>, LoadError> {
    Ok(living(follow(node, id, Access::Peek, deadline, Found::moved_to).await?))
}

fn living((id, found): (SessionId, Found)) -> Option<(SessionId, Record)> {
    if let Found::Live(record) = found { Some((id, record)) } else { None }
}

/// [`load`], with what is known of a session that does not live.
pub(crate) async fn look(node: &Arc<Node>, id: SessionId, access: Access) -> Result<(SessionId, Found), LoadError> {
    if let Some(record) = live_here(node, id, access, node.now()) {
        return Ok((id, Found::Live(record)));
    }
    // Most reads end above, and need not carry what the others take.
    Box::pin(look_further(node, id, access)).await
}

/// [`look`], for whoever has found no [`live_here`].
pub(crate) fn look_further(
    node: &Arc<Node>,
    id: SessionId,
    access: Access,
) -> impl Future<Output = Result<(SessionId, Found), LoadError>> {
    look_until(node, id, access, deadline_of_a_read(node))
}

/// [`look_further`], until this deadline.
pub(crate) async fn look_until(
    node: &Arc<Node>,
    id: SessionId,
    access: Access,
    deadline: Instant,
) -> Result<(SessionId, Found), LoadError> {
    let following = follow(node, id, access, deadline, Found::moved_to);
    spans::within(spans::load(id), following).await
}

/// The live session that took the place of `id`, over as many renewals as there were; `id` itself if it lives. The last
/// id that is known, without a session, if that has ended.
pub(crate) async fn resolve(
    node: &Arc<Node>,
    id: SessionId,
    deadline: Instant,
) -> Result<(SessionId, Option<Record>), LoadError> {
    let (id, found) = follow(node, id, Access::Peek, deadline, |found| match found {
        Found::Renewed { successor, .. } | Found::Moved(successor) => Some(*successor),
        _ => None,
    })
    .await?;
    Ok((id, if let Found::Live(record) = found { Some(record) } else { None }))
}

/// Until when a read that begins now may take.
pub(crate) fn deadline_of_a_read(node: &Node) -> Instant {
    Instant::now() + node.config.read_deadline
}

/// Reads session `id`, and then the one that `successor` names, and so on; all until one deadline.
async fn follow(
    node: &Arc<Node>,
    id: SessionId,
    access: Access,
    deadline: Instant,
    successor: impl Fn(&Found) -> Option<SessionId>,
) -> Result<(SessionId, Found), LoadError> {
    let mut id = id;
    for _ in 0..SUCCESSORS_MAX {
        let found = find(node, id, access, deadline).await?;
        match successor(&found) {
            Some(successor) => id = successor,
            None => return Ok((id, found)),
        }
    }
    Ok((id, Found::Nothing))
}

/// How often an id is followed to its successor. Each was a login of its own.
pub(crate) const SUCCESSORS_MAX: usize = 8;

/// Reads session `id`, and says how it ended if it did.
pub(crate) async fn find(
    node: &Arc<Node>,
    id: SessionId,
    access: Access,
    deadline: Instant,
) -> Result<Found, LoadError> {
    if is_unknown_here(node, id) {
        return Ok(Found::Nothing);
    }
    if let Some(found) = before_asking(node, id, access) {
        return Ok(found);
    }
    if is_weeded_out(node, id, deadline).await {
        return Ok(Found::Nothing);
    }
    let began = Instant::now();
    loop {
        let Unclear { why, lasting, at_once } = match find_by_asking_once(node, id, access, deadline).await {
            Ok(found) => {
                node.telemetry.latencies.remote_read.record(began.elapsed());
                return Ok(found);
            }
            Err(unclear) => unclear,
        };
        if at_once || Instant::now() >= deadline || node.lifecycle.stop.is_cancelled() {
            coverage::reached(Path::CannotTell);
            node.telemetry.latencies.remote_read.record(began.elapsed());
            node.emit(Event::CannotTell { why });
            return Err(LoadError::CannotTell { id, why, lasting });
        }
        let _ = node.lifecycle.stop.run_until_cancelled(sleep_until(deadline.min(Instant::now() + ASK_AGAIN))).await;
    }
}

/// What can be told of session `id` with one round of questions; `None` if that leaves it open. For whoever can go on
/// without knowing it.
pub(crate) async fn find_once(node: &Arc<Node>, id: SessionId, access: Access, deadline: Instant) -> Option<Found> {
    if let Some(found) = before_asking(node, id, access) {
        return Some(found);
    }
    Box::pin(find_by_asking_once(node, id, access, deadline)).await.ok()
}

/// Asks everybody once; why it is not known, if it is not.
async fn find_by_asking_once(
    node: &Arc<Node>,
    id: SessionId,
    access: Access,
    deadline: Instant,
) -> Result<Found, Unclear> {
    if node.lifecycle.stop.is_cancelled() {
        return Err(Unclear::for_now("this node has left the cluster"));
    }
    let (topology, mut round) = ask_all(node, id, access, deadline).await;
    // Owners that were asked have noted the access. A copy that is only to be passed on must not change by it, or it
    // could never be let go.
    let owner = topology.is_owner(id.slot());
    let noted = round.all_replied() && !owner;
    if let Some(entry) = node.store.get(id) {
        round.on_own_copy(entry.into_record(), owner);
    }
    match round.verdict(node.now()) {
        Verdict::Live(record) => {
            if owner {
                keep(node, id, &record);
            }
            if access == Access::Note && !noted {
                note(node, id);
            }
            Ok(Found::Live(record))
        }
        Verdict::Ended(found) => Ok(found),
        Verdict::NoSuchSession { unknown_to_all } => {
            if unknown_to_all {
                lock(&node.bounds.unknown).note(id, topology.epoch, node.now());
            }
            Ok(Found::Nothing)
        }
        Verdict::Unclear(unclear) => Err(unclear),
    }
}

/// What this node can say without asking, also of an id that nobody can have; `None` if it must ask.
fn before_asking(node: &Node, id: SessionId, access: Access) -> Option<Found> {
    let found = without_asking(node, id, access);
    if found.is_none() {
        node.telemetry.counters.remote_reads.fetch_add(1, Ordering::Relaxed);
    }
    found
}

/// What this node can tell of an id that is one of several: also of one that nobody knew a moment ago. `None` if it must
/// ask.
pub(crate) fn glance(node: &Node, id: SessionId) -> Option<Found> {
    if is_unknown_here(node, id) { Some(Found::Nothing) } else { without_asking(node, id, Access::Peek) }
}

fn without_asking(node: &Node, id: SessionId, access: Access) -> Option<Found> {
    let nobodys = || (!id.is_minted() && !node.lifecycle.stop.is_cancelled()).then_some(Found::Nothing);
    at_once(node, id, access).or_else(nobodys)
}

/// What this node can say by its own copy; `None` if it must ask.
fn at_once(node: &Node, id: SessionId, access: Access) -> Option<Found> {
    let now = node.now();
    by_own_copy(node, id, now, |entry| match entry.record().status() {
        Status::Live => live_in(entry, access, now).map(|(record, propagate)| (Found::Live(record), propagate)),
        Status::Invalidated { .. } => Some((Found::ended(entry.record(), now), false)),
        // In a partition each side decides on the end of what it holds, and another owner may know of a later use.
        Status::Expired => None,
    })
}

/// The session, as it was before this access, if this node can serve its own copy.
pub(crate) fn live_here(node: &Node, id: SessionId, access: Access, now: Moment) -> Option<Record> {
    by_own_copy(node, id, now, |entry| live_in(entry, access, now))
}

/// The session as it was before this access, unless it is past its limit; and whether the access must be propagated.
fn live_in(entry: &mut Entry, access: Access, now: Moment) -> Option<(Record, bool)> {
    let is_usable = entry.record().is_usable(now);
    is_usable.then(|| (entry.record().clone(), access == Access::Note && entry.access(now)))
}

/// What `look` finds in this node's own copy, if it may answer for it. It also says whether an access must be propagated.
fn by_own_copy<R>(
    node: &Node,
    id: SessionId,
    now: Moment,
    look: impl FnOnce(&mut Entry) -> Option<(R, bool)>,
) -> Option<R> {
    if !may_answer(node, id, now) {
        return None;
    }
    let (found, propagate) = node.store.visit(id, look)??;
    if propagate {
        replication::propagate_access(node, id, now);
    }
    node.telemetry.counters.local_reads.fetch_add(1, Ordering::Relaxed);
    Some(found)
}

/// Whether this node may answer for its own copy of `id`.
#[inline]
fn may_answer(node: &Node, id: SessionId, now: Moment) -> bool {
    let topology = node.cluster.topology.load();
    let copy = OwnCopy {
        is_owner: topology.is_owner(id.slot()),
        is_joining: topology.is_joining(topology.me),
        on_hold: node.replication.expiry_holds.holds(id, now),
        // What is held stays held while a node leaves; one that has stopped serves nothing.
        has_stopped: node.is_closed() && node.lifecycle.stop.is_cancelled(),
    };
    leases::may_answer(copy, || node.is_leased(&topology, now))
}

/// The live copy that this node holds, though others may know better. As above, a copy that is only to be passed on must
/// come to rest, so it notes no access before it would have to be told.
pub(crate) fn held(node: &Node, id: SessionId) -> Option<Record> {
    let now = node.now();
    let record = node.store.get(id)?.into_record();
    if !record.is_usable(now) || node.lifecycle.stop.is_cancelled() || node.replication.expiry_holds.holds(id, now) {
        return None;
    }
    let propagate = record.idle_ms(now) >= record.session.idle_limit().ms / 10;
    if propagate || node.cluster.topology.load().is_owner(id.slot()) {
        note(node, id);
    }
    node.telemetry.counters.local_reads.fetch_add(1, Ordering::Relaxed);
    Some(record)
}

/// What an owner has served once it serves from then on, also from its own map; also if it counted it as expired. What was
/// ended for good stays ended.
fn keep(node: &Node, id: SessionId, record: &Record) {
    node.store.update(id, |held| {
        if let Some(entry) = held
            && (entry.record().session.digest() != record.session.digest()
                || entry.record().status() == Status::Expired)
        {
            entry.change(|mine| mine.merge(record));
        }
    });
}

/// The members to ask, and what those that vanished hide.
pub(super) fn with_topology(node: &Node, hides: impl FnOnce(&LostMembers, &Topology) -> bool) -> (Arc<Topology>, bool) {
    // Together: the cluster may be whole again when the answers are in, but it was not asked.
    let lost = lock(&node.cluster.lost);
    let topology = node.topology();
    let blind = hides(&lost, &topology);
    (topology, blind)
}

/// Asks all who may hold the session, at once, and merges what they say.
async fn ask_all(node: &Arc<Node>, id: SessionId, access: Access, deadline: Instant) -> (Arc<Topology>, ReadRound) {
    let now = node.now();
    let hides = |lost: &LostMembers, topology: &Topology| lost.hides(id.slot(), topology.view.len(), now);
    let (topology, is_blind) = with_topology(node, hides);
    let held = node.store.get(id).map(Entry::into_record);
    let digest = held.as_ref().map_or(0, |record| record.session.digest());
    let is_awake = node.is_awake(now);
    let mut round = ReadRound::new(Asker {
        view: topology.hash(),
        is_owner: topology.is_owner(id.slot()),
        is_current: node.is_current(&topology, now),
        held,
        is_awake,
        is_blind,
    });
    let owners: Vec<_> = topology.owners(id.slot()).cloned().collect();
    let others = if node.is_in_transition(&topology, now) { others(&topology, &owners) } else { Vec::new() };
    let mut replies = FuturesUnordered::new();
    for peer in owners.iter().chain(&others) {
        let is_owner = owners.iter().any(|owner| owner.node == peer.node);
        let status = node.status_of(peer, now);
        let silence = Silence { is_silent: is_awake && status.silent, is_cut_off: status.cut_off };
        // Whoever holds it notes the access, also who only passes it on: nobody else may have it yet.
        let question = |request| Message::ReadQuery(ReadQuery { request, id, digest, access: access == Access::Note });
        match request::ask(peer, question) {
            Some(request) if !silence.is_silent => {
                replies.push(async move { (is_owner, request.reply(node, deadline).await, peer) });
            }
            _ => round.on_unreachable(is_owner, silence),
        }
    }
    while let Some((is_owner, reply, peer)) = replies.next().await {
        let Some(Message::ReadReply(reply)) = reply.as_ref().and_then(Reply::message) else {
            round.on_no_reply(is_owner, is_silent(node, peer));
            continue;
        };
        if let Held::This(delta) = &reply.held {
            // What is written upon what was read must outrank it.
            node.replication.lamport.observe(delta.counter());
        }
        let arrived_at = node.now();
        round.on_reply(&reply, is_owner, arrived_at, node.answered_at(now, arrived_at));
        if failpoint::planted(Bug::MissBelieved) && is_owner && reply.held == Held::Nothing {
            break;
        }
        if round.is_decided(node.now()) {
            coverage::reached_if(Path::ReadPastSilentOwner, || owners.iter().any(|owner| is_silent(node, owner)));
            break;
        }
    }
    drop(replies);
    (topology, round)
}

/// While a change of the view settles, members that do not own the session, or did so before, may be the only ones
/// that hold it.
fn others(topology: &Topology, owners: &[Arc<Peer>]) -> Vec<Arc<Peer>> {
    let is_owner = |peer: &&Arc<Peer>| owners.iter().any(|owner| owner.node == peer.node);
    topology.peers().chain(&topology.former).filter(|peer| !is_owner(peer)).cloned().collect()
}

/// Answers a question of another node.
pub(crate) fn answer(node: &Node, ask: &ReadQuery, version: Version) -> Result<Vec<u8>, CodecError> {
    let topology = node.cluster.topology.load();
    let now = node.now();
    let current = topology.is_owner(ask.id.slot()) && node.is_current(&topology, now);
    let on_hold = node.replication.expiry_holds.holds(ask.id, now);
    let entry = node.store.get(ask.id);
    let held = match &entry {
        None if topology.is_joining(topology.me) => Held::Abstains,
        None => Held::Nothing,
        Some(entry) => {
            if ask.access && entry.record().is_usable(now) && !on_hold {
                // All owners were asked, but one of them may take the session for over, and then notes nothing.
                note_at(node, ask.id, node.arrived_at(now));
            }
            if entry.record().session.digest() == ask.digest && entry.record().status() == Status::Live {
                Held::Same { age_ms: entry.record().idle_ms(now) }
            } else {
                Held::This(Delta::since(ask.id, entry.record(), Stamp::ZERO, now))
            }
        }
    };
    let reply = ReadReply { request: ask.request, view: topology.hash().0, current: current && !on_hold, held };
    codec::encode(&Message::ReadReply(reply), version)
}
