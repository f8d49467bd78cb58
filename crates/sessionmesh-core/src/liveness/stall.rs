//! Whether this node itself ran of late. What did not run cannot know who was silent, nor when what it reads came.

use super::timing::Timing;
use crate::coverage::{self, Path};
use crate::failpoint::{self, Bug};
use crate::moment::Moment;

/// The ticks of this node, and the last gap between them.
///
/// A node ticks every [`Timing::tick_ms`]. When a tick comes [`Timing::late_ms`] after the one before, or later, the node
/// *recovers* until nothing depends on that gap any more: what had waited in its sockets has been read, and every peer has
/// said that it still counts this node. After [`Timing::stall_ms`] it was *stalled*: it doubts that its peers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    last_tick: Moment,
    gap: Option<Gap>,
    recovering: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    /// The last tick before it.
    began: Moment,
    /// The first tick after it.
    woken: Moment,
}

impl Default for Stall {
    fn default() -> Self {
        Self { last_tick: Moment::START, gap: None, recovering: false }
    }
}

/// How a node comes to its next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// In time, or a little late.
    InTime,
    /// After a gap of so many milliseconds, in which it may have missed what others said.
    Late(u64),
    /// After a gap of so many milliseconds, in which its leases have run out and others may have gone on without it.
    Stalled(u64),
}

impl Stall {
    /// How the tick of now comes.
    #[must_use]
    pub fn tick(&self, timing: &Timing, now: Moment) -> Tick {
        match self.asleep_ms(now) {
            gap_ms if gap_ms >= timing.stall_ms() => Tick::Stalled(gap_ms),
            gap_ms if gap_ms >= timing.late_ms() => Tick::Late(gap_ms),
            _ => Tick::InTime,
        }
    }

    /// A tick comes: notes the gap before it, if it is one, or else whether the last one is over. `all_confirmed`: every peer
    /// has said since that it counts this node. The tick itself is noted by [`Stall::ticked`], when its work is done.
    #[must_use]
    pub fn noticed(mut self, timing: &Timing, now: Moment, all_confirmed: impl FnOnce() -> bool) -> Self {
        if !self.is_awake(timing, now) {
            // The first tick always comes late.
            if self.has_ticked() {
                coverage::reached(Path::StallNoticed);
                self.gap = Some(Gap { began: self.last_tick, woken: now });
            }
            self.recovering = true;
        } else if self.recovering {
            let drained = self.gap.is_none_or(|gap| now.ms_since(gap.woken) >= timing.suspect_ms);
            self.recovering = !(drained && all_confirmed());
        }
        self
    }

    /// The tick of now is done.
    #[must_use]
    pub const fn ticked(self, now: Moment) -> Self {
        Self { last_tick: now, ..self }
    }

    /// Whether there was a tick at all.
    #[must_use]
    pub fn has_ticked(&self) -> bool {
        self.last_tick != Moment::START
    }

    /// How long ago the last tick was, in milliseconds.
    #[must_use]
    pub fn asleep_ms(&self, now: Moment) -> u64 {
        now.ms_since(self.last_tick)
    }

    /// Whether this node ran of late. If it did not, what it believes about silent peers is out of date. Its leases are not:
    /// they run out by its own clock, whether it runs or not.
    #[must_use]
    pub fn is_awake(&self, timing: &Timing, now: Moment) -> bool {
        self.asleep_ms(now) < timing.late_ms()
    }

    /// Whether a gap is not over: it lasts at `now`, or what had waited may still be read, or some peer has not said since
    /// that it counts this node.
    #[must_use]
    pub fn is_recovering(&self, timing: &Timing, now: Moment) -> bool {
        self.recovering || !self.is_awake(timing, now)
    }

    /// When what is read at `now` may have come: to a node that did not run it may have come when that began.
    #[must_use]
    pub fn arrived_at(&self, timing: &Timing, now: Moment) -> Moment {
        if self.has_ticked() && !self.is_awake(timing, now) {
            return self.last_tick;
        }
        match self.gap.filter(|_| self.recovering) {
            Some(_) if failpoint::planted(Bug::LateAccessCounts) => now,
            Some(gap) if now.ms_since(gap.woken) < timing.suspect_ms => gap.began,
            _ => now,
        }
    }

