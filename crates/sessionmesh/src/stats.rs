//! Statistics of a running node.

pub(crate) mod collect;

use std::collections::BTreeMap;
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
            /// Sessions that this node holds and, in its view, owns; ended ones, too.
            pub owned: usize,
            /// Live sessions of which this node is the primary, in its view.
            pub primary: usize,
            /// Live sessions of which this node is a backup; with all-to-all, all but those of which it is the primary.
            pub replica: usize,
            /// Bytes of the keys and values of all sessions that this node holds. The memory that they take is larger.
            pub bytes: u64,
            /// Sessions with changes that wait to be sent to a peer or are on their way to it, summed over peers.
            pub outbox: usize,
            /// Batches that were sent and are not yet acknowledged, summed over peers; at most 4 per peer.
            pub in_flight: usize,
            /// Sessions that this node voted to expire. It does not use them until the vote is decided, for at most two
            /// commit deadlines. An undecided vote counts until the next sweep.
            pub expiry_holds: usize,
            /// Commits that wait for acknowledgements.
            pub waiting_commits: usize,
            /// Commits made on this node.
            pub commits: u64,
            /// Commits whose copies were not acknowledged before the deadline.
            pub commit_timeouts: u64,
            /// All commits, made and refused, by what they waited for and what came of them.
            pub commits_by: Vec<CommitsBy>,
            /// How often each [`Event`](crate::Event) was emitted, by its name; all names are there.
            pub events: BTreeMap<&'static str, u64>,
            /// What waits to be sent to each other member, and the state of its link, by name.
            pub peers: BTreeMap<String, PeerStats>,
            /// How many settings should be the same on all members and are not: see [`crate::Mesh::differences`].
            pub settings_differ: usize,
            /// Members in the view of this node, by their states.
            pub members: BTreeMap<&'static str, usize>,
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
            /// Reads that could not tell whether the session exists, and queries for a user's sessions that could not be
            /// answered completely.
            pub cannot_tell: u64,
            /// Sessions that this node expired.
            pub expired: u64,
            /// Times that this node suspected a peer.
            pub suspicions: u64,
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
    /// Queries for a user's sessions that began on this node.
    user_queries,
    /// Session ids that this node sent to other nodes, in answer to queries for a user's sessions.
    user_ids_told,
    /// Connections of other nodes that could not be accepted, for example for lack of file descriptors.
    accept_errors,
    /// Slots in which an anti-entropy comparison found a difference that was no change on its way.
    audit_differences,
    /// Sessions that were ended because their users had more than `max_sessions_per_user`.
    user_limit_ended,
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CommitOutcome {
    /// It was made, with all the copies that it asked for and that could be had.
    Acknowledged,
    /// It was made, but not acknowledged in time: [`CommitError::TimedOut`](crate::CommitError::TimedOut).
    TimedOut,
    /// It was made, but `strict` asks for more copies than there can be.
    TooFewCopies,
    /// It was refused, for a limit or because the session or the node has ended. Nothing was changed.
    Refused,
}

impl CommitOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Acknowledged, Self::TimedOut, Self::TooFewCopies, Self::Refused];

    /// Its name in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::TimedOut => "timed_out",
            Self::TooFewCopies => "too_few_copies",
            Self::Refused => "refused",
        }
    }
}

/// Commits of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitsBy {
    /// What they waited for: `local`, `copies` or `owners`.
    pub ack: &'static str,
    /// What came of them.
    pub outcome: CommitOutcome,
    /// How many there were.
    pub count: u64,
}

/// What this node knows of its link to another member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Whether the link to it is up.
    pub connected: bool,
    /// The version of the protocol that the link speaks, while it is up.
    pub version: Option<u16>,
    /// Whether this node suspects it: it does not answer in time.
    pub suspected: bool,
    /// Sessions with changes that wait to be sent to it or are on their way.
    pub outbox: usize,
    /// For how long the oldest of those that wait has waited, to the second.
    pub oldest: std::time::Duration,
}
