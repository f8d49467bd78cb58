//! What one peer may lack: dirty sessions, never a queue of messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::coverage::{self, Path};
use crate::failpoint::{self, Bug};
use crate::id::{SessionId, Slot};
use crate::stamp::Stamp;

/// Which marks go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Somebody waits for the answer.
    Awaited,
    /// A change nobody waits for.
    Usual,
    /// Hand-over and repair of many sessions.
    Bulk,
}

/// What can be dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// One session, live or ended.
    Session(SessionId),
    /// All tombstones of a slot, as one value: they are many, and are handed over and repaired together.
    Tombstones(Slot),
}

impl Item {
    /// In which slot it lies.
    pub const fn slot(self) -> Slot {
        match self {
            Self::Session(id) => id.slot(),
            Self::Tombstones(slot) => slot,
        }
    }
}

impl From<SessionId> for Item {
    fn from(id: SessionId) -> Self {
        Self::Session(id)
    }
}

impl From<Slot> for Item {
    fn from(slot: Slot) -> Self {
        Self::Tombstones(slot)
    }
}

/// An item in a batch under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The item.
    pub item: Item,
    /// From which stamp it was sent.
    pub from: Stamp,
    /// In which lane it was.
    pub lane: Lane,
    /// The sender's Lamport counter when the session was encoded, read under the session's lock.
    pub counter: u64,
    /// What was sent: digest and last access.
    pub version: Version,
    /// See [`Outbox::owed`].
    pub owed: bool,
    /// Number of the sender's view when it was sent; an answer counts for letting go only under the same.
    pub epoch: u64,
}

/// A copy of an item, told from any other: its digest and its last access (on this node's clock; tombstones have none, so
/// of them it is [`crate::moment::Moment::START`]).
pub type Version = (u64, crate::moment::Moment);

#[derive(Clone, Copy, Debug)]
struct Mark {
    from: Stamp,
    lane: Lane,
    ticket: u64,
    owed: bool,
}

/// The dirty sessions of one peer, what is under way to it, and what it did not want to own.
///
/// Marking again conflates, so its size is bounded by the number of sessions, whatever is written meanwhile.
#[derive(Debug, Default)]
pub struct Outbox {
    marks: BTreeMap<Item, Mark>,
    order: BTreeMap<(Lane, u64), Item>,
    under_way: BTreeMap<u64, Vec<Sent>>,
    parked: BTreeSet<Item>,
    owed: usize,
    tickets: u64,
    batches: u64,
}

impl Outbox {
    /// Notes that the peer may lack all of `item` that changed at or after `from`. `owed` says that the peer cannot
    /// trust its own copies until it has this (see [`Outbox::owed`]).
    pub fn mark(&mut self, item: impl Into<Item>, from: Stamp, lane: Lane, owed: bool) {
        let item = item.into();
        let travels = || self.under_way.values().flatten().any(|sent| sent.item == item);
        if failpoint::planted(Bug::MarkDropped) && travels() {
            return;
        }
        self.tickets += 1;
        let mut mark = Mark { from, lane, owed, ticket: self.tickets };
        if let Some(before) = self.marks.get(&item) {
            if before.from <= from && before.lane <= lane && before.owed >= owed {
                return;
            }
            self.order.remove(&(before.lane, before.ticket));
            mark.from = before.from.min(from);
            mark.lane = before.lane.min(lane);
            mark.owed |= before.owed;
            mark.ticket = before.ticket;
            self.owed -= usize::from(before.owed);
        }
        self.parked.remove(&item);
        self.owed += usize::from(mark.owed);
        self.order.insert((mark.lane, mark.ticket), item);
        self.marks.insert(item, mark);
    }

    /// Takes the next dirty item: what it is, the stamp to send it from, its lane, and whether it is owed. What is owed
    /// stays so until it was answered or given back with [`Outbox::write_off`].
    pub fn take(&mut self) -> Option<(Item, Stamp, Lane, bool)> {
        let (_, item) = self.order.pop_first()?;
        let mark = self.marks.remove(&item).expect("every entry of the order has its mark");
        Some((item, mark.from, mark.lane, mark.owed))
    }

    /// The peer is owed all that it has not answered.
    pub fn owe_all(&mut self) {
        self.marks.values_mut().for_each(|mark| mark.owed = true);
        self.under_way.values_mut().flatten().for_each(|sent| sent.owed = true);
        self.owed = self.len();
    }

    /// A session that was owed and taken is no longer held, so it is not owed any more.
    pub fn write_off(&mut self, owed: bool) {
        self.owed -= usize::from(owed);
    }

    /// Notes that a batch is under way, and gives it its number.
    pub fn departed(&mut self, batch: Vec<Sent>) -> u64 {
        self.batches += 1;
        self.under_way.insert(self.batches, batch);
        self.batches
    }

    /// What was in the batch that was answered; `None` for a number that is not under way.
    pub fn complete_batch(&mut self, batch: u64) -> Option<Vec<Sent>> {
        let batch = self.under_way.remove(&batch)?;
        self.owed -= batch.iter().filter(|sent| sent.owed).count();
        Some(batch)
    }

    /// The link broke: what was under way is dirty again.
    pub fn link_broke(&mut self) {
        coverage::reached_if(Path::LinkBrokeUnderWay, || !self.under_way.is_empty());
        for sent in std::mem::take(&mut self.under_way).into_values().flatten() {
            self.owed -= usize::from(sent.owed);
            self.mark(sent.item, sent.from, sent.lane, sent.owed);
        }
    }

    /// The peer has it but does not consider itself its owner: ask again when the views change.
    pub fn park(&mut self, item: Item) {
        if !self.marks.contains_key(&item) {
            self.parked.insert(item);
        }
    }

    /// The views changed: ask again for all that was parked.
    pub fn unpark(&mut self) {
        for item in std::mem::take(&mut self.parked) {
            self.mark(item, Stamp::DIGEST_ONLY, Lane::Usual, false);
        }
    }

    /// How many dirty or travelling sessions the peer must have before it may trust its own copies: what it is owed by
    /// a hand-over, or because a commit was acknowledged without it.
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// Whether nothing is dirty and nothing under way.
    pub fn is_clear(&self) -> bool {
        self.marks.is_empty() && self.under_way.is_empty()
    }

    /// The number of the oldest mark, and that of the latest one that was ever made. Marks are numbered as they are made; what
    /// is marked again keeps its number, but not if it was under way when the link broke.
    pub fn oldest_and_latest(&self) -> (Option<u64>, u64) {
        let first = |lane| self.order.range((lane, 0)..).next().filter(|((of, _), _)| *of == lane);
        let oldest = [Lane::Awaited, Lane::Usual, Lane::Bulk].into_iter().filter_map(first);
        (oldest.map(|((_, ticket), _)| *ticket).min(), self.tickets)
    }

    /// Whether something is dirty.
    pub fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Whether something is dirty, and more than that is dirty or under way.
    pub fn is_crowded(&self) -> bool {
        !self.marks.is_empty() && self.marks.len() + self.under_way.len() > 1
    }

    /// Dirty sessions, and sessions under way.
    pub fn len(&self) -> usize {
        self.marks.len() + self.under_way.values().map(Vec::len).sum::<usize>()
    }

    /// Whether it holds neither marks nor batches nor parked sessions.
    pub fn is_empty(&self) -> bool {
        self.is_clear() && self.parked.is_empty()
    }

    /// Batches under way.
    pub fn batches_under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Sessions the peer holds without considering itself an owner.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }
}

#[cfg(test)]
mod tests;
