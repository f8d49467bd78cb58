//! Connections to other nodes: the handshake, frames, and what goes out on the link to a peer.

mod answers;
mod batch;
pub(crate) mod frame;
pub(crate) mod gossip_relay;
pub(crate) mod handshake;
pub(crate) mod outgoing;
pub(crate) mod room;
pub(crate) mod welcome;
