//! Faults that meet, at moments at which a proof has to hold for several reasons at once.

use rand::Rng as _;

use super::Drawn;
use crate::scenario::Fault;
use crate::scenario::draw::pick;

/// Longer than any idle limit that a run reaches, and than nodes take to settle after it.
const LONG_CUT_MS: (u64, u64) = (6_000, 9_000);

impl Drawn<'_> {
    pub(super) fn composed(&mut self, at: u64) {
        match self.rng.random_range(0..6) {
            0 => self.leave_unheard(at),
            1 => self.long_cut(at),
            2 => self.die_at_the_heal(at),
            3 => self.restart_unnoticed(at),
            4 => self.die_with_words_unsaid(at),
            _ => self.views_within_a_lease(at),
        }
    }

    /// Several nodes leave within the same millisecond, while most of what gossip says of it is lost.
    fn leave_unheard(&mut self, at: u64) {
        let lost = self.rng.random_range(200..=900);
        self.add(at, Fault::LoseDatagrams(lost));
        let number = self.rng.random_range(1..self.order.len().max(2));
        let gone = at + self.rng.random_range(0..300);
        let leaving = self.order[..number].to_vec();
        for node in leaving {
            self.add(gone, Fault::Leave(node));
            let back = gone + self.short_or_long();
            self.add(back, Fault::Start(node));
        }
        let healed = gone + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    /// Sessions are made on both sides before and during a cut that outlasts them.
    fn long_cut(&mut self, at: u64) {
        let one_side = self.rng.random_range(1..self.order.len());
        for node in [self.order[0], self.order[one_side]] {
            self.make_sessions(node, at, 20..150);
        }
        let cut = at + self.rng.random_range(0..100);
        let (ones, others) = self.order.split_at(one_side);
        let links: Vec<_> = ones.iter().flat_map(|one| others.iter().map(|other| Fault::Cut(*one, *other))).collect();
        links.into_iter().for_each(|link| self.add(cut, link));
        let node = pick(self.rng, &self.order);
        self.make_sessions(node, cut + 2_000, 20..150);
        let healed = cut + self.rng.random_range(LONG_CUT_MS.0..LONG_CUT_MS.1);
        self.add(healed, Fault::Heal);
    }

    /// A node makes sessions, is cut off, and dies when it is heard again, or another one does.
    fn die_at_the_heal(&mut self, at: u64) {
        let Some(victim) = self.victims.pop() else { return };
        self.make_sessions(victim, at, 20..300);
        let cut = at + self.rng.random_range(0..60);
        self.isolate(victim, cut);
        let healed = cut + self.short_or_long();
        self.add(healed, Fault::Heal);
        let dies = healed + self.rng.random_range(0..600);
        let other = self.order.iter().copied().find(|other| *other != victim).unwrap_or(victim);
        let dying = if self.rng.random_bool(0.5) { victim } else { other };
        self.kill(dying, dies);
        let back = dies + self.short_or_long();
        self.add(back, Fault::Start(dying));
    }

    /// What a node says does not arrive, and then its process dies. Its system goes on saying it, and is heard when the node lives
    /// again, or does not.
    fn die_with_words_unsaid(&mut self, at: u64) {
        let Some(victim) = self.victims.pop() else { return };
        for other in self.order.clone() {
            if other != victim {
                self.add(at, Fault::CutOneWay(victim, other));
            }
        }
        let sessions = at + self.rng.random_range(0..200);
        self.make_sessions(victim, sessions, 5..100);
        let dies = sessions + self.rng.random_range(0..1_000);
        self.add(dies, Fault::Crash(victim));
        let back = dies + self.short_or_long();
        self.add(back, Fault::Start(victim));
        let healed = dies + self.short_or_long();
        self.add(healed, Fault::Heal);
    }

    /// Nodes are back, and empty, before anybody can have noticed; with sessions made just before.
    fn restart_unnoticed(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(1..=3) {
            let Some(victim) = self.victims.pop() else { return };
            let node = pick(self.rng, &self.order);
            self.make_sessions(node, at, 5..60);
            let dies = at + self.rng.random_range(0..40);
            self.add(dies, Fault::PowerLoss(victim));
            let back = dies + self.rng.random_range(0..15);
            self.add(back, Fault::Start(victim));
            at = back + 1_500 + self.short_or_long();
        }
    }

    /// One node leaves and another one comes, again and again, each time before what was granted under the view before has run
    /// out.
    fn views_within_a_lease(&mut self, mut at: u64) {
        for _ in 0..self.rng.random_range(2..=4) {
            let (leaves, sessions) = (pick(self.rng, &self.order), self.rng.random_range(5..60));
            let makes = pick(self.rng, &self.order);
            self.add(at, Fault::Leave(leaves));
            let between = at + self.rng.random_range(0..200);
            self.add(between, Fault::Burst(makes, sessions));
            at += self.rng.random_range(50..350);
            self.add(at, Fault::Start(leaves));
            at += self.rng.random_range(50..350);
        }
    }
}
