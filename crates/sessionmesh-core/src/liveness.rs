//! Who is alive, as far as one node can tell: leases and suspicion of its peers ([`peer`]), its own stalls ([`stall`]), and
//! what it may conclude from both ([`current`]), by the times of [`timing`].

pub mod leases;
pub mod peer;
pub mod stall;
pub mod timing;
