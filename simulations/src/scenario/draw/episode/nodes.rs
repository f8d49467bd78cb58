//! Nodes that crash, freeze, leave and come again, at moments at which much can go wrong.

use std::ops::Range;

use rand::Rng as _;

use super::Drawn;
use crate::scenario::draw::pick;
use crate::scenario::{Fault, Kind};

impl Drawn<'_> {
    pub(super) fn go_down(&mut self, kind: Kind, mut at: u64) {
        if kind == Kind::Leave {
            // What leaves as planned loses nothing, so all but one may.
            let leaving = self.rng.random_range(1..self.order.len().max(2));
            self.victims = self.order[..leaving].to_vec();
        }
        // All victims, or one; at once, or one after the other.
        let together = self.rng.random_bool(0.5);
        while let Some(victim) = self.victims.pop() {
            self.add(
                at,
                match kind {
                    Kind::Crash => Fault::Crash(victim),
                    Kind::PowerLoss => Fault::PowerLoss(victim),
                    _ => Fault::Leave(victim),
                },
            );
            let down = self.short_or_long();
            // Some come again only when all is healed.
            if self.rng.random_bool(0.7) {
                self.add(at + down, Fault::Start(victim));
            }
            at += if together { self.rng.random_range(0..5) } else { self.short_or_long() };
        }
    }

    /// Nothing passes between the node and any other one.
    pub(super) fn isolate(&mut self, node: usize, at: u64) {
        for other in self.order.clone() {
            if other != node {
                self.add(at, Fault::Cut(node, other));
            }
        }
    }

    /// The node dies, alone or with its machine.
    pub(super) fn kill(&mut self, node: usize, at: u64) {
        let power = self.rng.random_bool(0.5);
        self.add(at, if power { Fault::PowerLoss(node) } else { Fault::Crash(node) });
    }

    /// So many sessions, drawn from a range, are made on the node.
    pub(super) fn make_sessions(&mut self, node: usize, at: u64, sessions: Range<u32>) {
        let sessions = self.rng.random_range(sessions);
        self.add(at, Fault::Burst(node, sessions));
    }

    pub(super) fn isolate_then_crash(&mut self, at: u64) {
        let Some(victim) = self.victims.pop() else { return };
        self.isolate(victim, at);
        let crashed = at + self.short_or_long();
        self.kill(victim, crashed);
        let (healed, back) = (crashed + self.short_or_long(), crashed + self.short_or_long());
        self.add(healed, Fault::Heal);
        self.add(back, Fault::Start(victim));
    }

    pub(super) fn freeze(&mut self, mut at: u64) {
        if self.rng.random_bool(0.2) {
            return self.stutter(at);
        }
        for _ in 0..self.rng.random_range(1..=3) {
            let frozen = pick(self.rng, &self.order);
            self.add(at, Fault::Freeze(frozen));
            // Around the times at which leases run out and suspicion begins most can go wrong.
            at += if self.rng.random_bool(0.5) { self.rng.random_range(200..900) } else { self.short_or_long() };
            if self.rng.random_bool(0.1) {
                self.add(at, Fault::Crash(frozen));
                self.add(at + 500, Fault::Start(frozen));
            } else {
                self.add(at, Fault::Thaw(frozen));
            }
            at += self.short_or_long();
        }
    }

    /// A node on a busy host: again and again it waits for a processor, each time for less than a lease lasts.
    fn stutter(&mut self, mut at: u64) {
        let busy = pick(self.rng, &self.order);
        let (late, until) = (self.rng.random_range(60..295), at + self.rng.random_range(1_000..4_000));
        while at < until {
            self.add(at, Fault::Freeze(busy));
            self.add(at + late, Fault::Thaw(busy));
            at += late + self.rng.random_range(5..40);
        }
    }

    pub(super) fn quick_restart(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(1..=3) {
            let Some(victim) = self.victims.pop() else { return };
            self.kill(victim, at);
            let back = at + self.rng.random_range(0..120);
            self.add(back, Fault::Start(victim));
            at = back + 2_000 + self.short_or_long();
        }
    }

    pub(super) fn crash_during_repair(&mut self, at: u64) {
        let Some(first) = self.victims.pop() else { return };
        self.add(at, Fault::Crash(first));
        let back = at + self.rng.random_range(0..1_500);
        self.add(back, Fault::Start(first));
        // The copies are made again when the death is noticed, and when the node is back.
        let next = if self.rng.random_bool(0.5) { at } else { back } + self.rng.random_range(20..1_500);
        let second = self.victims.pop().unwrap_or(first);
        match self.rng.random_range(0..4) {
            0 => self.add(next, Fault::PowerLoss(second)),
            1 => {
                self.add(next, Fault::Freeze(second));
                let thaw = next + self.short_or_long();
                self.add(thaw, Fault::Thaw(second));
            }
            2 => self.add(next, Fault::Leave(second)),
            _ => self.add(next, Fault::Crash(second)),
        }
        let again = next + self.short_or_long();
        self.add(again, Fault::Start(second));
    }

    pub(super) fn rolling(&mut self, mut at: u64) {
        for node in self.order.clone().into_iter().take(5) {
            self.add(at, Fault::Leave(node));
            at += self.rng.random_range(500..1_500);
            self.add(at, Fault::Start(node));
            // The next one waits until this one is ready, mostly.
            at += if self.rng.random_bool(0.8) { 3_000 } else { self.short_or_long() };
        }
    }

    /// Long enough for sessions to end, with a death in the middle or without.
    pub(super) fn idle(&mut self) {
        if self.rng.random_bool(0.5) {
            let at = self.rng.random_range(1_000..6_000);
            self.go_down(Kind::Crash, at);
        }
        self.add(9_000, Fault::Heal);
    }

    pub(super) fn burst(&mut self, at: u64) {
        let node = pick(self.rng, &self.order);
        self.make_sessions(node, at, 20..300);
        let then = at + self.rng.random_range(0..200);
        match self.rng.random_range(0..4) {
            0 => self.hold(then),
            1 => self.go_down(Kind::Leave, then),
            2 => self.freeze(then),
            _ => self.crash_during_repair(then),
        }
    }
}
