//! The lives of nodes that send each other sealed datagrams, for fuzz targets.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::SealedDatagrams;
use super::packet::{Inner, Kind, LifeKey, Outer};
use crate::security::key_ring::KeyRing;
use crate::security::secret::Secret;

/// The keys that follow from secrets.
#[derive(Clone, Debug)]
pub struct Keys(KeyRing);

impl Keys {
    /// Of these secrets in this cluster. `None` without a secret.
    #[must_use]
    pub fn new(secrets: &[Secret], cluster: &str) -> Option<Self> {
        KeyRing::new(secrets, cluster).map(Self)
    }
}

/// One life of a node, and its clock.
#[derive(Debug)]
pub struct SealedNode {
    datagrams: SealedDatagrams,
    now: Instant,
}

/// What became of a datagram: what it said, and what is sent because of it.
pub type OpenedDatagram = (Option<Vec<u8>>, Vec<(Vec<u8>, SocketAddr)>);

impl SealedNode {
    /// A life that begins now.
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        let now = Instant::now();
        Self { datagrams: SealedDatagrams::new(keys.0.clone(), now), now }
    }

    /// Time passes.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Uses these keys from now on.
    pub fn replace_keys(&mut self, keys: &Keys) {
        self.datagrams.replace_keys(keys.0.clone(), self.now);
    }

    /// The datagrams that carry `payload`, or ask who is there.
    pub fn seal(&mut self, payload: &[u8], to: SocketAddr) -> Vec<Vec<u8>> {
        self.datagrams.seal(payload, to, self.now)
    }

    /// A beacon.
    pub fn seal_beacon(&mut self, payload: &[u8]) -> Vec<u8> {
        self.datagrams.seal_beacon(payload, self.now)
    }

    /// What a datagram says; `None` when it is refused.
    pub fn open(&mut self, datagram: &[u8], from: SocketAddr) -> Option<OpenedDatagram> {
        self.datagrams.open(datagram, from, self.now).ok().map(|opened| (opened.payload, opened.send))
    }

    /// What a beacon says; `None` when it is refused, or one of this life's own.
    pub fn open_beacon(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        self.datagrams.open_beacon(datagram, self.now).ok().flatten().map(|(payload, _)| payload)
    }

    /// What a receiver wants to see in what is meant for it now.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.datagrams.tokens.0
    }

    /// How many lives and addresses are remembered.
    #[must_use]
    pub fn remembers(&self) -> (usize, usize) {
        (self.datagrams.lives.len(), self.datagrams.addresses.len())
    }
}

/// A datagram that a member could seal, honest or not.
#[derive(Clone, Debug)]
pub struct Forged {
    /// The life of its sender.
    pub life: [u8; 16],
    /// Its number.
    pub number: u64,
    /// 0: a payload, 1: a greeting, 2: an answer, 3: a beacon.
    pub kind: u8,
    /// The token of the sender.
    pub sender: u64,
    /// The token of the receiver.
    pub receiver: u64,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Forged {
    /// Its bytes under the first of these keys.
    #[must_use]
    pub fn seal(self, keys: &Keys) -> Vec<u8> {
        let Self { life, number, kind, sender, receiver, payload } = self;
        let kind = [Kind::Payload, Kind::Greeting, Kind::Answer, Kind::Beacon][usize::from(kind % 4)];
        let key = &keys.0.keys()[0];
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        let inner = Inner { number, kind, sender, receiver, payload };
        LifeKey::new(key, &life).seal(Outer { key: key.id, life }, nonce, &inner)
    }
}
