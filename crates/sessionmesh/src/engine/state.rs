//! What all tasks of a node share. Nothing here awaits a peer, and nothing here knows of the other wings.

pub(crate) mod evidence;
pub(crate) mod expiry_holds;
pub(crate) mod inbox;
mod key_interner;
pub(crate) mod lateness;
pub(crate) mod lease_cache;
pub(crate) mod node;
pub(crate) mod parts;
pub(crate) mod peer;
pub(crate) mod progress;
pub(crate) mod served;
pub(crate) mod spare_descriptors;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod topology;
pub(crate) mod unknown_ids;
