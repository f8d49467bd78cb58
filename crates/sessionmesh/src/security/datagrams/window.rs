//! Which numbers of a sender have arrived, so that none counts twice.

/// So many numbers back an overtaken datagram may be; older ones count as replayed. A sender has one counter for all whom it
/// sends to, so the numbers that reach one receiver have gaps.
const WIDTH: u64 = 1_024;
const WORDS: usize = (WIDTH / 64) as usize;

/// A sliding window over the numbers of one sender (RFC 6479).
#[derive(Clone, Debug)]
pub(super) struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// Nothing has arrived.
    pub(super) const fn new() -> Self {
        Self { highest: 0, seen: [0; WORDS] }
    }

    /// Notes that `number` (from 1 on) arrived. Says whether it is the first time, and recent enough to tell.
    pub(super) fn note(&mut self, number: u64) -> bool {
        if number == 0 || self.highest.saturating_sub(number) >= WIDTH {
            return false;
        }
        if number > self.highest {
            let beyond = number - self.highest;
            for step in 1..=beyond.min(WIDTH) {
                let (word, bit) = place(self.highest.wrapping_add(step));
                self.seen[word] &= !bit;
            }
            self.highest = number;
        }
        let (word, bit) = place(number);
        let first = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        first
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % WIDTH;
    (usize::try_from(at / 64).expect("it is less than the number of words"), 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_number_counts_once_and_what_is_too_old_never() {
        let mut window = Window::new();
        assert!(!window.note(0));
        assert!(window.note(1) && !window.note(1));
        assert!(window.note(WIDTH) && window.note(2) && !window.note(2));
        assert!(window.note(3 * WIDTH));
        assert!(!window.note(2 * WIDTH), "too old to tell");
        assert!(window.note(2 * WIDTH + 1) && !window.note(2 * WIDTH + 1));
        assert!(window.note(u64::MAX) && !window.note(u64::MAX) && window.note(u64::MAX - 1));
    }

    proptest! {
        #[test]
        fn no_number_counts_twice_and_recent_ones_always_count_once(
            numbers in proptest::collection::vec(1..4 * WIDTH, 0..400)
        ) {
            let (mut window, mut seen, mut highest) = (Window::new(), BTreeSet::new(), 0);
            for number in numbers {
                let counts = window.note(number);
                let recent = number + WIDTH > highest;
                prop_assert_eq!(counts, recent && !seen.contains(&number));
                seen.insert(number);
                highest = highest.max(number);
            }
        }
    }
}
