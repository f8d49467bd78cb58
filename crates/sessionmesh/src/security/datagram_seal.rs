//! What becomes of a datagram before it leaves and after it came: in clear or under the secret, or for a while both; and where
//! there are certificates alone, neither.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::Refusal;
use super::datagrams::{Opened, SealedDatagrams, is_sealed};
use super::key_ring::{KeyId, KeyRing};
use super::refusal::RefusalLog;
use crate::lock::lock;

/// Starts every datagram in clear; the digit is the version. The hash of the cluster's name follows, so that foreign ones are
/// dropped: of its three messages gossip names the cluster in the first only. Protects nothing.
const MAGIC: [u8; 4] = *b"SMp1";

/// Prepares datagrams, and lets in only what is for this cluster.
#[derive(Debug)]
pub(crate) struct DatagramSeal {
    mark: [u8; 12],
    sealed: Option<Mutex<SealedDatagrams>>,
    /// Whether datagrams in clear are sent and taken.
    plain: bool,
    refusals: Arc<RefusalLog>,
}

/// A beacon that came.
#[derive(Debug)]
pub(crate) struct OpenedBeacon {
    pub(crate) payload: Vec<u8>,
    /// The key that its sender uses.
    pub(crate) key: Option<KeyId>,
}

impl DatagramSeal {
    /// For the cluster of this name, under these keys. `plain`: also, or only, in clear.
    pub(crate) fn new(cluster: &str, ring: Option<KeyRing>, plain: bool, refusals: Arc<RefusalLog>) -> Self {
        let mut mark = [0; 12];
        mark[..4].copy_from_slice(&MAGIC);
        mark[4..].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(cluster.as_bytes()).to_le_bytes());
        let sealed = ring.map(|ring| Mutex::new(SealedDatagrams::new(ring, Instant::now())));
        Self { mark, sealed, plain, refusals }
    }

    /// In clear, for a test.
    #[cfg(test)]
    pub(crate) fn in_clear(cluster: &str) -> Self {
        Self::new(cluster, None, true, Arc::default())
    }

    pub(super) fn replace_keys(&self, ring: &KeyRing) {
        if let Some(sealed) = &self.sealed {
            lock(sealed).replace_keys(ring.clone(), Instant::now());
        }
    }

    /// Whether there are datagrams at all.
    pub(crate) const fn is_in_use(&self) -> bool {
        self.plain || self.sealed.is_some()
    }

    /// The datagrams that carry `payload` to this address. Under a secret the first one may only ask who is there.
    pub(crate) fn seal(&self, payload: &[u8], to: SocketAddr) -> Vec<Vec<u8>> {
        let Some(sealed) = &self.sealed else {
            return self.plain.then(|| self.in_clear_bytes(payload)).into_iter().collect();
        };
        let mut sealed = lock(sealed);
        let plain = self.plain && !sealed.is_known(to);
        let mut datagrams = sealed.seal(payload, to, Instant::now());
        if plain {
            datagrams.push(self.in_clear_bytes(payload));
        }
        datagrams
    }

    /// What a datagram from this address says, and what must be sent because of it. Nothing if it is not for this cluster.
    pub(crate) fn open(&self, datagram: &[u8], from: SocketAddr) -> Opened {
        if let Some(payload) = self.opened_in_clear(datagram) {
            return Opened { payload: Some(payload), ..Opened::default() };
        }
        let opened = match &self.sealed {
            Some(sealed) => lock(sealed).open(datagram, from, Instant::now()),
            None if is_sealed(datagram) => Err(Refusal::SealedDatagram),
            None if !self.plain => Err(Refusal::PlainDatagram),
            // Of anybody: ports are scanned.
            None => return Opened::default(),
        };
        if let Some(refusal) = opened.as_ref().ok().and_then(|opened| opened.refused) {
            self.refusals.count(refusal);
        }
        opened.unwrap_or_else(|refusal| {
            // Those that were doubled on their way are no event.
            match self.refusals.note(refusal) {
                Some(unsaid) if refusal != Refusal::Replayed => {
                    tracing::warn!(%from, unsaid, "refused a datagram: {refusal}");
                }
                _ => tracing::debug!(%from, "refused a datagram: {refusal}"),
            }
            Opened::default()
        })
    }

    /// The datagrams that carry a beacon to a multicast group.
    pub(crate) fn seal_beacon(&self, payload: &[u8]) -> Vec<Vec<u8>> {
        let sealed = self.sealed.as_ref().map(|sealed| lock(sealed).seal_beacon(payload, Instant::now()));
        sealed.into_iter().chain(self.plain.then(|| self.in_clear_bytes(payload))).collect()
    }

    /// What a datagram of the group says; `Ok(None)` for one of this node's own.
    ///
    /// # Errors
    ///
    /// It is not for this cluster, and counted as refused.
    pub(crate) fn open_beacon(&self, datagram: &[u8]) -> Result<Option<OpenedBeacon>, Refusal> {
        if let Some(payload) = self.opened_in_clear(datagram) {
            return Ok(Some(OpenedBeacon { payload, key: None }));
        }
        let opened = match &self.sealed {
            Some(sealed) => lock(sealed).open_beacon(datagram, Instant::now()),
            None if is_sealed(datagram) => Err(Refusal::SealedDatagram),
            None => Err(Refusal::PlainDatagram),
        };
        let opened = opened.inspect_err(|refusal| self.refusals.count(*refusal))?;
        Ok(opened.map(|(payload, key)| OpenedBeacon { payload, key: Some(key) }))
    }

    /// Whoever is at this address uses this key.
    pub(crate) fn prefer(&self, key: Option<KeyId>, at: SocketAddr) {
        if let (Some(key), Some(sealed)) = (key, &self.sealed) {
            lock(sealed).prefer(key, at, Instant::now());
        }
    }

    fn in_clear_bytes(&self, payload: &[u8]) -> Vec<u8> {
        [&self.mark[..], payload].concat()
    }

    fn opened_in_clear(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        datagram.strip_prefix(&self.mark).filter(|_| self.plain).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::secret::Secret;

    fn from() -> SocketAddr {
        ([10, 0, 0, 1], 7700).into()
    }

    #[test]
    fn what_is_sent_in_clear_is_for_one_cluster() {
        let seal = DatagramSeal::in_clear("one");
        let opened = |seal: &DatagramSeal, datagram: &[u8]| seal.open(datagram, from()).payload;
        for payload in [&b"gossip"[..], b""] {
            let datagrams = seal.seal(payload, from());
            assert_eq!(datagrams.len(), 1);
            assert_eq!(opened(&seal, &datagrams[0]).as_deref(), Some(payload));
            assert_eq!(opened(&DatagramSeal::in_clear("another"), &datagrams[0]), None);
        }
        for foreign in [&b""[..], b"SMp", b"TRIBES-B\x01\x00", b"SMp2gossip"] {
            assert_eq!(opened(&seal, foreign), None);
        }
    }

    #[test]
    fn while_the_secret_is_turned_on_both_are_understood_and_then_only_one() {
        let ring = KeyRing::new(&[Secret::generate()], "one").unwrap();
        let off = || DatagramSeal::in_clear("one");
        let with = |plain| DatagramSeal::new("one", Some(ring.clone()), plain, Arc::default());
        let (half, on) = (|| with(true), || with(false));
        let hears = |to: &DatagramSeal, from_node: &DatagramSeal| {
            let by_unicast = from_node.seal(b"gossip", from()).iter().any(|datagram| {
                let opened = to.open(datagram, from());
                opened.payload.is_some() || !opened.send.is_empty()
            });
            let is_heard = |beacon: &Vec<u8>| matches!(to.open_beacon(beacon), Ok(Some(_)));
            let by_multicast = from_node.seal_beacon(b"here").iter().any(is_heard);
            assert_eq!(by_unicast, by_multicast);
            by_unicast
        };
        assert!(hears(&off(), &half()) && hears(&half(), &off()));
        assert!(hears(&half(), &on()) && hears(&on(), &half()));
        let on = on();
        assert!(!hears(&on, &off()) && !hears(&off(), &on));
        assert_eq!(on.refusals.counts().plain_datagram, 2, "a datagram and a beacon in clear");
    }
}
