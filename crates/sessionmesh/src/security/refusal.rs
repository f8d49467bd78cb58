//! Why traffic was refused before anything of it was decoded.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lock::lock;
use crate::log_throttle::LogThrottle;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $reason:ident $field:ident $text:literal),* $(,)?) => {
        /// Why a connection or datagram was refused. None of its bytes was decoded (but the first message of those that say who they are), and nothing was
        /// changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        pub(crate) enum Refusal {
            $($(#[doc = $doc])* #[error($text)] $reason),*
        }

        /// How often connections and datagrams were refused, by reason.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Refusals {
            $($(#[doc = $doc])* pub $field: u64),*
        }

        /// Counts refusals, and says when the log is to have one.
        #[derive(Debug, Default)]
        pub(crate) struct RefusalLog {
            decoded: AtomicU64,
            $($field: Counted),*
        }

        impl Refusals {
            /// The counts with the names of their reasons, for metrics and pages.
            #[must_use]
            pub fn by_reason(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }

        impl Refusal {
            /// Its name, as in [`Refusals::by_reason`].
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$reason => stringify!($field)),* }
            }
        }

        impl RefusalLog {
            fn of(&self, refusal: Refusal) -> &Counted {
                match refusal { $(Refusal::$reason => &self.$field),* }
            }

            /// All that was counted.
            pub(crate) fn counts(&self) -> Refusals {
                Refusals { $($field: self.$field.count.load(Ordering::Relaxed)),* }
            }
        }
    };
}

refusals! {
    /// A connection that is not encrypted, although this node has a secret or certificates.
    NotEncrypted not_encrypted "it is not encrypted: is it a node without the cluster secret?",
    /// A connection that is encrypted, and this node has no secret.
    Encrypted encrypted "it is encrypted, and this node has no secret: give it the `secret` of the others",
    /// A connection of a node that has none of this node's secrets.
    NoSharedSecret no_shared_secret "it has none of the secrets of this node: do both have the same `secret` and `cluster`?",
    /// A handshake that is malformed, or does not prove what it must.
    NotProven not_proven "it did not prove that it belongs to the cluster",
    /// A connection of a node whose certificate is good, but whose name is not in `tls_names`.
    NameNotAllowed name_not_allowed "its certificate is good, but `tls_names` allows none of the names in it",
    /// A connection of a node whose certificate has expired, or is not valid yet by this node's clock.
    CertificateNotValidNow certificate_not_valid_now "its certificate has expired, or is not valid yet: renew it, or set the clocks",
    /// A connection of a node that did not accept what this one proved.
    ProofNotTaken proof_not_taken "it did not accept the proof of this node: see its log and, with certificates, its `tls_ca` and `tls_names`",
    /// A connection of a node of another cluster, or of one that has the secret only where this one has certificates. Without a
    /// secret it could say so, and the first message was decoded.
    OtherCluster other_cluster "it belongs to another cluster, or one of the two nodes has certificates and the other one the secret only",
    /// A handshake with more bytes than any that is honest.
    TooLong too_long "its handshake is longer than any that is honest",
    /// A handshake that was not complete in time.
    TooSlow too_slow "its handshake was not complete in time",
    /// A connection while too many others, of this host or in all, have not proved anything yet.
    TooManyUnproven too_many_unproven "too many connections are open that have not proved that they belong to the cluster",
    /// A connection of a host that opens them too often.
    TooOften too_often "this host opens connections too often",
    /// A connection of a node that has several already.
    TooManyOfOne too_many_of_one "this node has too many connections already",
    /// A node that speaks no version of the protocol that this node speaks. It could say so, and be told: of its connection
    /// the first message was decoded, and nothing else.
    OtherVersion other_version "it speaks no version of the protocol that this node speaks",
    /// An earlier life of a node of which this node sees a later one. It could say so, like one of another version.
    EarlierLife earlier_life "a later life of this node is a member already",
    /// A link of two nodes that had proved themselves, and on which something else came than was sent: it was closed, and what
    /// came was not decoded.
    Altered altered "what came was changed on its way, or is not of the other node",
    /// A datagram that is not sealed, although this node has a secret.
    PlainDatagram plain_datagram "a datagram that is not encrypted: is it a node without the cluster secret?",
    /// A datagram that is sealed with a secret that this node does not have.
    UnknownSecret unknown_secret "a datagram under a secret that this node does not have: do both have the same `secret` and `cluster`?",
    /// A datagram that is sealed, and this node has no secret.
    SealedDatagram sealed_datagram "a datagram that is encrypted, and this node has no secret: give it the `secret` of the others",
    /// A datagram that was changed, or forged.
    Forged forged "a datagram that was changed on its way, or forged",
    /// A datagram that had arrived before, or was meant for another node or another life of this one.
    Replayed replayed "a datagram that had arrived before, or was meant for another life of a node",
}

#[derive(Debug, Default)]
struct Counted {
    count: AtomicU64,
    said: Mutex<LogThrottle>,
}

impl RefusalLog {
    /// So many bytes from the network go to a decoder.
    pub(crate) fn decoding(&self, bytes: usize) {
        self.decoded.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes from the network that went to a decoder.
    pub(crate) fn decoded(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// Counts it.
    pub(crate) fn count(&self, refusal: Refusal) {
        self.of(refusal).count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it. How many of this kind were not said before, if it is to be said now.
    pub(crate) fn note(&self, refusal: Refusal) -> Option<u64> {
        self.count(refusal);
        lock(&self.of(refusal).said).admit()
    }
}
