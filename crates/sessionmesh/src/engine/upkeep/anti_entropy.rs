//! Anti-entropy: pairs of owners compare what they hold, and send each other what is missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::id::{NodeHash, SLOTS, SessionId, Slot};
use sessionmesh_core::placement::view::ViewHash;
use sessionmesh_core::replication::outbox::Lane;
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::message::{Audit, AuditDiffers, Message, Want};
use tokio::time::{Instant, sleep};

use crate::engine::request;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::store::Store;
use crate::engine::state::topology::Topology;
use crate::event::Event;
use crate::lock::lock;

/// Sessions listed in one answer. Slots that do not fit are asked for again.
const LISTED_MAX: usize = 20_000;
/// How often the task looks for audits that are due.
const LOOK: Duration = Duration::from_millis(50);

/// Audits whoever is due, and each pair once per interval, until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let mut next = Instant::now() + interval(&node);
    let mut looks = node.ticks(LOOK);
    loop {
        tokio::select! {
            biased;
            () = node.lifecycle.stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        if Instant::now() >= next {
            next = Instant::now() + interval(&node);
            let topology = node.cluster.topology.load();
            // A newcomer compares with each peer once before it is ready. With many of them that takes longer than a short
            // interval, and it must not begin anew meanwhile.
            let peers = topology.peers().filter(|_| !topology.is_joining(topology.me));
            peers.for_each(|peer| peer.audits.want());
        }
        for peer in node.topology().peers() {
            // Asked first: a change of the view that comes meanwhile wants an audit of its own.
            let Some(round) = peer.audits.due() else { continue };
            let topology = node.topology();
            if !starts_ever(&node, &topology, peer) {
                peer.audits.done(round);
            } else if starts(&node, &topology, peer) && with(&node, &topology, peer).await {
                peer.audits.done(round);
                node.lifecycle.changed.notify_waiters();
            }
        }
    }
}

/// The interval with up to a tenth of jitter, so that nodes started together do not audit together for ever.
fn interval(node: &Node) -> Duration {
    let full = node.config.audit_interval;
    full - Duration::from_millis(node.random_below(sessionmesh_core::moment::millis(full) / 10))
}

/// Of a pair one starts; a node that is joining starts always, since it is the one that lacks something.
fn starts_ever(node: &Node, topology: &Topology, peer: &Peer) -> bool {
    topology.is_joining(topology.me) || node.identity.hash < peer.node
}

/// An audit makes sense once this node has sent what it owes, and the other has said the same.
fn starts(node: &Node, topology: &Topology, peer: &Peer) -> bool {
    starts_ever(node, topology, peer)
        && peer.is_connected()
        && node.replication.scanned.get() == topology.epoch
        && lock(&peer.outbox).owed() == 0
        && node.status_of(peer, node.now()).gave_all(topology.hash())
}

/// One comparison. Whether that was all there is to compare.
async fn with(node: &Arc<Node>, topology: &Topology, peer: &Arc<Peer>) -> bool {
    let slots: Vec<SlotSums> =
        Slot::all().filter(|slot| common(topology, peer.node, *slot)).map(|slot| sums(node, slot)).collect();
    let Some(differs) = ask(node, topology, peer, slots.clone()).await else { return false };
    if !(differs.slots.is_empty() && differs.tombstones.is_empty()) {
        coverage::reached(Path::AuditDifference);
        let Some(found) = lasting(node, topology, peer, &slots, &differs).await else { return false };
        if found > 0 {
            coverage::reached_if(Path::AuditRepair, || !topology.is_joining(topology.me));
            node.telemetry.counters.audit_differences.fetch_add(found as u64, Ordering::Relaxed);
            node.emit(Event::AuditDiffers { name: peer.member.name.clone(), slots: found });
        }
        repair(node, peer, &differs).await;
    }
    !differs.more
}

/// A slot, with the digests of its sessions and of its tombstones.
type SlotSums = (u16, u64, u64);

fn sums(node: &Node, slot: Slot) -> SlotSums {
    (slot.number(), node.store.slot_digest(slot), node.store.tombstones.sum(slot).1)
}

/// What the other has differently in these slots; `None` if that cannot be told under this view.
async fn ask(node: &Node, topology: &Topology, peer: &Arc<Peer>, slots: Vec<SlotSums>) -> Option<AuditDiffers> {
    let view = topology.hash().0;
    let deadline = Instant::now() + node.config.commit_deadline * 2;
    let request = request::ask(peer, |request| Message::Audit(Audit { request, view, slots }))?;
    let reply = request.reply(node, deadline).await?;
    let Some(Message::AuditDiffers(differs)) = reply.message() else { return None };
    (differs.comparable && node.cluster.topology.load().epoch == topology.epoch).then_some(differs)
}

