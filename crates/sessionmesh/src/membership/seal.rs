//! Sealing of datagrams: the place where authenticated encryption plugs in.

use std::fmt;

/// Seals datagrams before they leave and opens those that arrive, before anything of them is decoded.
pub(crate) trait DatagramSeal: fmt::Debug + Send + Sync {
    /// What goes onto the wire for `plain`.
    fn seal(&self, plain: &[u8]) -> Vec<u8>;

    /// What was sealed, or `None` for a datagram that is not ours. Never panics.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// Marks datagrams as Sessionmesh's, so that foreign ones are dropped. Protects nothing: for loopback and trusted networks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlainSeal;

/// Starts every datagram of [`PlainSeal`]; the digit is the version of the sealing.
const MAGIC: [u8; 4] = *b"SMp1";

impl DatagramSeal for PlainSeal {
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        [&MAGIC, plain].concat()
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        sealed.strip_prefix(&MAGIC).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_what_is_foreign_does_not() {
        assert_eq!(PlainSeal.open(&PlainSeal.seal(b"gossip")).as_deref(), Some(&b"gossip"[..]));
        assert_eq!(PlainSeal.open(&PlainSeal.seal(b"")).as_deref(), Some(&b""[..]));
        for foreign in [&b""[..], b"SMp", b"TRIBES-B\x01\x00", b"SMp2gossip"] {
            assert_eq!(PlainSeal.open(foreign), None);
        }
    }
}
