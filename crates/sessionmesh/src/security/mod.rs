//! Who may take part: everything between a socket and the first byte that is decoded.
//!
//! [`secret`] is what the nodes of a cluster share, [`key_ring`] what follows from it, [`links`] protects connections by TLS
//! ([`tls`]), [`datagrams`] seals what goes by UDP. What never happens here: decoding of messages; a decision about members or sessions.

pub(crate) mod datagrams;
pub(crate) mod key_ring;
pub(crate) mod links;
mod opening;
pub(crate) mod refusal;
pub(crate) mod secret;
mod tls;

pub(crate) use refusal::Refusal;
