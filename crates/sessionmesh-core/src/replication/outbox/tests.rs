use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::arbitrary::stamp;
use crate::moment::Moment;

const fn at(counter: u64) -> Stamp {
    stamp(counter, 0)
}

/// Sessions, and tombstones of slots.
fn id(number: u8) -> Item {
    match number % 2 {
        0 => Item::Session(crate::arbitrary::id(number)),
        _ => Item::Tombstones(Slot::masked(number.into())),
    }
}

fn sent(taken: (Item, Stamp, Lane, bool)) -> Sent {
    let (item, from, lane, owed) = taken;
    Sent { item, from, lane, counter: 1, version: (0, Moment::START), owed, epoch: 0 }
}

fn send_all(outbox: &mut Outbox) -> u64 {
    let batch = std::iter::from_fn(|| outbox.take()).map(sent).collect();
    outbox.departed(batch)
}

#[test]
fn marking_again_keeps_the_smaller_stamp_and_the_more_urgent_lane() {
    let mut outbox = Outbox::default();
    outbox.mark(id(1), at(5), Lane::Bulk, false);
    outbox.mark(id(1), at(7), Lane::Awaited, false);
    outbox.mark(id(1), at(3), Lane::Usual, true);
    assert_eq!((outbox.len(), outbox.owed()), (1, 1));
    assert_eq!(outbox.take(), Some((id(1), at(3), Lane::Awaited, true)));
    assert_eq!(outbox.take(), None);
}

#[test]
fn the_lane_goes_first_and_then_the_age() {
    let mut outbox = Outbox::default();
    for (number, lane) in [(4, Lane::Bulk), (3, Lane::Usual), (2, Lane::Usual), (1, Lane::Awaited)] {
        outbox.mark(id(number), at(5), lane, false);
    }
    outbox.mark(id(3), at(1), Lane::Usual, false);
    outbox.mark(id(3), at(9), Lane::Bulk, true);
    let order: Vec<_> = std::iter::from_fn(|| outbox.take()).map(|(id, ..)| id).collect();
    assert_eq!(order, [id(1), id(3), id(2), id(4)], "marking again does not cost the place");
}

#[test]
fn a_broken_link_makes_all_that_was_under_way_dirty_again() {
    let mut outbox = Outbox::default();
    outbox.mark(id(1), at(2), Lane::Awaited, false);
    let first = send_all(&mut outbox);
    outbox.mark(id(1), at(5), Lane::Usual, true);
    outbox.mark(id(2), at(4), Lane::Usual, false);
    send_all(&mut outbox);
    assert!(!outbox.is_clear() && !outbox.has_marks());
    outbox.link_broke();
    assert_eq!((outbox.batches_under_way(), outbox.complete_batch(first)), (0, None));
    assert_eq!(outbox.take(), Some((id(1), at(2), Lane::Awaited, true)));
    assert_eq!(outbox.take(), Some((id(2), at(4), Lane::Usual, false)));
    assert_eq!(outbox.take(), None);
}

#[test]
fn an_answer_settles_its_own_batch_once() {
    let mut outbox = Outbox::default();
    outbox.mark(id(1), at(2), Lane::Usual, true);
    let first = send_all(&mut outbox);
    outbox.mark(id(1), at(3), Lane::Usual, false);
    assert_eq!(outbox.complete_batch(first + 1), None);
    assert_eq!(outbox.complete_batch(first).unwrap().len(), 1);
    assert_eq!(outbox.complete_batch(first), None);
    assert_eq!((outbox.len(), outbox.owed(), outbox.is_clear()), (1, 0, false));
}

#[test]
fn a_parked_session_is_asked_for_again_when_the_views_change() {
    let mut outbox = Outbox::default();
    outbox.park(id(1));
    assert_eq!((outbox.is_clear(), outbox.is_empty(), outbox.parked()), (true, false, 1));
    outbox.unpark();
    assert_eq!(outbox.parked(), 0);
    assert_eq!(outbox.take(), Some((id(1), Stamp::DIGEST_ONLY, Lane::Usual, false)));
}

#[test]
fn what_is_marked_is_not_parked() {
    let mut outbox = Outbox::default();
    outbox.park(id(1));
    outbox.mark(id(1), at(2), Lane::Bulk, false);
    outbox.park(id(1));
    assert_eq!(outbox.parked(), 0);
    outbox.unpark();
    assert_eq!(outbox.take(), Some((id(1), at(2), Lane::Bulk, false)));
}