    /// When the answer to what was asked at `asked` came, if it is read at `now`: not after the beginning of a gap that lies
    /// between.
    #[must_use]
    pub fn answered_at(&self, asked: Moment, timing: &Timing, now: Moment) -> Moment {
        let slept = self.recovering && self.gap.is_some_and(|gap| gap.woken > asked);
        if self.is_awake(timing, now) && !slept { now } else { self.arrived_at(timing, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks 25 ms apart; late after 150 ms, silent after 350 ms.
    const TIMING: Timing = Timing::new(500);

    fn at(ms: u64) -> Moment {
        Moment::START.plus_ms(ms)
    }

    /// A node that has ticked at each of these times, with every peer's confirmation or without.
    fn ticked(times: &[u64], confirmed: bool) -> Stall {
        times.iter().fold(Stall::default(), |stall, ms| stall.noticed(&TIMING, at(*ms), || confirmed).ticked(at(*ms)))
    }

    #[test]
    fn a_node_is_late_before_it_counts_as_stalled() {
        let timing = Timing::new(500);
        let stall = Stall::default().ticked(Moment::START.plus_ms(1_000));
        let after = |ms: u64| stall.tick(&timing, Moment::START.plus_ms(1_000 + ms));
        assert_eq!(after(149), Tick::InTime);
        assert_eq!((after(150), after(299)), (Tick::Late(150), Tick::Late(299)));
        assert_eq!(after(300), Tick::Stalled(300));
    }

    #[test]
    fn who_ticks_in_time_is_awake_and_reads_what_has_just_come() {
        let stall = ticked(&[25, 50, 75], true);
        assert!(stall.is_awake(&TIMING, at(224)) && !stall.is_awake(&TIMING, at(225)));
        assert_eq!(stall.arrived_at(&TIMING, at(80)), at(80));
        assert_eq!(
            stall.arrived_at(&TIMING, at(300)),
            at(75),
            "it sleeps: it may have come at once after the last tick"
        );
        assert_eq!(stall.answered_at(at(80), &TIMING, at(300)), at(75));
    }

    #[test]
    fn after_a_gap_what_is_read_may_have_come_when_it_began_until_all_that_waited_is_read() {
        let stall = ticked(&[25, 50, 1_000], true);
        assert!(stall.is_recovering(&TIMING, at(1_010)));
        assert_eq!(stall.arrived_at(&TIMING, at(1_010)), at(50));
        let stall = stall.ticked(at(1_340));
        assert_eq!(stall.arrived_at(&TIMING, at(1_349)), at(50));
        assert_eq!(stall.arrived_at(&TIMING, at(1_350)), at(1_350));
    }

    #[test]
    fn a_node_recovers_from_the_moment_it_wakes_not_from_its_next_tick() {
        let stall = ticked(&[25, 50, 1_000, 1_100, 1_200, 1_300, 1_400], true);
        assert!(!stall.is_recovering(&TIMING, at(1_549)));
        assert!(stall.is_recovering(&TIMING, at(1_550)));
    }

    #[test]
    fn an_answer_to_a_question_from_after_the_gap_is_new() {
        let stall = ticked(&[25, 50, 1_000], true);
        assert_eq!(stall.answered_at(at(60), &TIMING, at(1_010)), at(50), "asked before it woke");
        assert_eq!(stall.answered_at(at(1_000), &TIMING, at(1_010)), at(1_010));
    }

    #[test]
    fn it_recovers_until_every_peer_has_confirmed_and_what_waited_is_read() {
        let woken = ticked(&[25, 50, 1_000, 1_100, 1_200, 1_300], true);
        assert!(woken.is_recovering(&TIMING, at(1_310)), "what waited may still be read");
        let unconfirmed = ticked(&[25, 50, 1_000, 1_100, 1_200, 1_300, 1_400], false);
        assert!(unconfirmed.is_recovering(&TIMING, at(1_410)));
        assert!(!unconfirmed.noticed(&TIMING, at(1_425), || true).ticked(at(1_425)).is_recovering(&TIMING, at(1_430)));
    }

    #[test]
    fn the_first_tick_is_late_but_ends_no_gap() {
        let stall = ticked(&[400], true);
        assert!(stall.is_recovering(&TIMING, at(410)), "nobody has said yet that it counts this node");
        assert_eq!(stall.arrived_at(&TIMING, at(410)), at(410));
        assert!(!stall.noticed(&TIMING, at(425), || true).ticked(at(425)).is_recovering(&TIMING, at(430)));
    }
}