/// How many of the slots that differed still do, though neither side has changed them for a commit deadline. A slot that is
/// in use differs whenever a change is on its way, and nothing is wrong with that. `None` if it cannot be told any more.
async fn lasting(
    node: &Node,
    topology: &Topology,
    peer: &Arc<Peer>,
    asked: &[SlotSums],
    first: &AuditDiffers,
) -> Option<usize> {
    if topology.is_joining(topology.me) {
        // It must not wait, and what it lacks is no riddle.
        return Some(first.slots.len() + first.tombstones.len());
    }
    node.lifecycle.stop.run_until_cancelled(sleep(node.config.commit_deadline)).await?;
    let [slots, tombstones] = [&first.slots, &first.tombstones].map(|all| all.iter().copied().collect::<BTreeSet<_>>());
    let differed = |slot: &u16| slots.contains(slot) || tombstones.contains(slot);
    let unchanged = |before: &SlotSums| Slot::new(before.0).is_some_and(|slot| sums(node, slot) == *before);
    let again: Vec<SlotSums> =
        asked.iter().filter(|before| differed(&before.0) && unchanged(before)).copied().collect();
    if again.is_empty() {
        return Some(0);
    }
    let second = ask(node, topology, peer, again).await?;
    let [before, now] = [first, &second].map(|differs| differs.held.iter().copied().collect::<BTreeSet<_>>());
    let changed: BTreeSet<u16> = before.symmetric_difference(&now).map(|(id, _)| id.slot().number()).collect();
    let last = second.slots.iter().filter(|slot| slots.contains(slot) && !changed.contains(slot)).count();
    Some(last + second.tombstones.iter().filter(|slot| tombstones.contains(slot)).count())
}

/// Sends what the other lacks, and asks for what this node lacks. What both have differently is sent: if the other has
/// something newer, it sends that back.
async fn repair(node: &Arc<Node>, peer: &Peer, differs: &AuditDiffers) {
    let mut listed = vec![false; SLOTS];
    for slot in differs.slots.iter().filter_map(|slot| Slot::new(*slot)) {
        listed[slot.index()] = true;
    }
    let mut theirs = differs.held.clone();
    theirs.sort_unstable();
    let digest_there = |id: SessionId| theirs.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| theirs[at].1);
    for stripe in Store::stripes() {
        let mine = node.store.scan(stripe, |id, entry| {
            let digest = entry.record().session.digest();
            (listed[id.slot().index()] && digest_there(id) != Some(digest)).then_some(())
        });
        let now = node.now();
        for (id, ()) in mine {
            peer.mark(id, Stamp::ZERO, Lane::Bulk, false, now);
        }
        tokio::task::yield_now().await;
    }
    let lacking =
        |(id, _): &&(SessionId, u64)| listed[id.slot().index()] && node.store.read(*id, |held| held.is_none());
    let ids: Vec<SessionId> = theirs.iter().filter(lacking).map(|(id, _)| *id).collect();
    let (mine, lacking): (Vec<Slot>, Vec<Slot>) = differs
        .tombstones
        .iter()
        .filter_map(|slot| Slot::new(*slot))
        .partition(|slot| node.store.tombstones.sum(*slot).0 > 0);
    for slot in mine {
        peer.mark(slot, Stamp::ZERO, Lane::Bulk, false, node.now());
    }
    if !(ids.is_empty() && lacking.is_empty()) {
        let tombstones = lacking.into_iter().map(Slot::number).collect();
        peer.send(&Message::Want(Want { ids, tombstones }));
    }
}

/// Answers an audit: which of the slots differ, and which sessions are held in them.
pub(crate) fn compare(node: &Node, from: NodeHash, asked: &Audit) -> AuditDiffers {
    let topology = node.cluster.topology.load();
    let mut answer = AuditDiffers {
        request: asked.request,
        comparable: false,
        slots: Vec::new(),
        tombstones: Vec::new(),
        more: false,
        held: Vec::new(),
    };
    if ViewHash(asked.view) != topology.hash() || node.replication.scanned.get() != topology.epoch {
        return answer;
    }
    answer.comparable = true;
    let mut differs: Vec<Slot> = Vec::new();
    for (number, sessions, tombstones) in &asked.slots {
        let Some(slot) = Slot::new(*number).filter(|slot| common(&topology, from, *slot)) else { continue };
        if node.store.slot_digest(slot) != *sessions {
            differs.push(slot);
        }
        if node.store.tombstones.sum(slot).1 != *tombstones {
            answer.tombstones.push(*number);
        }
    }
    differs.sort_unstable();
    differs.dedup();
    answer.tombstones.sort_unstable();
    answer.tombstones.dedup();
    for slot in differs {
        let held = node
            .store
            .scan(Store::stripe_of(slot), |id, entry| (id.slot() == slot).then(|| entry.record().session.digest()));
        if !answer.held.is_empty() && answer.held.len() + held.len() > LISTED_MAX {
            answer.more = true;
            break;
        }
        answer.slots.push(slot.number());
        answer.held.extend(held);
    }
    answer
}

/// Sends what a peer found missing.
pub(crate) fn send_wanted(node: &Node, from: NodeHash, want: &Want) {
    let topology = node.cluster.topology.load();
    let Some(peer) = topology.peer(from) else { return };
    let now = node.now();
    for slot in want.tombstones.iter().filter_map(|slot| Slot::new(*slot)) {
        peer.mark(slot, Stamp::ZERO, Lane::Bulk, true, now);
    }
    for id in &want.ids {
        if node.store.read(*id, |held| held.is_some()) {
            peer.mark(*id, Stamp::ZERO, Lane::Bulk, true, now);
        }
    }
}

/// Whether both this node and `node` own `slot`.
fn common(topology: &Topology, node: NodeHash, slot: Slot) -> bool {
    topology.is_owner(slot) && topology.owners(slot).any(|owner| owner.node == node)
}
