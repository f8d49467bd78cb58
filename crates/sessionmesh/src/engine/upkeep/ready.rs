//! From joining to ready: when a node has all that its slots hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::membership::evidence::Evidence;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::transition::{self, Donor};
use sessionmesh_core::placement::view::MemberState;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::search::Search;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::topology::Topology;
use crate::event::Event;
use crate::membership::{GossipState, Membership};
use crate::spans;

/// Says to the cluster and to `ready` when this node has all that it must hold; again if it has to join anew.
pub(crate) async fn run(node: Arc<Node>, membership: Arc<Membership>, search: Arc<Search>, ready: watch::Sender<bool>) {
    let stop = node.lifecycle.stop.clone();
    let joining = async {
        loop {
            let began = Instant::now();
            let join = node.lifecycle.joins.load(Ordering::Acquire);
            membership.set_state(GossipState::Joining).await;
            ready.send_replace(false);
            let span = spans::join(&node.config.name);
            let skipped = wait_for_all(&node, &membership, &search).instrument(span).await;
            if join != node.lifecycle.joins.load(Ordering::Acquire) {
                continue;
            }
            coverage::reached_if(Path::ReadyWithSessions, || node.store.live() > 0);
            if !skipped.is_empty() {
                coverage::reached(Path::DonorSkipped);
            }
            node.telemetry.latencies.join.record(began.elapsed());
            node.emit(Event::Ready { sessions: node.store.live(), without: skipped });
            node.cluster.reports.found(Evidence::Ready(join)).await;
            membership.set_state(GossipState::Ready).await;
            ready.send_replace(true);
            node.lifecycle.rejoin.notified().await;
        }
    };
    stop.run_until_cancelled(joining).await;
}

/// Waits until all members that are not silent gave what they had, and returns the names of those that are.
async fn wait_for_all(node: &Node, membership: &Membership, search: &Search) -> Vec<String> {
    let mut few = TooFewMembers::default();
    let mut met = false;
    let mut alone_since: Option<Instant> = None;
    loop {
        let alone = node.cluster.topology.load().peers().next().is_none();
        // Gossip tells of the dead, too, but only the living can have told.
        let heard = || membership.heard().borrow().iter().any(|heard| *heard.name != *node.config.name);
        met |= !alone || heard();
        alone_since = alone.then(|| alone_since.unwrap_or_else(Instant::now));
        // Whoever was heard of is gone, or not heard often enough to count. Before this node believes that it is alone,
        // others get their time to be heard.
        let may_hear = met && alone_since.is_some_and(|since| since.elapsed() < node.config.discovery_window);
        let cut_off = search.misses_somebody(node);
        if !may_hear
            && !cut_off
            && !few.hold_back(node)
            && let Some(skipped) = has_all(node)
        {
            return skipped;
        }
        // A lease runs out without a message, so the wait has an end of its own.
        let _ = timeout(Duration::from_millis(20), node.lifecycle.changed.notified()).await;
    }
}

/// Whether there are fewer members than the settings ask for.
#[derive(Default)]
struct TooFewMembers {
    since: Option<Instant>,
    said: Option<Instant>,
}

/// A node that waits for members says so after this time: those that start together are there by then.
const FEW_SAID_AFTER: Duration = Duration::from_secs(5);
/// And again after this time.
const FEW_SAID_AGAIN: Duration = Duration::from_secs(60);

impl TooFewMembers {
    /// Whether there are; says so now and then.
    fn hold_back(&mut self, node: &Node) -> bool {
        let topology = node.cluster.topology.load();
        let members = topology.view.members().iter().filter(|member| member.state != MemberState::Leaving).count();
        let wanted = usize::from(node.config.min_members);
        if members >= wanted {
            self.since = None;
            return false;
        }
        let waits = self.since.get_or_insert_with(Instant::now).elapsed() >= FEW_SAID_AFTER;
        if waits && self.said.is_none_or(|at| at.elapsed() >= FEW_SAID_AGAIN) {
            self.said = Some(Instant::now());
            node.emit(Event::MembersMissing { members, wanted });
        }
        true
    }
}

/// The members that were skipped because they are silent for long, once all others gave what they had.
fn has_all(node: &Node) -> Option<Vec<String>> {
    let topology = node.cluster.topology.load();
    let now = node.now();
    // A node that is leaving meanwhile does not become ready.
    if !topology.is_joining(topology.me) || node.replication.scanned.get() != topology.epoch {
        return None;
    }
    let mut skipped = Vec::new();
    for peer in topology.peers() {
        match donor(node, &topology, peer, now) {
            Donor::Gave => {}
            Donor::CutOff => skipped.push(peer.member.name.to_string()),
            Donor::Owes => return None,
        }
    }
    Some(skipped)
}

/// What this node, which joins, has of a member.
fn donor(node: &Node, topology: &Topology, peer: &Peer, now: Moment) -> Donor {
    let compared = !topology.is_co_owner(&peer.member.name) || peer.audits.due().is_none();
    transition::donor(node.status_of(peer, now), compared, topology.hash())
}

/// The names of the members that this node, which joins, has not got everything from yet.
pub(crate) fn owing(node: &Node) -> Vec<String> {
    let (topology, now) = (node.topology(), node.now());
    let owes = |peer: &&Arc<Peer>| matches!(donor(node, &topology, peer, now), Donor::Owes);
    topology.peers().filter(owes).map(|peer| peer.member.name.to_string()).collect()
}
