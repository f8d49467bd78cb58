//! Statistics of a running node.

use std::sync::atomic::AtomicU64;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// Counters that only grow.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        /// What a node holds and has done, at one moment.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            /// Live sessions that this node holds, as an owner or to forward them to the owners.
            pub sessions: usize,
            /// Tombstones and expired sessions held.
            pub ended: usize,
            /// Ended sessions that this node forgot before `tombstone_retention`, because there were more than
            /// `max_tombstones`.
            pub tombstones_forgotten: u64,
            /// Sessions that this node holds and, in its view, owns.
            pub owned: usize,
            /// Sessions with changes that wait to be sent to a peer or are on their way to it, summed over peers.
            pub outbox: usize,
            /// Batches that were sent and are not yet acknowledged, summed over peers; at most 4 per peer.
            pub in_flight: usize,
            /// Sessions that this node voted to expire. It does not use them until the vote is decided, for at most two
            /// commit deadlines. An undecided vote counts until the next sweep.
            pub expiry_holds: usize,
            /// Commits that wait for acknowledgements.
            pub waiting_commits: usize,
            /// Sessions held here whose user is in the user index; 0 without one.
            pub users_indexed: usize,
            /// Renewals that are not complete yet: late writes to the old id are still being copied to the new one, or
            /// one of two simultaneous renewals is still being ended.
            pub renewals_in_progress: usize,
            /// How late this node does its work, in milliseconds: the delay of its regular timer, smoothed over some
            /// ticks. 0 to 2 on a host with spare processor time. One stall counts as 3/5 of `commit_deadline`.
            pub late_ms: u64,
            /// The host is too busy: `late_ms` has passed a tenth of `commit_deadline` (50 ms), and has not fallen below
            /// half of that since. Requests are slow then, and may fail.
            pub busy: bool,
            /// Suspected peers, which commits do not wait for.
            pub suspected: Vec<String>,
            /// What this node cannot know because too many other nodes vanished: see [`crate::Mesh::blindness`].
            pub blindness: Option<crate::Blindness>,
            /// This node can be reached from other machines, and its traffic is neither encrypted nor authenticated: there is
            /// neither a secret nor a certificate, or `accept_plaintext` is on.
            pub insecure: bool,
            /// How long the certificate in use is still valid; zero when it has expired, `None` without one.
            pub certificate_remaining: Option<std::time::Duration>,
            /// Connections and datagrams that were refused, nearly all before anything of them was decoded.
            pub refusals: crate::Refusals,
            /// Bytes from the network that were given to a decoder: those of refused connections and datagrams never are.
            pub bytes_decoded: u64,
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
    /// Commits whose copies were not acknowledged before the deadline.
    commit_timeouts,
    /// Deltas sent to peers. A session counts once for each peer and batch.
    deltas_sent,
    /// Deltas received from peers.
    deltas_received,
    /// Deltas that did not fit the receiver's copy, so that the whole session was sent.
    mismatches,
    /// Deltas that a peer took only to forward them to the owners.
    transit_copies,
    /// Copies that this node dropped because it does not own them and all owners acknowledged them.
    copies_dropped,
    /// Reads answered from this node's own memory.
    local_reads,
    /// Reads that asked other nodes.
    remote_reads,
    /// Reads that could not tell whether the session exists, and queries for a user's sessions that could not be
    /// answered completely.
    cannot_tell,
    /// Queries for a user's sessions that began on this node.
    user_queries,
    /// Session ids that this node sent to other nodes, in answer to queries for a user's sessions.
    user_ids_told,
    /// Sessions that this node expired.
    expired,
    /// Times that this node suspected a peer.
    suspicions,
    /// Connections of other nodes that could not be accepted, for example for lack of file descriptors.
    accept_errors,
    /// Slots in which an anti-entropy comparison found a difference.
    audit_differences,
}
