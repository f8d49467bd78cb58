//! Who may take part: everything between a socket and the first byte that is decoded.
//!
//! [`secret`] is what the nodes of a cluster share, and [`secret_file`] where it may stand; [`key_ring`] is what follows from it.
//! [`certificates`] are what they may have instead, for links. [`admission`] bounds what strangers may open, [`links`] protects
//! connections by TLS ([`tls`], [`proof`]), [`datagram_seal`] what goes by UDP ([`datagrams`]). [`refusal`] counts what is kept
//! out. What never happens here: decoding of messages; a decision about members or sessions.

pub(crate) mod admission;
pub(crate) mod certificates;
pub(crate) mod datagram_seal;
pub(crate) mod datagrams;
pub(crate) mod key_ring;
pub(crate) mod links;
mod opening;
mod private_file;
mod proof;
pub(crate) mod refusal;
pub(crate) mod secret;
pub(crate) mod secret_file;
mod tls;

use std::sync::{Arc, Mutex};

use self::certificates::Certificates;
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
    /// None: there is no secret.
    ring: Mutex<Option<KeyRing>>,
    /// None: there are none.
    certificates: Mutex<Option<Certificates>>,
}

impl Security {
    /// Links by these certificates, or else by the secrets; datagrams by the secrets. Without both nothing is protected; with
    /// certificates alone there are no datagrams. `plain_too`: beside nodes that have neither.
    pub(crate) fn new(cluster: &str, secrets: &[Secret], certificates: Option<Certificates>, plain_too: bool) -> Self {
        let (ring, refusals) = (KeyRing::new(secrets, cluster), Arc::<RefusalLog>::default());
        let links = match (&certificates, &ring) {
            (Some(certificates), _) => Links::with_certificates(certificates, plain_too),
            (None, Some(ring)) => Links::with_keys(ring, plain_too),
            (None, None) => Links::in_clear(),
        };
        let plain = plain_too || (ring.is_none() && certificates.is_none());
        let datagrams = DatagramSeal::new(cluster, ring.clone(), plain, refusals.clone());
        let (ring, certificates) = (Mutex::new(ring), Mutex::new(certificates));
        Self { links, datagrams, refusals, cluster: cluster.to_owned(), ring, certificates }
    }

    /// Whether there is a secret.
    pub(crate) fn is_on(&self) -> bool {
        lock(&self.ring).is_some()
    }

    /// The key of the short hashes by which logs call sessions, if there is a secret.
    pub(crate) fn short_hash_key(&self) -> Option<u64> {
        lock(&self.ring).as_ref().map(KeyRing::short_hash_key)
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
        if lock(&self.certificates).is_none() {
            self.links.replace_keys(&next);
        }
        self.datagrams.replace_keys(&next);
        before.retire_all_but(&next);
        *ring = Some(next);
        true
    }

    /// Uses these certificates from now on, and ends what relies on other authorities. Nothing changes without certificates
    /// before. Says whether anything changed.
    pub(crate) fn replace_certificates(&self, next: Certificates) -> bool {
        let mut certificates = lock(&self.certificates);
        let Some(before) = certificates.as_ref().filter(|before| !before.equals(&next)) else { return false };
        let goes_on = next.trusts_all_of(before);
        let next = if goes_on { next.going_on_from(before) } else { next };
        self.links.replace_certificates(&next);
        if !goes_on {
            before.retired.cancel();
        }
        *certificates = Some(next);
        true
    }

    /// What is told of the certificate in use; `None` without one.
    pub(crate) fn of_certificate<T>(&self, tell: impl FnOnce(&Certificates) -> T) -> Option<T> {
        lock(&self.certificates).as_ref().map(tell)
    }
}
