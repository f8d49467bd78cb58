//! Who may take part: everything between a socket and the first byte that is decoded.
//!
//! [`secret`] is what the nodes of a cluster share, and [`secret_file`] where it may stand; [`key_ring`] is what follows from it.
//! [`admission`] bounds what strangers may open, [`links`] protects connections by TLS ([`tls`]), [`datagram_seal`] what goes by UDP ([`datagrams`]). [`refusal`] counts what
//! is kept out. What never happens here: decoding of messages; a decision about members or sessions.

pub(crate) mod admission;
pub(crate) mod datagram_seal;
pub(crate) mod datagrams;
pub(crate) mod key_ring;
pub(crate) mod links;
mod opening;
pub(crate) mod refusal;
pub(crate) mod secret;
pub(crate) mod secret_file;
mod tls;

use std::sync::{Arc, Mutex};

use self::datagram_seal::DatagramSeal;
use self::key_ring::KeyRing;
use self::links::Links;
pub(crate) use self::refusal::Refusal;
use self::refusal::RefusalLog;
use self::secret::Secret;
use crate::lock::lock;

/// How all traffic of one node is protected.
#[derive(Debug)]
pub(crate) struct Security {
    pub(crate) links: Links,
    pub(crate) datagrams: DatagramSeal,
    pub(crate) refusals: Arc<RefusalLog>,
    cluster: String,
    /// None: nothing is protected.
    ring: Mutex<Option<KeyRing>>,
}

impl Security {
    /// By these secrets, or not at all without one. `plain_too`: beside nodes that have none.
    pub(crate) fn new(cluster: &str, secrets: &[Secret], plain_too: bool) -> Self {
        let (ring, refusals) = (KeyRing::new(secrets, cluster), Arc::<RefusalLog>::default());
        let links = ring.as_ref().map_or(Links::in_clear(), |ring| Links::with_keys(ring, plain_too));
        let plain = plain_too || ring.is_none();
        let datagrams = DatagramSeal::new(cluster, ring.clone(), plain, refusals.clone());
        Self { links, datagrams, refusals, cluster: cluster.to_owned(), ring: Mutex::new(ring) }
    }

    /// Whether there is a secret.
    pub(crate) fn is_on(&self) -> bool {
        lock(&self.ring).is_some()
    }

    /// Uses these secrets from now on, and ends what relies on others. Nothing changes without a secret before and after. Says
    /// whether anything changed.
    pub(crate) fn replace(&self, secrets: &[Secret]) -> bool {
        let mut ring = lock(&self.ring);
        let (Some(before), Some(next)) = (ring.as_ref(), KeyRing::new(secrets, &self.cluster)) else { return false };
        if before.has_the_keys_of(&next) {
            return false;
        }
        // New connections first: what is ended is dialled again at once.
        let next = before.joined_by(&next);
        self.links.replace_keys(&next);
        self.datagrams.replace_keys(&next);
        before.retire_all_but(&next);
        *ring = Some(next);
        true
    }
}
