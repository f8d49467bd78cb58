//! How long to wait for a peer, and how long to rely on what it said.

/// The times that govern who counts as alive, in milliseconds, all derived from the commit deadline.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a granted lease lasts, from the ping that asked for it.
    pub lease_ms: u64,
    /// A peer that owes answers for so long gets no more leases.
    pub withhold_ms: u64,
    /// A peer that owes answers for so long is suspected. By then the last lease has run out.
    pub suspect_ms: u64,
    /// A suspected peer must answer a ping within this to be reinstated.
    pub prompt_ms: u64,
    /// How often a lease is asked for.
    pub ping_ms: u64,
}

impl Timing {
    /// The times for a commit deadline: a lease of 3/5, suspicion after 7/10, which leaves 3/10 to a stand-in.
    pub const fn new(deadline_ms: u64) -> Self {
        Self {
            lease_ms: deadline_ms * 3 / 5,
            withhold_ms: deadline_ms / 10,
            suspect_ms: deadline_ms * 7 / 10,
            prompt_ms: deadline_ms / 2,
            ping_ms: deadline_ms / 5,
        }
    }

    /// How long a lease may be relied on that was granted by somebody with this timing, who waits no longer than his own
    /// lease lasts before he goes on alone.
    pub fn lease_from(&self, granter: &Self) -> u64 {
        self.lease_ms.min(granter.lease_ms)
    }

    /// How often a node looks at itself and its peers.
    pub const fn tick_ms(&self) -> u64 {
        let half = self.withhold_ms / 2;
        if half == 0 { 1 } else { half }
    }

    /// A node whose ticks are so far apart is late. Answers that came meanwhile may still be unread, so no more than this of
    /// the gap counts as the silence of others; and what is read then may have come when the gap began.
    pub const fn late_ms(&self) -> u64 {
        self.withhold_ms * 3
    }

    /// A node whose ticks are so far apart was stalled: its leases have run out, and others may have gone on without it.
    /// What makes less too little for that is [`Timing::gone_ms`].
    pub const fn stall_ms(&self) -> u64 {
        self.lease_ms
    }

    /// A peer that owes a sign of life for so long may be removed, once gossip has lost it, too. A node that was late, but
    /// not stalled, is not silent for so long, even with the time between two pings and a slow round trip added.
    pub const fn gone_ms(&self) -> u64 {
        self.suspect_ms * 2
    }
}
