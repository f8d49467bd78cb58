//! How long the oldest mark of an outbox has waited.
//!
//! The marks carry no times, since there may be as many as sessions. Instead it is noted now and then which number the latest
//! mark had: the oldest one that still waits was made after the last note with a smaller number.

use std::collections::VecDeque;

use crate::moment::Moment;

/// Notes that are kept. With more, every other one is dropped: the age of what waits for long needs no such precision.
const NOTES_MAX: usize = 128;

/// What is known of the times of marks.
#[derive(Debug, Default)]
pub struct Backlog {
    /// The latest number at each moment, both rising.
    notes: VecDeque<(u64, Moment)>,
}

impl Backlog {
    /// Looks at the numbers of [`Outbox::oldest_and_latest`](super::outbox::Outbox::oldest_and_latest). Says for how many
    /// milliseconds the oldest mark has waited, at least: too little by up to the time between two looks. 0 without marks.
    pub fn look(&mut self, oldest: Option<u64>, latest: u64, now: Moment) -> u64 {
        let Some(oldest) = oldest else {
            self.notes.clear();
            return 0;
        };
        // The first note that knows of the oldest mark was made after it.
        while self.notes.front().is_some_and(|(number, _)| *number < oldest) {
            self.notes.pop_front();
        }
        if self.notes.back().is_none_or(|(number, _)| *number < latest) {
            self.notes.push_back((latest, now));
        }
        if self.notes.len() > NOTES_MAX {
            let mut at = 0_usize;
            self.notes.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
        self.notes.front().map_or(0, |(_, at)| now.ms_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use crate::id::SessionId;
    use crate::replication::outbox::{Lane, Outbox};
    use crate::stamp::Stamp;

    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    fn look(backlog: &mut Backlog, outbox: &Outbox, ms: u64) -> u64 {
        let (oldest, latest) = outbox.oldest_and_latest();
        backlog.look(oldest, latest, Moment::from_ms(ms))
    }

    #[test]
    fn the_age_is_that_of_the_oldest_mark_whatever_its_lane() {
        let (mut backlog, mut outbox) = (Backlog::default(), Outbox::default());
        assert_eq!(look(&mut backlog, &outbox, 500), 0, "nothing waits");
        outbox.mark(id(1), Stamp::ZERO, Lane::Bulk, false);
        assert_eq!(look(&mut backlog, &outbox, 1_000), 0, "since less than a look");
        outbox.mark(id(2), Stamp::ZERO, Lane::Awaited, false);
        assert_eq!(look(&mut backlog, &outbox, 2_000), 1_000);
        // The awaited one goes first, and the older one waits on.
        assert!(outbox.take().is_some_and(|(item, ..)| item == id(2).into()));
        assert_eq!(look(&mut backlog, &outbox, 3_000), 2_000);
        outbox.mark(id(3), Stamp::ZERO, Lane::Usual, false);
        outbox.mark(id(1), Stamp::ZERO, Lane::Awaited, false);
        assert_eq!(look(&mut backlog, &outbox, 4_000), 3_000, "marked again, it has waited all the same");
        assert!(outbox.take().is_some_and(|(item, ..)| item == id(1).into()));
        assert_eq!(look(&mut backlog, &outbox, 5_000), 1_000);
        assert!(outbox.take().is_some());
        assert_eq!(look(&mut backlog, &outbox, 6_000), 0);
    }

    #[test]
    fn a_peer_that_is_away_for_hours_costs_little_and_its_age_stays_right() {
        let (mut backlog, mut outbox) = (Backlog::default(), Outbox::default());
        for second in 0..10_000_u64 {
            outbox.mark(id(u8::try_from(second % 250).unwrap()), Stamp::ZERO, Lane::Usual, false);
            outbox.mark(id(251), Stamp::ZERO, Lane::Usual, false);
            assert_eq!(look(&mut backlog, &outbox, second * 1_000), second * 1_000);
            assert!(backlog.notes.len() <= NOTES_MAX);
        }
    }
}
