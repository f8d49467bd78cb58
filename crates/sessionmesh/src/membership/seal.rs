//! Sealing of datagrams: the place where authenticated encryption plugs in.

use std::fmt;

/// Seals datagrams before they leave and opens those that arrive, before anything of them is decoded.
pub(crate) trait DatagramSeal: fmt::Debug + Send + Sync {
    /// What goes onto the wire for `plain`.
    fn seal(&self, plain: &[u8]) -> Vec<u8>;

    /// What was sealed, or `None` for a datagram that is not ours. Never panics.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// Marks datagrams as Sessionmesh's and this cluster's, so that foreign ones are dropped: of its three messages gossip
/// names the cluster in the first only. Protects nothing: for loopback and trusted networks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainSeal {
    mark: [u8; 12],
}

impl PlainSeal {
    /// Of the cluster of this name.
    pub(crate) fn new(cluster: &str) -> Self {
        let mut mark = [0; 12];
        mark[..4].copy_from_slice(&MAGIC);
        mark[4..].copy_from_slice(&xxhash_rust::xxh3::xxh3_64(cluster.as_bytes()).to_le_bytes());
        Self { mark }
    }
}

/// Starts every datagram of [`PlainSeal`]; the digit is the version of the sealing.
const MAGIC: [u8; 4] = *b"SMp1";

impl DatagramSeal for PlainSeal {
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        [&self.mark[..], plain].concat()
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        sealed.strip_prefix(&self.mark).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_what_is_foreign_does_not() {
        let seal = PlainSeal::new("one");
        assert_eq!(seal.open(&seal.seal(b"gossip")).as_deref(), Some(&b"gossip"[..]));
        assert_eq!(seal.open(&seal.seal(b"")).as_deref(), Some(&b""[..]));
        assert_eq!(seal.open(&PlainSeal::new("another").seal(b"gossip")), None);
        for foreign in [&b""[..], b"SMp", b"TRIBES-B\x01\x00", b"SMp2gossip"] {
            assert_eq!(seal.open(foreign), None);
        }
    }
}
