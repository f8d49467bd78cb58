//! What a beacon says, and its bytes.
//!
//! `SMB1`, flags (1: answer), then each with its length in one byte: cluster and node name; the incarnation in 8 bytes,
//! little-endian; the gossip address as 4 or 6, that family's address bytes, and the port in 2 bytes, little-endian. Nobody knows
//! who hears it, so it has no version: later versions set other flags and go on at its end, which this one does not look at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::membership::NAME_BYTES_MAX;

const MAGIC: &[u8] = b"SMB1";
const ANSWER: u8 = 1;

/// A node says that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beacon {
    /// Whether this answers another beacon. Answers are not answered.
    pub(super) answer: bool,
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) incarnation: u64,
    /// Where the node receives gossip; an unspecified address stands for the one the beacon came from.
    pub(super) gossip: SocketAddr,
}

impl Beacon {
    /// The bytes of this beacon. Names are not longer than [`NAME_BYTES_MAX`].
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(if self.answer { ANSWER } else { 0 });
        for name in [&self.cluster, &self.name] {
            bytes.push(u8::try_from(name.len()).expect("names are checked at the start"));
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        match self.gossip.ip() {
            IpAddr::V4(ip) => {
                bytes.push(4);
                bytes.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                bytes.push(6);
                bytes.extend_from_slice(&ip.octets());
            }
        }
        bytes.extend_from_slice(&self.gossip.port().to_le_bytes());
        bytes
    }

    /// The beacon that these bytes begin with, if there is one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let [flags] = take(&mut rest)?;
        let cluster = name(&mut rest)?;
        let name = name(&mut rest)?;
        let incarnation = u64::from_le_bytes(take(&mut rest)?);
        let ip = match take(&mut rest)? {
            [4] => IpAddr::from(Ipv4Addr::from(take::<4>(&mut rest)?)),
            [6] => IpAddr::from(Ipv6Addr::from(take::<16>(&mut rest)?)),
            _ => return None,
        };
        let gossip = SocketAddr::new(ip, u16::from_le_bytes(take(&mut rest)?));
        Some(Self { answer: flags & ANSWER != 0, cluster, name, incarnation, gossip })
    }

    /// Where to gossip to after this beacon came from `from`.
    pub(super) fn reachable(&self, from: SocketAddr) -> SocketAddr {
        if self.gossip.ip().is_unspecified() { SocketAddr::new(from.ip(), self.gossip.port()) } else { self.gossip }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn name(rest: &mut &[u8]) -> Option<String> {
    let [length] = take(rest)?;
    let (bytes, after) = rest.split_at_checked(usize::from(length))?;
    *rest = after;
    if bytes.len() > NAME_BYTES_MAX {
        return None;
    }
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beacon(gossip: &str) -> Beacon {
        Beacon {
            answer: true,
            cluster: "shop".to_owned(),
            name: "shop-a".to_owned(),
            incarnation: 7,
            gossip: gossip.parse().unwrap(),
        }
    }

    #[test]
    fn a_beacon_survives_its_bytes() {
        for gossip in ["10.0.0.1:4000", "[2001:db8::1]:4000"] {
            let beacon = beacon(gossip);
            assert_eq!(Beacon::decode(&beacon.encode()), Some(beacon.clone()));
            let quiet = Beacon { answer: false, ..beacon };
            assert_eq!(Beacon::decode(&quiet.encode()), Some(quiet));
        }
    }

    #[test]
    fn the_bytes_of_a_beacon_are_part_of_the_protocol() {
        let hex: String = beacon("10.0.0.1:4000").encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "534d4231010473686f700673686f702d610700000000000000040a000001a00f");
        let bytes = beacon("[::1]:1").encode();
        assert_eq!(bytes[bytes.len() - 19..], [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
    }

    #[test]
    fn every_cut_is_refused_and_what_a_later_version_adds_is_skipped() {
        let mut bytes = beacon("10.0.0.1:4000").encode();
        for length in 0..bytes.len() {
            assert_eq!(Beacon::decode(&bytes[..length]), None);
        }
        bytes.extend([7; 200]);
        bytes[MAGIC.len()] |= 0xf0;
        assert_eq!(Beacon::decode(&bytes), Some(beacon("10.0.0.1:4000")));
    }

    #[test]
    fn an_unspecified_address_means_the_sender() {
        let from = "10.0.0.9:45564".parse().unwrap();
        assert_eq!(beacon("0.0.0.0:4000").reachable(from), "10.0.0.9:4000".parse().unwrap());
        assert_eq!(beacon("10.0.0.1:4000").reachable(from), "10.0.0.1:4000".parse().unwrap());
    }

    /// But for flags that are not known.
    fn says_what_it_begins_with(bytes: &[u8]) -> bool {
        let Some(beacon) = Beacon::decode(bytes) else { return true };
        let mut known = bytes.to_vec();
        known[MAGIC.len()] &= ANSWER;
        known.starts_with(&beacon.encode())
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic_and_what_decodes_is_what_they_begin_with(
            mut tail in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            prop_assert_eq!(Beacon::decode(&tail).is_some(), false);
            tail.splice(..0, MAGIC.iter().copied());
            prop_assert!(says_what_it_begins_with(&tail));
        }

        #[test]
        fn a_changed_beacon_is_refused_or_says_what_its_bytes_say(at in 0usize..64, to in any::<u8>()) {
            let mut bytes = beacon("10.0.0.1:4000").encode();
            let at = at % bytes.len();
            bytes[at] = to;
            prop_assert!(says_what_it_begins_with(&bytes));
        }
    }
}
