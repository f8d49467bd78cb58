//! What a node is like at this moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh_core::expiry::Role;
use sessionmesh_core::id::Slot;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::view::MemberState;
use sessionmesh_core::terms::Difference;

use super::{CommitOutcome, PeerStats, Stats};
use crate::blindness;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::store::user_index::SessionsByUser;
use crate::engine::state::topology::Topology;
use crate::event::Event;
use crate::lock::lock;
use crate::security::certificates::Certificates;

/// Collects it. The store is not walked: its sums are kept by slot.
pub(crate) fn of(node: &Node) -> Stats {
    let (topology, security) = (node.topology(), &node.ports.security);
    let emitted = node.telemetry.emitted();
    let events: BTreeMap<&'static str, u64> = Event::NAMES.iter().copied().zip(emitted).collect();
    let commits_by = node.telemetry.commits();
    let commits = |counts: fn(CommitOutcome) -> bool| {
        commits_by.iter().filter(|by| counts(by.outcome)).map(|by| by.count).sum::<u64>()
    };
    let now = node.now();
    let peers: BTreeMap<String, PeerStats> =
        topology.peers().map(|peer| (peer.member.name.to_string(), of_peer(peer, now))).collect();
    let mut stats = Stats {
        sessions: node.store.live(),
        ended: node.store.ended(),
        tombstones_forgotten: node.store.tombstones.forgotten(),
        outbox: peers.values().map(|peer| peer.outbox).sum(),
        in_flight: topology.peers().map(|peer| lock(&peer.outbox).batches_under_way()).sum(),
        expiry_holds: node.replication.expiry_holds.len(),
        waiting_commits: lock(&node.replication.acks).len(),
        users_indexed: node.store.users().map_or(0, SessionsByUser::len),
        renewals_in_progress: node.replication.renewals_followed.load(Ordering::Relaxed),
        suspected: peers.iter().filter(|(_, peer)| peer.suspected).map(|(name, _)| name.clone()).collect(),
        blindness: blindness::of(node),
        late_ms: node.cluster.lateness.ms(),
        busy: node.cluster.lateness.is_busy(),
        insecure: node.is_exposed(),
        certificate_remaining: security.of_certificate(Certificates::remaining),
        refusals: security.refusals.counts(),
        bytes_decoded: security.refusals.decoded(),
        commits: commits(|outcome| outcome != CommitOutcome::Refused),
        commit_timeouts: commits(|outcome| outcome == CommitOutcome::TimedOut),
        cannot_tell: events["cannot_tell"],
        expired: events["session_expired"],
        suspicions: events["member_suspected"],
        settings_differ: Difference::all(&topology.view).len(),
        members: members(&topology),
        peers,
        events,
        commits_by,
        ..Stats::default()
    };
    count_held(&mut stats, node, &topology);
    node.telemetry.counters.fill(&mut stats);
    stats
}

fn count_held(stats: &mut Stats, node: &Node, topology: &Topology) {
    for slot in Slot::all() {
        let held = node.store.held_of(slot);
        let role = topology.role(slot);
        stats.bytes += held.bytes;
        match role {
            Role::Primary => stats.primary += held.live,
            Role::Backup => stats.replica += held.live,
            Role::Stranger => {}
        }
        if role != Role::Stranger {
            stats.owned += held.live + held.ended;
        }
    }
}

/// What a member does, in one word.
pub(crate) const fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Ready => "ready",
        MemberState::Leaving => "leaving",
    }
}

fn members(topology: &Topology) -> BTreeMap<&'static str, usize> {
    // All states are there, so that none is missing from the metrics when its last member has gone.
    let all = [MemberState::Joining, MemberState::Ready, MemberState::Leaving];
    let mut members: BTreeMap<&'static str, usize> = all.map(|state| (state_name(state), 0)).into();
    for member in topology.view.members() {
        *members.entry(state_name(member.state)).or_default() += 1;
    }
    members
}

fn of_peer(peer: &Arc<Peer>, now: Moment) -> PeerStats {
    let (outbox, (oldest, latest)) = {
        let outbox = lock(&peer.outbox);
        (outbox.len(), outbox.oldest_and_latest())
    };
    PeerStats {
        connected: peer.is_connected(),
        version: peer.version().map(|version| version.number()),
        suspected: lock(&peer.liveness).is_suspected(),
        outbox,
        oldest: Duration::from_millis(lock(&peer.backlog).look(oldest, latest, now)),
    }
}
