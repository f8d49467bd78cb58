//! Links that lose, hold or delay what is sent.

use rand::Rng as _;

use super::Drawn;
use crate::scenario::{Fault, Kind};

impl Drawn<'_> {
    pub(super) fn partition(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(1..=3) {
            // Two groups, or three.
            let mut groups: Vec<usize> = vec![self.rng.random_range(1..self.order.len())];
            if self.order.len() > 3 && self.rng.random_bool(0.2) {
                groups.push(self.rng.random_range(1..self.order.len()));
            }
            let group = |at: usize| groups.iter().filter(|border| at >= **border).count();
            let leaky = self.rng.random_bool(0.3);
            for one in 0..self.order.len() {
                for other in one + 1..self.order.len() {
                    // Sometimes a link or two survive.
                    let survives = leaky && self.order.len() > 2 && self.rng.random_bool(0.2);
                    if group(one) != group(other) && !survives {
                        self.add(at, Fault::Cut(self.order[one], self.order[other]));
                    }
                }
            }
            at += self.short_or_long();
            self.add(at, Fault::Heal);
            at += self.short_or_long();
        }
    }

    pub(super) fn one_way(&mut self, at: u64) {
        let (from, others) = self.one_and_others();
        let inwards = self.rng.random_bool(0.5);
        for to in others {
            self.add(at, if inwards { Fault::CutOneWay(to, from) } else { Fault::CutOneWay(from, to) });
        }
        let healed = at + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    pub(super) fn hold(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(1..=3) {
            let (one, others) = self.one_and_others();
            for other in others {
                self.add(at, Fault::Hold(one, other));
            }
            at += self.short_or_long();
            self.add(at, Fault::Heal);
            at += self.short_or_long();
        }
    }

    pub(super) fn gossip(&mut self, at: u64) {
        match self.rng.random_range(0..4) {
            0 => {
                let lost = self.rng.random_range(100..=1_000);
                self.add(at, Fault::LoseDatagrams(lost));
            }
            1 => self.add(at, Fault::LoseMulticast),
            2 => {
                let (one, others) = self.one_and_others();
                for _ in 0..self.rng.random_range(1..=4) {
                    let again = at + self.rng.random_range(0..1_000);
                    others.iter().for_each(|other| self.add(again, Fault::Reset(one, *other)));
                }
            }
            _ => {
                let (one, others) = self.one_and_others();
                for other in others {
                    self.add(at, Fault::HoldStreams(one, other));
                }
            }
        }
        if self.rng.random_bool(0.4) {
            let crashed = at + self.rng.random_range(0..1_000);
            self.quick_restart(crashed);
        }
        let healed = at + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    pub(super) fn slow(&mut self, at: u64) {
        let (one, others) = self.one_and_others();
        let ms = self.rng.random_range(20..600);
        for other in others {
            self.add(at, Fault::Slow(one, other, ms));
        }
        if self.rng.random_bool(0.4) {
            let down = at + self.rng.random_range(0..2_000);
            self.go_down(Kind::Crash, down);
        }
        let healed = at + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    /// One node, and one or all of the others.
    fn one_and_others(&mut self) -> (usize, Vec<usize>) {
        let all = self.rng.random_bool(0.4);
        let others = self.order[1..].iter().copied().take(if all { self.order.len() } else { 1 });
        (self.order[0], others.collect())
    }
}
