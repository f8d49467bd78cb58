//! Beacons, for fuzz targets.

use std::net::SocketAddr;

use super::beacon::Beacon;

/// A beacon that was read: its cluster and name, and the bytes that it makes.
#[derive(Debug)]
pub struct ReadBeacon {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of the node.
    pub name: String,
    /// What it is written as.
    pub written: Vec<u8>,
}

/// What these bytes are, if they are a beacon.
#[must_use]
pub fn beacon(bytes: &[u8]) -> Option<ReadBeacon> {
    let beacon = Beacon::decode(bytes)?;
    let written = beacon.encode();
    Some(ReadBeacon { cluster: beacon.cluster, name: beacon.name, written })
}

/// The bytes of a beacon of a node of the cluster `shop`.
#[must_use]
pub fn beacon_of(name: &str, gossip: SocketAddr, answer: bool) -> Vec<u8> {
    Beacon { answer, cluster: "shop".to_owned(), name: name.to_owned(), incarnation: 7, gossip }.encode()
}
