//! Who is alive, as far as one node can tell: leases and suspicion of its peers ([`peer`]), its own stalls ([`stall`]), and
//! whether it may answer for its own copies ([`leases`]), by the times of [`timing`].

pub mod leases;
pub mod peer;
pub mod stall;
pub mod timing;
