//! What judges and puts together gossip before the library sees it, for fuzz targets.

use std::iter;
use std::net::SocketAddr;

use chitchat::{ChitchatId, Serializable};

use super::bounds;
use super::fragments::{Assembly, cut};

/// An incarnation that a message introduces.
#[derive(Debug)]
pub struct Introduced {
    /// Its name.
    pub name: String,
    /// The bytes by which a message names it.
    pub written: Vec<u8>,
}

/// What the guard makes of a message: the incarnations that it introduces, and whether a node that knows nobody has room for
/// them. `None`: the library must not decode it.
#[must_use]
pub fn gossip_guard(message: &[u8]) -> Option<(Vec<Introduced>, bool)> {
    let introduced = bounds::introduced(message)?;
    let has_room = bounds::fits(|_| false, iter::empty(), &introduced);
    let named = |id: &ChitchatId| Introduced { name: id.node_id.to_string(), written: id.serialize_to_vec() };
    Some((introduced.iter().map(named).collect(), has_room))
}

/// How a message names this incarnation.
#[must_use]
pub fn incarnation_bytes(name: &str, incarnation: u64, gossip: SocketAddr) -> Vec<u8> {
    ChitchatId::new(name, incarnation, gossip).serialize_to_vec()
}

/// Messages that arrive in parts.
#[derive(Debug, Default)]
pub struct Parts(Assembly);

impl Parts {
    /// The datagrams that carry `message`.
    #[must_use]
    pub fn cut(message: Vec<u8>, number: u64) -> Vec<Vec<u8>> {
        cut(message, number)
    }

    /// Takes a datagram. The message that is complete with it, if one is.
    pub fn take(&mut self, from: SocketAddr, datagram: Vec<u8>) -> Option<Vec<u8>> {
        self.0.take(from, datagram)
    }

    /// How many messages wait for parts, and the bytes of the parts that have come.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        self.0.held()
    }
}
