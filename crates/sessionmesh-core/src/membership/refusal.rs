//! A member whose port refuses connections, though gossip may hear it.

use crate::moment::Moment;

/// A member whose port refuses, but that gossip still hears after so long, is alive after all.
const REFUSED_BUT_HEARD_MS: u64 = 2_000;
/// The longest that a member whose port refuses, and that was never reached, waits for the next try.
const REFUSED_WAIT_MS_MAX: u64 = 60_000;

/// What is known of such a member since it was tried last.
#[derive(Debug)]
pub struct Refusal {
    since: Moment,
    heartbeat: u64,
    /// Gossip must have heard it for so long since before it counts all the same.
    wait_ms: u64,
    admitted: bool,
}

impl Refusal {
    /// Its port refused, when gossip had counted so many heartbeats.
    #[must_use]
    pub const fn new(heartbeat: u64, now: Moment) -> Self {
        Self { since: now, heartbeat, wait_ms: REFUSED_BUT_HEARD_MS, admitted: false }
    }

    /// It was taken for a member all the same, and its port refuses again. One that was never reached has a wrong address, it
    /// seems, and waits for twice as long.
    pub fn again(&mut self, heartbeat: u64, now: Moment) {
        if self.admitted {
            let wait_ms = (self.wait_ms * 2).min(REFUSED_WAIT_MS_MAX);
            *self = Self { since: now, heartbeat, wait_ms, admitted: false };
        }
    }

    /// Gossip has counted so many heartbeats by now. Says whether it counts as a member from now on: a process that is gone
    /// is not heard any more, once what gossip relayed has arrived; one that is heard for longer lives.
    pub fn on_heartbeat(&mut self, heartbeat: u64, now: Moment) -> bool {
        let moved = heartbeat > self.heartbeat;
        self.heartbeat = self.heartbeat.max(heartbeat);
        let admits = moved && !self.admitted && now.ms_since(self.since) > self.wait_ms;
        self.admitted |= admits;
        admits
    }

    /// Whether it counts as a member all the same.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        self.admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::START.plus_ms(ms)
    }

    #[test]
    fn one_that_is_not_heard_stays_refused_and_one_that_is_heard_for_long_is_a_member() {
        let mut refusal = Refusal::new(5, at(0));
        assert!(!refusal.on_heartbeat(5, at(10_000)), "nothing was heard since");
        assert!(!refusal.is_admitted());
        let mut refusal = Refusal::new(5, at(0));
        assert!(!refusal.on_heartbeat(6, at(2_000)));
        assert!(!refusal.on_heartbeat(6, at(2_001)), "that was counted before");
        assert!(refusal.on_heartbeat(7, at(2_002)) && refusal.is_admitted());
        assert!(!refusal.on_heartbeat(8, at(2_003)), "said once");
    }

    /// A wrong address must not make the view flap: each try makes it a member for a moment.
    #[test]
    fn one_that_is_refused_again_and_again_is_tried_ever_more_rarely_but_once_a_minute() {
        let (mut refusal, mut tries, mut heartbeat) = (Refusal::new(0, at(0)), Vec::new(), 0);
        for ms in (0..400_000).step_by(100) {
            heartbeat += 1;
            if refusal.on_heartbeat(heartbeat, at(ms)) {
                tries.push(ms);
                refusal.again(heartbeat, at(ms));
            }
        }
        let waits: Vec<u64> = tries.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000).collect();
        assert_eq!(waits, [4, 8, 16, 32, 60, 60, 60, 60, 60]);
        refusal.again(heartbeat, at(400_000));
        assert!(!refusal.is_admitted(), "while it waits, more refusals change nothing");
    }
}
