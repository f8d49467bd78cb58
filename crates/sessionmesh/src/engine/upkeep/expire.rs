//! The end of idle sessions: one decides, all others agree first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::entry::Entry;
use sessionmesh_core::expiry::{self, Due, Role, due, is_spent};
use sessionmesh_core::id::{NodeHash, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::replication::outbox::{Item, Lane};
use sessionmesh_core::session::Status;
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::wire::message::{ExpireAsk, ExpireItem, Message};
use tokio::time::Instant;

use crate::engine::replication::{self, Made, Wait, replicate};
use crate::engine::request;
use crate::engine::state::node::Node;
use crate::engine::state::store::Store;
use crate::engine::state::topology::Topology;
use crate::event::Event;
use crate::lock::lock;
use crate::log_throttle::LogThrottle;

/// Sessions asked about in one message.
const ASKED_MAX: usize = 4096;
/// The longest time between two looks at a session. It is the bound on how late a session ends in calm, with the two
/// deadlines that the vote and the copies of the end may take.
const SWEEP_MAX: Duration = Duration::from_secs(5);
/// A round goes in so many steps, if there is time for them.
const STEPS: u32 = 16;
/// Steps are whole multiples of this apart, in step with the ticks of the node.
const STEP_UNIT: Duration = Duration::from_millis(50);
/// After so many commit deadlines every member that can be reached has heard of an end.
const HEARD_OF_DEADLINES: u32 = 10;
/// The longest time for which a tombstone stays that has served its time.
const TOMBSTONE_PAUSE_MS_MAX: u64 = 600_000;

/// Looks at all sessions, again and again, until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let round = (node.config.max_inactive / 20).clamp(Duration::from_millis(20), SWEEP_MAX);
    let units = u32::try_from((round / STEPS).as_millis() / STEP_UNIT.as_millis()).expect("a round is short");
    let mut ticks = node.ticks(if units == 0 { round } else { STEP_UNIT * units });
    let stripes: Vec<usize> = Store::stripes().collect();
    let (mut told, mut too_many) = (0, LogThrottle::default());
    let stripes_each = if units == 0 { stripes.len() } else { stripes.len().div_ceil(STEPS as usize) };
    loop {
        for some in stripes.chunks(stripes_each) {
            tokio::select! {
                biased;
                () = node.lifecycle.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            for &stripe in some {
                look_at(&node, stripe);
                // Others have their turn between two stripes.
                tokio::task::yield_now().await;
            }
            let now = node.now();
            node.replication.expiry_holds.sweep(now);
            node.store.tombstones.known_before(now.minus(node.config.commit_deadline * HEARD_OF_DEADLINES));
            let forgotten = node.store.tombstones.forgotten();
            if forgotten > told && too_many.admit().is_some() {
                node.emit(Event::TombstonesForgotten { count: forgotten - told });
                told = forgotten;
            }
        }
    }
}

fn look_at(node: &Arc<Node>, stripe: usize) {
    let topology = node.topology();
    let now = node.now();
    look_at_tombstones(node, &topology, stripe, now);
    let roles: Vec<Role> = Store::slots_of(stripe).map(|slot| topology.role(slot)).collect();
    let role = |slot: Slot| roles[Store::place_in_stripe(slot)];
    let found = node.store.scan(stripe, |id, entry| due(id, entry, role(id.slot()), now));
    let mut asked: BTreeMap<Vec<NodeHash>, Vec<ExpireItem>> = BTreeMap::new();
    for (id, due) in found {
        match due {
            Due::Drop => node.store.update(id, |held| {
                if held.as_ref().is_some_and(|entry| is_spent(entry.record(), role(id.slot()), now)) {
                    let live = |entry: &Entry| entry.record().status() == Status::Live;
                    coverage::reached_if(Path::GuardDropped, || held.as_ref().is_some_and(live));
                    *held = None;
                }
            }),
            Due::PassOn => pass_on(node, &topology, id.into()),
            Due::Ask(item) => asked.entry(topology.owner_nodes(id.slot())).or_default().push(item),
        }
    }
    for items in asked.into_values() {
        for items in items.chunks(ASKED_MAX) {
            let (node, topology, items) = (node.clone(), topology.clone(), items.to_vec());
            node.lifecycle.life.clone().spawn("expiry", async move { decide(&node, &topology, items).await });
        }
    }
}

/// A safety net: an answer that came while a commit still waited was no occasion to let go, and none may come again.
fn pass_on(node: &Node, topology: &Topology, item: Item) {
    replication::drop_if_handed_off(node, item);
    let idle = topology.owners(item.slot()).all(|owner| lock(&owner.outbox).is_clear());
    if idle && node.store.version(item).is_some() {
        replication::forward_to_owners(node, item, Stamp::DIGEST_ONLY, Lane::Bulk);
    }
}

/// Tombstones are not looked at one by one: a slot is, when one of its tombstones is due, or when it is not this node's.
fn look_at_tombstones(node: &Node, topology: &Topology, stripe: usize, now: Moment) {
    let pause_ms = (topology.view.in_force().tombstone_retention_ms / 64).min(TOMBSTONE_PAUSE_MS_MAX);
    for slot in Store::slots_of(stripe) {
        node.store.tombstones.forget_spent(slot, now, pause_ms);
        if !topology.is_owner(slot) && node.store.tombstones.sum(slot).0 > 0 {
            pass_on(node, topology, slot.into());
        }
    }
}

/// Asks the other owners, and ends the sessions that nobody has used later.
async fn decide(node: &Arc<Node>, topology: &Topology, items: Vec<ExpireItem>) {
    let Some(first) = items.first() else { return };
    let asked_at = node.now();
    let deadline = Instant::now() + node.config.commit_deadline;
    let asks = topology.owners(first.id.slot()).map(|peer| {
        let items = items.clone();
        let request = request::ask(peer, |request| Message::ExpireAsk(ExpireAsk { request, items }));
        async move {
            match request?.reply(node, deadline).await?.message() {
                Some(Message::ExpireVotes(votes)) => Some(votes.nothing_later),
                _ => None,
            }
        }
    });
    let votes: Vec<Option<Vec<bool>>> = join_all(asks).await;
    if node.cluster.topology.load().epoch != topology.epoch {
        coverage::reached(Path::ExpiryPutOff);
        return;
    }
    coverage::reached_if(Path::ExpiryPutOff, || votes.iter().any(Option::is_none));
    for (at, item) in items.iter().enumerate() {
        if expiry::is_agreed(votes.iter().map(|votes| votes.as_ref()?.get(at).copied())) {
            end(node, item, asked_at);
        }
    }
}

fn end(node: &Arc<Node>, item: &ExpireItem, asked_at: Moment) {
    let stamp = node.store.update(item.id, |held| {
        let ended = held.as_mut().is_some_and(|entry| entry.change(|record| expiry::end(record, item, asked_at)));
        ended.then(|| node.tick())
    });
    let Some(stamp) = stamp else { return };
    let (node, id) = (node.clone(), item.id);
    node.lifecycle.life.clone().spawn("expiry", async move {
        // It goes on replicating after a time-out. The event is told either way, since the end stands.
        let _ = replicate(&node, id, Made { stamp, from: Stamp::DIGEST_ONLY, at: node.now() }, Wait::for_owners(&node))
            .await;
        node.emit(Event::Expired { id });
    });
}

/// Votes on sessions that their primary wants to end.
pub(crate) fn vote(node: &Node, from: NodeHash, ask: &ExpireAsk) -> sessionmesh_core::wire::message::ExpireVotes {
    let now = node.now();
    let topology = node.cluster.topology.load();
    // For as long as both the votes and the copies of the end may take, where it is decided.
    let theirs = topology.peer(from).map_or(0, |peer| peer.member.terms.commit_deadline_ms);
    let fence = now.plus_ms(node.identity.terms.commit_deadline_ms.max(theirs) * 2);
    let vote_on = |item: &ExpireItem| {
        let from_primary = topology.owner_nodes(item.id.slot()).first() == Some(&from);
        let agrees = |held: Option<&Entry>| expiry::agrees(held.map(Entry::record), item, from_primary, now);
        let agreed = node.store.read(item.id, agrees);
        coverage::reached_if(Path::ExpiryRefused, || !agreed);
        if agreed {
            node.replication.expiry_holds.set(item.id, fence);
        } else if let Some(peer) = topology.peer(from) {
            peer.mark(item.id, Stamp::ZERO, Lane::Usual, false, now);
        }
        agreed
    };
    let nothing_later = ask.items.iter().map(vote_on).collect();
    sessionmesh_core::wire::message::ExpireVotes { request: ask.request, nothing_later }
}
