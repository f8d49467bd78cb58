//! The numbers of the lives of one name.
//!
//! Each start of a node under one name is a *life* with a number, its incarnation. A later life has a larger number than
//! every life of this name that anybody remembers, and no two lives share one: stamps and gossip tell them apart by it.
//! The clock gives most of the number, so that the next life is larger even if nobody is there to ask; but clocks are
//! set back, and start in 1970 on machines without a battery. So a part of it is random, and a node that hears of a larger
//! number takes the next one.

/// How many low bits of a number are random: two lives of one name that start in the same millisecond, or with a clock
/// that stands still, share a number once in a million.
const RANDOM_BITS: u32 = 20;

/// The number of a life that starts at `wall_ms`, in milliseconds since the Unix epoch, if no other one is known. Never 0.
#[must_use]
pub fn first(wall_ms: u64, random: u64) -> u64 {
    let clock = wall_ms.min(u64::MAX >> (RANDOM_BITS + 1)) << RANDOM_BITS;
    (clock | (random >> (u64::BITS - RANDOM_BITS))).max(1)
}

/// The number of a life that starts after one with the number `known`.
#[must_use]
pub const fn after(known: u64) -> u64 {
    known.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_clocks_give_larger_numbers_whatever_is_random() {
        assert!(first(1_800_000_000_001, 0) > first(1_800_000_000_000, u64::MAX));
        assert!(first(u64::MAX, u64::MAX) < u64::MAX, "there is room for later lives");
    }

    #[test]
    fn a_clock_before_its_epoch_gives_lives_numbers_of_their_own() {
        assert_eq!(first(0, 0), 1);
        assert_ne!(first(0, 0x1234_5678_9abc_def0), first(0, 0xfedc_ba98_7654_3210));
    }

    #[test]
    fn the_life_after_a_known_one_is_larger() {
        let known = first(1_800_000_000_000, 7);
        assert!(after(known) > known);
    }
}