#[test]
fn what_was_taken_but_is_gone_is_not_owed() {
    let mut outbox = Outbox::default();
    outbox.mark(id(1), at(2), Lane::Bulk, false);
    outbox.owe_all();
    let (.., owed) = outbox.take().unwrap();
    assert_eq!((owed, outbox.owed()), (true, 1));
    outbox.write_off(owed);
    assert_eq!(outbox.owed(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Mark(u8, u64, Lane, bool),
    Send(usize),
    Answered(Index),
    LinkBroke,
    Park(u8),
    Unpark,
    OweAll,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = prop_oneof![Just(Lane::Awaited), Just(Lane::Usual), Just(Lane::Bulk)];
    prop_oneof![
        8 => (0..5_u8, 0..9_u64, lane, any::<bool>()).prop_map(|(id, from, lane, owed)| Step::Mark(id, from, lane, owed)),
        4 => (1..4_usize).prop_map(Step::Send),
        3 => any::<Index>().prop_map(Step::Answered),
        1 => Just(Step::LinkBroke),
        2 => (0..5_u8).prop_map(Step::Park),
        1 => Just(Step::Unpark),
        1 => Just(Step::OweAll),
    ]
}

/// What an outbox promises, written down as every single mark that was not answered yet.
#[derive(Default)]
struct Model {
    /// The mark, and the batch that carries it.
    unanswered: Vec<(Item, Stamp, Lane, bool, Option<u64>)>,
    parked: BTreeSet<Item>,
}

impl Model {
    /// All single marks of `id` that no batch carries, as one.
    fn dirty(&self, id: Item) -> Option<(Item, Stamp, Lane, bool)> {
        let marks = self.unanswered.iter().filter(|mark| mark.0 == id && mark.4.is_none());
        marks
            .map(|&(id, from, lane, owed, _)| (id, from, lane, owed))
            .reduce(|a, b| (id, a.1.min(b.1), a.2.min(b.2), a.3 || b.3))
    }

    fn mark(&mut self, id: Item, from: Stamp, lane: Lane, owed: bool) {
        self.parked.remove(&id);
        self.unanswered.push((id, from, lane, owed, None));
    }

    /// Sessions dirty or in a batch, and those among them that are owed.
    fn counts(&self) -> (usize, usize) {
        let places: BTreeSet<_> = self.unanswered.iter().map(|mark| (mark.0, mark.4)).collect();
        let owed: BTreeSet<_> = self.unanswered.iter().filter(|mark| mark.3).map(|mark| (mark.0, mark.4)).collect();
        (places.len(), owed.len())
    }
}

fn take_step(outbox: &mut Outbox, model: &mut Model, batches: &mut Vec<u64>, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Mark(number, from, lane, owed) => {
            outbox.mark(id(number), at(from), lane, owed);
            model.mark(id(number), at(from), lane, owed);
        }
        Step::Send(sessions) => {
            let mut batch = Vec::new();
            while let Some(taken) = (batch.len() < sessions).then(|| outbox.take()).flatten() {
                prop_assert_eq!(Some(taken), model.dirty(taken.0));
                batch.push(sent(taken));
            }
            let number = outbox.departed(batch.clone());
            batches.push(number);
            for mark in model.unanswered.iter_mut().filter(|mark| mark.4.is_none()) {
                mark.4 = batch.iter().any(|sent| sent.item == mark.0).then_some(number);
            }
        }
        Step::Answered(choice) if !batches.is_empty() => {
            let number = batches.remove(choice.index(batches.len()));
            prop_assert!(outbox.complete_batch(number).is_some());
            model.unanswered.retain(|mark| mark.4 != Some(number));
        }
        Step::Answered(_) => prop_assert_eq!(outbox.complete_batch(u64::MAX), None),
        Step::LinkBroke => {
            outbox.link_broke();
            batches.clear();
            for mark in &mut model.unanswered {
                if mark.4.take().is_some() {
                    model.parked.remove(&mark.0);
                }
            }
        }
        Step::Park(number) => {
            outbox.park(id(number));
            if model.dirty(id(number)).is_none() {
                model.parked.insert(id(number));
            }
        }
        Step::Unpark => {
            outbox.unpark();
            for id in std::mem::take(&mut model.parked) {
                model.mark(id, Stamp::DIGEST_ONLY, Lane::Usual, false);
            }
        }
        Step::OweAll => {
            outbox.owe_all();
            model.unanswered.iter_mut().for_each(|mark| mark.3 = true);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn nothing_marked_is_lost_before_it_was_answered(steps in prop::collection::vec(step(), 0..60)) {
        let (mut outbox, mut model, mut batches) = (Outbox::default(), Model::default(), Vec::new());
        for step in steps {
            take_step(&mut outbox, &mut model, &mut batches, step)?;
            prop_assert_eq!((outbox.len(), outbox.owed()), model.counts());
            prop_assert_eq!(outbox.batches_under_way(), batches.len());
            prop_assert_eq!(outbox.parked(), model.parked.len());
            let dirty = (0..5).filter(|&number| model.dirty(id(number)).is_some()).count();
            prop_assert_eq!(outbox.has_marks(), dirty > 0);
            prop_assert!(outbox.marks.len() == dirty && outbox.order.len() == dirty, "bounded by the sessions");
        }
        take_step(&mut outbox, &mut model, &mut batches, Step::LinkBroke)?;
        take_step(&mut outbox, &mut model, &mut batches, Step::Send(9))?;
        prop_assert!(!outbox.has_marks() && model.unanswered.iter().all(|mark| mark.4.is_some()));
    }
}
