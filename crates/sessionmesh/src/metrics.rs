//! The metrics of a node, given to whatever recorder of the `metrics` facade the program has installed.
//!
//! Counts and states are [`Stats`], published once a second; only latencies are recorded as they come. docs/metrics.md lists
//! all, and what to do about them.

use std::time::Duration;

use metrics::{
    Histogram, Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::config::Config;
use crate::stats::Stats;

/// What kind of metric it is, and the unit of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    /// In seconds.
    Histogram,
}

/// All metrics: the name, the kind and what it says. Each has the label `node`, the name of the node.
const FAMILIES: &[(&str, Kind, &str)] = &[
    ("sessionmesh_info", Kind::Gauge, "Always 1; the labels say the cluster, the zone and the version of this node."),
    ("sessionmesh_ready", Kind::Gauge, "1 if this node has all that it must hold, and serves it."),
    ("sessionmesh_alone", Kind::Gauge, "1 if no other node was found, although the settings name some."),
    ("sessionmesh_insecure", Kind::Gauge, "1 if other machines can reach this node, and its traffic is not protected."),
    (
        "sessionmesh_settings_differ",
        Kind::Gauge,
        "How many settings are not the same on all members, though they should be.",
    ),
    ("sessionmesh_members", Kind::Gauge, "Members in the view of this node, by state."),
    (
        "sessionmesh_sessions",
        Kind::Gauge,
        "Live sessions that this node holds: as primary, as replica, or in transit to their owners.",
    ),
    ("sessionmesh_ended_sessions", Kind::Gauge, "Tombstones and expired sessions that this node holds."),
    ("sessionmesh_session_bytes", Kind::Gauge, "Bytes of the keys and values of all sessions that this node holds."),
    ("sessionmesh_user_indexed_sessions", Kind::Gauge, "Sessions held here whose user is in the user index."),
    ("sessionmesh_commits_total", Kind::Counter, "Commits, by what they waited for and what came of them."),
    ("sessionmesh_commits_waiting", Kind::Gauge, "Commits that wait for acknowledgements."),
    (
        "sessionmesh_commit_duration_seconds",
        Kind::Histogram,
        "From the beginning of a commit to its acknowledgement, for commits that wait for one.",
    ),
    (
        "sessionmesh_reads_total",
        Kind::Counter,
        "Reads, by where the answer came from: this node's memory, or other nodes.",
    ),
    ("sessionmesh_remote_read_duration_seconds", Kind::Histogram, "Reads that asked other nodes."),
    ("sessionmesh_user_queries_total", Kind::Counter, "Queries for the sessions of a user that began on this node."),
    ("sessionmesh_join_duration_seconds", Kind::Histogram, "From when this node began to join until it was ready."),
    (
        "sessionmesh_handover_duration_seconds",
        Kind::Histogram,
        "From when this node began to leave until all that it held was handed over.",
    ),
    (
        "sessionmesh_deltas_sent_total",
        Kind::Counter,
        "Deltas sent to other nodes; a session counts once for each node and batch.",
    ),
    ("sessionmesh_deltas_received_total", Kind::Counter, "Deltas received from other nodes."),
    (
        "sessionmesh_delta_mismatches_total",
        Kind::Counter,
        "Deltas that did not fit the receiver's copy, so that the whole session was sent.",
    ),
    ("sessionmesh_transit_copies_total", Kind::Counter, "Deltas that a node took only to forward them to the owners."),
    (
        "sessionmesh_copies_dropped_total",
        Kind::Counter,
        "Copies that this node dropped because it does not own them and all owners have them.",
    ),
    (
        "sessionmesh_outbox_sessions",
        Kind::Gauge,
        "Sessions with changes that wait to be sent to a peer, or are on their way to it.",
    ),
    (
        "sessionmesh_outbox_oldest_seconds",
        Kind::Gauge,
        "For how long the oldest change that waits to be sent to a peer has waited.",
    ),
    ("sessionmesh_link_up", Kind::Gauge, "1 if the link to a peer is up."),
    ("sessionmesh_peer_suspected", Kind::Gauge, "1 if this node suspects the peer: it does not answer in time."),
    ("sessionmesh_link_round_trip_seconds", Kind::Histogram, "From a ping to its answer, over all links."),
    ("sessionmesh_events_total", Kind::Counter, "Events, by their names; docs/metrics.md says what each means."),
    (
        "sessionmesh_audit_differences_total",
        Kind::Counter,
        "Slots in which an anti-entropy comparison found a difference that was no change on its way.",
    ),
    (
        "sessionmesh_evictions_total",
        Kind::Counter,
        "Sessions ended, and ends forgotten, because a limit of the settings was reached, by limit.",
    ),
    ("sessionmesh_refusals_total", Kind::Counter, "Connections and datagrams that were refused, by reason."),
    (
        "sessionmesh_accept_errors_total",
        Kind::Counter,
        "Connections of other nodes that could not be accepted, for example for want of file descriptors.",
    ),
    ("sessionmesh_decoded_bytes_total", Kind::Counter, "Bytes from the network that were given to a decoder."),
    ("sessionmesh_lateness_seconds", Kind::Gauge, "How late this node does its work, smoothed."),
    ("sessionmesh_busy", Kind::Gauge, "1 if this host is too busy for its node."),
    (
        "sessionmesh_blind_slots",
        Kind::Gauge,
        "Slots of which it cannot be told which sessions there were, because all nodes that held them vanished.",
    ),
    ("sessionmesh_expiry_holds", Kind::Gauge, "Sessions whose expiry is being voted on."),
    ("sessionmesh_renewals_in_progress", Kind::Gauge, "Renewals that are not complete yet."),
    (
        "sessionmesh_certificate_remaining_seconds",
        Kind::Gauge,
        "How long the certificate in use is still valid; only with certificates.",
    ),
];

