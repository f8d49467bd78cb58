//! The machinery behind [`crate::Mesh`]: the map, locks, sockets and tasks, which carry bytes and time to the values and rules
//! of `sessionmesh-core`, and do what they say.
//!
//! It has wings, and uses go one way, downwards:
//!
//! ```text
//! serve                    what peers send and ask
//! write                    changes, ends, merges
//! upkeep, read             what goes on by itself; looking sessions up
//! link, request            bytes to and from a peer; questions to it and its replies
//! replication              who must have a change, and who said that he has
//! state                    the node, its peers, its store
//! ```

pub(crate) mod link;
pub(crate) mod read;
pub(crate) mod replication;
pub(crate) mod request;
pub(crate) mod serve;
pub(crate) mod state;
pub(crate) mod upkeep;
pub(crate) mod write;
