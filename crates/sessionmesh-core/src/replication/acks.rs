//! Commits that wait for copies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failpoint::{self, Bug};
use crate::id::{NodeHash, SessionId, Slot};
use crate::placement::view::ViewHash;
use crate::replication::targets::Targets;

/// When a commit returns. It waits at most for the commit deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ack {
    /// At once. A crash right after the response loses the change, and other nodes may read the old state for a moment.
    Local,
    /// When this many other nodes hold the change. The change survives as many crashes; a read on another node may
    /// still see the old state for a moment.
    Copies(u8),
    /// When every owner holds the change. A read on any node then sees it.
    #[default]
    Owners,
}

impl Ack {
    /// How many copies are too few where a commit is strict about them: as many as are asked for, or one.
    #[must_use]
    pub const fn copies_wanted(self) -> usize {
        match self {
            Self::Local => 0,
            Self::Copies(copies) => copies as usize,
            Self::Owners => 1,
        }
    }
}

/// One commit that waits.
#[derive(Debug)]
struct Waiter<R> {
    counter: u64,
    ack: Ack,
    answers: Vec<(NodeHash, Holds)>,
    reply: R,
}

/// How a node said that it holds a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// As an owner, under this view.
    Kept(ViewHash),
    /// Only to pass it on.
    InTransit,
}

/// A commit that need not wait any longer.
#[derive(Debug)]
pub struct Done<R> {
    /// Given with the wait.
    pub reply: R,
    /// How many other nodes hold it and will go on to: owners, and who stands in for one.
    pub copies: usize,
}

/// All commits of a node that wait for an answer.
#[derive(Debug)]
pub struct Acks<R> {
    waiting: BTreeMap<(SessionId, u64), Waiter<R>>,
    tickets: u64,
}

impl<R> Default for Acks<R> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), tickets: 0 }
    }
}

impl<R> Acks<R> {
    /// Waits until the commit with Lamport counter `counter` on `id` reached what `ack` asks for. The ticket ends the
    /// wait early.
    pub fn wait(&mut self, id: SessionId, counter: u64, ack: Ack, reply: R) -> u64 {
        self.tickets += 1;
        self.waiting.insert((id, self.tickets), Waiter { counter, ack, answers: Vec::new(), reply });
        self.tickets
    }

    /// Ends a wait. Returns how many copies had been reached, or `None` if it was over.
    pub fn give_up(&mut self, id: SessionId, ticket: u64, targets: &Targets) -> Option<usize> {
        self.waiting.remove(&(id, ticket)).map(|waiter| waiter.copies(targets))
    }

    /// `node` answered to a send of `id` that was encoded at Lamport counter `sent`.
    pub fn on_ack(
        &mut self,
        id: SessionId,
        node: NodeHash,
        sent: u64,
        holds: Holds,
        targets: &Targets,
    ) -> Vec<Done<R>> {
        for (_, waiter) in self.waiting.range_mut((id, 0)..=(id, u64::MAX)) {
            if waiter.counter <= sent || failpoint::planted(Bug::AnswerToEarlierSend) {
                match waiter.answers.iter_mut().find(|(from, _)| *from == node) {
                    Some(answer) => answer.1 = holds,
                    None => waiter.answers.push((node, holds)),
                }
            }
        }
        self.review(id, targets)
    }

    /// The targets of `id` may have changed: which of its waits are over?
    pub fn review(&mut self, id: SessionId, targets: &Targets) -> Vec<Done<R>> {
        let over: Vec<u64> = self
            .waiting
            .range((id, 0)..=(id, u64::MAX))
            .filter(|(_, waiter)| waiter.is_over(targets))
            .map(|((_, ticket), _)| *ticket)
            .collect();
        over.into_iter()
            .filter_map(|ticket| self.waiting.remove(&(id, ticket)))
            .map(|waiter| Done { copies: waiter.copies(targets), reply: waiter.reply })
            .collect()
    }

    /// The sessions that are waited for, each once, in order.
    pub fn sessions(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.waiting.keys().map(|(id, _)| *id).collect();
        ids.dedup();
        ids
    }

    /// Whether any commit waits on `id`.
    pub fn waits_for(&self, id: SessionId) -> bool {
        self.waiting.range((id, 0)..=(id, u64::MAX)).next().is_some()
    }

    /// Whether any commit waits on a session in `slot`.
    pub fn waits_in(&self, slot: Slot) -> bool {
        self.waiting.range((slot.first(), 0)..).next().is_some_and(|((id, _), _)| id.slot() == slot)
    }

    /// Commits that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<R> Waiter<R> {
    fn holds(&self, node: &NodeHash) -> Option<Holds> {
        self.answers.iter().find(|(from, _)| from == node).map(|(_, holds)| *holds)
    }

    /// Copies that stay. Whoever else was waited for only passes its own one on.
    fn copies(&self, targets: &Targets) -> usize {
        targets.holders().filter(|node| self.holds(node).is_some()).count()
    }

    fn is_over(&self, targets: &Targets) -> bool {
        let holds = |node: &NodeHash| self.holds(node);
        match self.ack {
            Ack::Local => true,
            Ack::Copies(wanted) => {
                let reachable = targets.holders().count();
                self.copies(targets) >= usize::from(wanted).min(reachable)
            }
            Ack::Owners => {
                let keeps = |node: &NodeHash| match holds(node) {
                    Some(Holds::Kept(view)) => view == targets.view || failpoint::planted(Bug::AcksUnderAnyView),
                    Some(Holds::InTransit) | None => false,
                };
                let lacking = targets.owners.iter().filter(|node| !keeps(node)).count();
                lacking <= usize::from(failpoint::planted(Bug::OneOwnerFewer))
                    && targets.stand_ins.iter().chain(&targets.also_awaited).all(|node| holds(node).is_some())
            }
        }
    }
}

#[cfg(test)]
mod tests;