/// Where latencies are recorded.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// Of commits: `Local` (never recorded), `Copies` and `Owners`.
    pub(crate) commit: [Histogram; 3],
    pub(crate) remote_read: Histogram,
    pub(crate) join: Histogram,
    pub(crate) handover: Histogram,
    pub(crate) round_trip: Histogram,
}

impl Latencies {
    /// Of the node with this name, by the recorder that is installed now. Describes all metrics to it.
    pub(crate) fn of(node: &str) -> Self {
        describe();
        let commit = |ack: &'static str| {
            let labels = vec![Label::new("node", node.to_owned()), Label::from_static_parts("ack", ack)];
            histogram!("sessionmesh_commit_duration_seconds", labels)
        };
        let plain = |name: &'static str| histogram!(name, vec![Label::new("node", node.to_owned())]);
        Self {
            commit: [Histogram::noop(), commit("copies"), commit("owners")],
            remote_read: plain("sessionmesh_remote_read_duration_seconds"),
            join: plain("sessionmesh_join_duration_seconds"),
            handover: plain("sessionmesh_handover_duration_seconds"),
            round_trip: plain("sessionmesh_link_round_trip_seconds"),
        }
    }
}

fn describe() {
    for (name, kind, help) in FAMILIES {
        let unit = match () {
            () if name.contains("_seconds") => Unit::Seconds,
            () if name.contains("bytes") => Unit::Bytes,
            () => Unit::Count,
        };
        match kind {
            Kind::Counter => describe_counter!(*name, unit, *help),
            Kind::Gauge => describe_gauge!(*name, unit, *help),
            Kind::Histogram => describe_histogram!(*name, unit, *help),
        }
    }
}

/// What is published beside [`Stats`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) ready: bool,
    pub(crate) alone: bool,
}

/// Gives all counts and states to the recorder.
pub(crate) fn publish(config: &Config, stats: &Stats, state: State) {
    for Sample { name, labels, value } in samples(config, stats, state) {
        match value {
            Value::Counter(count) => counter!(name, labels).absolute(count),
            Value::Gauge(level) => gauge!(name, labels).set(level),
        }
    }
}

/// One series at one moment.
struct Sample {
    name: &'static str,
    labels: Vec<Label>,
    value: Value,
}

enum Value {
    Counter(u64),
    Gauge(f64),
}

/// Collects samples of one node.
struct Samples {
    node: String,
    all: Vec<Sample>,
}

impl Samples {
    fn add<const N: usize>(&mut self, name: &'static str, labels: [(&'static str, &str); N], value: Value) {
        let mut all = vec![Label::new("node", self.node.clone())];
        all.extend(labels.map(|(key, value)| Label::new(key, value.to_owned())));
        self.all.push(Sample { name, labels: all, value });
    }

    fn count<const N: usize>(&mut self, name: &'static str, labels: [(&'static str, &str); N], count: u64) {
        self.add(name, labels, Value::Counter(count));
    }

    fn level<const N: usize>(&mut self, name: &'static str, labels: [(&'static str, &str); N], level: f64) {
        self.add(name, labels, Value::Gauge(level));
    }

    fn flag<const N: usize>(&mut self, name: &'static str, labels: [(&'static str, &str); N], flag: bool) {
        self.level(name, labels, f64::from(u8::from(flag)));
    }
}

fn samples(config: &Config, stats: &Stats, state: State) -> Vec<Sample> {
    let mut to = Samples { node: config.name.clone(), all: Vec::with_capacity(128) };
    let version = env!("CARGO_PKG_VERSION");
    to.level("sessionmesh_info", [("cluster", &*config.cluster), ("zone", &*config.zone), ("version", version)], 1.0);
    to.flag("sessionmesh_ready", [], state.ready);
    to.flag("sessionmesh_alone", [], state.alone);
    to.flag("sessionmesh_insecure", [], stats.insecure);
    to.level("sessionmesh_settings_differ", [], number(stats.settings_differ));
    for (state, count) in &stats.members {
        to.level("sessionmesh_members", [("state", *state)], number(*count));
    }
    held(&mut to, stats);
    traffic(&mut to, stats);
    peers(&mut to, stats);
    for (name, count) in &stats.events {
        to.count("sessionmesh_events_total", [("event", *name)], *count);
    }
    for (reason, count) in stats.refusals.by_reason() {
        to.count("sessionmesh_refusals_total", [("reason", reason)], count);
    }
    to.count("sessionmesh_evictions_total", [("limit", "max_sessions_per_user")], stats.user_limit_ended);
    to.count("sessionmesh_evictions_total", [("limit", "max_tombstones")], stats.tombstones_forgotten);
    to.level("sessionmesh_lateness_seconds", [], Duration::from_millis(stats.late_ms).as_secs_f64());
    to.flag("sessionmesh_busy", [], stats.busy);
    to.level("sessionmesh_blind_slots", [], number(stats.blindness.as_ref().map_or(0, |blind| blind.slots)));
    if let Some(remaining) = stats.certificate_remaining {
        to.level("sessionmesh_certificate_remaining_seconds", [], remaining.as_secs_f64());
    }
    to.all
}

