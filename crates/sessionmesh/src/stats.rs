//! Figures of a running node.

use std::sync::atomic::AtomicU64;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// Counters that only grow.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        /// What a node has done and holds, at one moment.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            /// Sessions held that have not ended, as an owner or to forward them to the owners.
            pub sessions: usize,
            /// Tombstones and expired sessions held.
            pub ended: usize,
            /// Ended sessions that this node forgot before their time, because there were more than `max_tombstones`.
            pub tombstones_forgotten: u64,
            /// Sessions held here for which this node is an owner by its view.
            pub owned: usize,
            /// Sessions dirty for some peer or on their way to it, summed over peers.
            pub outbox: usize,
            /// Batches that were sent and not answered yet, summed over peers; at most 4 for each.
            pub in_flight: usize,
            /// Sessions that this node voted to expire and does not use until the vote is decided, for at most two commit
            /// deadlines. A vote that nobody decides is counted until the next sweep.
            pub expiry_holds: usize,
            /// Commits that wait for copies.
            pub waiting_commits: usize,
            /// Sessions held here whose user is in the user index; 0 without one.
            pub users_indexed: usize,
            /// Renewals that are not complete yet: late writes to the old id are still being copied to the new one, or one of
            /// two renewals at the same time is still being ended.
            pub renewals_in_progress: usize,
            /// How late this node does what is due, in milliseconds: the delay of its regular timer, smoothed over some
            /// ticks. 0 to 2 on a host with processor time to spare. One stall counts as 3/5 of `commit_deadline`.
            pub late_ms: u64,
            /// The host is too busy: `late_ms` has passed a tenth of `commit_deadline` (50 ms), and has not fallen below
            /// half of that since. Requests are slow then, and may fail.
            pub busy: bool,
            /// Peers that are suspected and not waited for.
            pub suspected: Vec<String>,
            /// What this node cannot know because too many others vanished: see [`crate::Mesh::blindness`].
            pub blindness: Option<crate::Blindness>,
            $($(#[doc = $doc])* pub $name: u64),*
        }

        impl Counters {
            /// Copies the counters into `stats`.
            pub(crate) fn fill(&self, stats: &mut Stats) {
                $(stats.$name = self.$name.load(std::sync::atomic::Ordering::Relaxed);)*
            }
        }
    };
}

counters! {
    /// Commits made on this node.
    commits,
    /// Commits whose copies were not confirmed before the deadline.
    commit_timeouts,
    /// Changes sent to peers. A session counts once for each peer and batch.
    deltas_sent,
    /// Changes received from peers.
    deltas_received,
    /// Changes that did not fit the receiver's copy, so that the whole session was sent.
    mismatches,
    /// Changes that a peer took only to forward them to the owners.
    transit_copies,
    /// Copies that this node dropped, since it does not own them and all owners confirmed that they keep them.
    copies_dropped,
    /// Reads answered from this node's own map.
    local_reads,
    /// Reads for which other nodes were asked.
    remote_reads,
    /// Reads that could not tell whether the session exists, and queries for a user's sessions that could not be answered
    /// completely.
    cannot_tell,
    /// Times the sessions of a user were asked for on this node.
    user_queries,
    /// Session ids that this node sent to other nodes, in answer to queries for a user's sessions.
    user_ids_told,
    /// Sessions that this node expired.
    expired,
    /// Times a peer was suspected.
    suspicions,
    /// Connections of other nodes that could not be accepted, for example for want of file descriptors.
    accept_errors,
    /// Slots that an audit found different.
    audit_differences,
}
