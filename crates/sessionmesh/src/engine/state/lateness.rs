//! How late a node does what is due: whether its host is too busy.

use std::sync::Mutex;

use sessionmesh_core::moment::Moment;

use crate::lock::lock;

/// Of each new figure a sixteenth counts: some hundred milliseconds of calm forget a single late tick.
const SMOOTHING: u64 = 16;
/// The operator is told at most once in so many milliseconds that the host is too busy.
const TOLD_EVERY_MS: u64 = 60_000;

/// The lateness of ticks, smoothed.
#[derive(Debug, Default)]
pub(crate) struct Lateness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In sixteenths of a millisecond.
    smoothed: u64,
    busy: bool,
    /// The operator was told so, and not yet that it is over.
    told: bool,
    told_at: Option<Moment>,
}

/// What the operator is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The host is too busy.
    Busy {
        /// The lateness, smoothed.
        late_ms: u64,
    },
    /// It is over.
    Calm {
        /// The lateness, smoothed.
        late_ms: u64,
    },
}

impl Lateness {
    /// A tick came `late_ms` late. From `busy_ms` on the host is too busy, until it is below half of that.
    pub(crate) fn note(&self, late_ms: u64, busy_ms: u64, now: Moment) -> Option<Turn> {
        let mut state = lock(&self.0);
        state.smoothed = state.smoothed - state.smoothed / SMOOTHING + late_ms;
        let late_ms = state.smoothed / SMOOTHING;
        state.busy = late_ms >= if state.busy { busy_ms / 2 } else { busy_ms };
        let quiet = state.told_at.is_none_or(|told| now.ms_since(told) >= TOLD_EVERY_MS);
        if state.busy && !state.told && quiet {
            (state.told, state.told_at) = (true, Some(now));
            return Some(Turn::Busy { late_ms });
        }
        (!state.busy && std::mem::take(&mut state.told)).then_some(Turn::Calm { late_ms })
    }

    /// In milliseconds.
    pub(crate) fn ms(&self) -> u64 {
        lock(&self.0).smoothed / SMOOTHING
    }

    /// Whether the host is too busy.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.0).busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks of this lateness, 50 ms apart and more, from `start_ms` on: what is told, and when they end.
    fn ticks(lateness: &Lateness, late_ms: u64, number: u64, start_ms: u64) -> (Vec<Turn>, u64) {
        let at = |tick: u64| start_ms + tick * (50 + late_ms);
        let note = |tick| lateness.note(late_ms, 50, Moment::START.plus_ms(at(tick)));
        ((0..number).filter_map(note).collect(), at(number))
    }

    #[test]
    fn a_host_is_too_busy_while_beats_are_late_again_and_again_not_after_one_stall() {
        let lateness = Lateness::default();
        let (told, now) = ticks(&lateness, 1, 100, 0);
        assert!(told.is_empty() && lateness.ms() <= 1);
        let (told, now) = ticks(&lateness, 300, 1, now);
        assert!(told.is_empty() && !lateness.is_busy(), "one stall");
        let (_, now) = ticks(&lateness, 0, 60, now);
        let (told, now) = ticks(&lateness, 150, 50, now);
        assert!(matches!(told[..], [Turn::Busy { late_ms }] if late_ms >= 50), "{told:?}");
        assert!(lateness.is_busy() && lateness.ms() > 100);
        let (told, _) = ticks(&lateness, 0, 60, now);
        assert!(matches!(told[..], [Turn::Calm { late_ms }] if late_ms < 25), "{told:?}");
        assert!(!lateness.is_busy());
    }

    #[test]
    fn it_is_told_once_a_minute_however_often_it_begins_and_the_end_only_of_what_was_told() {
        let lateness = Lateness::default();
        let mut now = 0;
        let mut told = Vec::new();
        while now < 150_000 {
            for late_ms in [200, 0] {
                let (some, end) = ticks(&lateness, late_ms, 60, now);
                told.extend(some);
                now = end;
            }
        }
        assert_eq!(told.len(), 6, "three beginnings and their ends: {told:?}");
        // One that began untold and lasts is told when the minute is over.
        let lateness = Lateness::default();
        let (_, now) = ticks(&lateness, 200, 20, 0);
        let (_, now) = ticks(&lateness, 0, 60, now);
        let (told, now) = ticks(&lateness, 200, 20, now);
        assert_eq!(told, []);
        assert_eq!(ticks(&lateness, 200, 300, now).0.len(), 1);
    }
}