fn held(to: &mut Samples, stats: &Stats) {
    let transit = stats.sessions.saturating_sub(stats.primary + stats.replica);
    for (role, count) in [("primary", stats.primary), ("replica", stats.replica), ("transit", transit)] {
        to.level("sessionmesh_sessions", [("role", role)], number(count));
    }
    to.level("sessionmesh_ended_sessions", [], number(stats.ended));
    to.level("sessionmesh_session_bytes", [], stats.bytes as f64);
    to.level("sessionmesh_user_indexed_sessions", [], number(stats.users_indexed));
    to.level("sessionmesh_expiry_holds", [], number(stats.expiry_holds));
    to.level("sessionmesh_renewals_in_progress", [], number(stats.renewals_in_progress));
}

fn traffic(to: &mut Samples, stats: &Stats) {
    for by in &stats.commits_by {
        to.count("sessionmesh_commits_total", [("ack", by.ack), ("result", by.outcome.name())], by.count);
    }
    to.level("sessionmesh_commits_waiting", [], number(stats.waiting_commits));
    to.count("sessionmesh_reads_total", [("source", "local")], stats.local_reads);
    to.count("sessionmesh_reads_total", [("source", "remote")], stats.remote_reads);
    to.count("sessionmesh_user_queries_total", [], stats.user_queries);
    to.count("sessionmesh_deltas_sent_total", [], stats.deltas_sent);
    to.count("sessionmesh_deltas_received_total", [], stats.deltas_received);
    to.count("sessionmesh_delta_mismatches_total", [], stats.mismatches);
    to.count("sessionmesh_transit_copies_total", [], stats.transit_copies);
    to.count("sessionmesh_copies_dropped_total", [], stats.copies_dropped);
    to.count("sessionmesh_audit_differences_total", [], stats.audit_differences);
    to.count("sessionmesh_accept_errors_total", [], stats.accept_errors);
    to.count("sessionmesh_decoded_bytes_total", [], stats.bytes_decoded);
}

fn peers(to: &mut Samples, stats: &Stats) {
    for (name, peer) in &stats.peers {
        let label = [("peer", name.as_str())];
        to.level("sessionmesh_outbox_sessions", label, number(peer.outbox));
        to.level("sessionmesh_outbox_oldest_seconds", label, peer.oldest.as_secs_f64());
        to.flag("sessionmesh_link_up", label, peer.connected);
        to.flag("sessionmesh_peer_suspected", label, peer.suspected);
    }
}

/// Exact up to 2^53.
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::stats::PeerStats;

    fn full() -> Stats {
        Stats {
            members: [("ready", 2)].into(),
            events: crate::Event::NAMES.iter().map(|name| (*name, 1)).collect(),
            peers: [("b".to_owned(), PeerStats::default())].into(),
            commits_by: crate::engine::state::telemetry::Telemetry::new(Latencies::of("a")).commits(),
            certificate_remaining: Some(Duration::from_secs(1)),
            ..Stats::default()
        }
    }

    #[test]
    fn everything_that_is_published_is_described_and_the_other_way_round() {
        let samples = samples(&Config::default(), &full(), State { ready: true, alone: false });
        let published: BTreeSet<(&str, bool)> =
            samples.iter().map(|sample| (sample.name, matches!(sample.value, Value::Counter(_)))).collect();
        let described: BTreeSet<(&str, bool)> = FAMILIES
            .iter()
            .filter(|(_, kind, _)| *kind != Kind::Histogram)
            .map(|(name, kind, _)| (*name, *kind == Kind::Counter))
            .collect();
        assert_eq!(published, described);
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for (name, kind, help) in FAMILIES {
            assert!(name.starts_with("sessionmesh_") && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(
                name.ends_with("_duration_seconds") || name.ends_with("_round_trip_seconds"),
                *kind == Kind::Histogram,
                "{name}"
            );
        }
    }

    #[test]
    fn the_list_for_operators_has_each_metric_and_no_other() {
        let listed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
        let words = listed.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("sessionmesh_")).collect();
        let base = |name: &&str| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .is_some_and(|base| named.contains(base))
        };
        let named: BTreeSet<&str> = named.iter().copied().filter(|name| !base(name)).collect();
        assert_eq!(named, FAMILIES.iter().map(|(name, ..)| *name).collect());
    }
}
