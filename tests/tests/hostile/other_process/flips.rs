//! One byte changed, at every position of what two nodes say to each other until their link is up, and of the changes of
//! sessions that they send then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use sessionmesh_testkit::cluster::{PATIENCE, check, eventually};
use tokio::time::Instant;

use super::pair::{NAMES, Pair};
use super::relay::{Fate, Flip, Orders, Passed, Plan, Side, lock};

/// Until a handshake was seen, connections are cut when the dialler has said so much.
const SEEN_BYTES: usize = 3_000;
/// Bytes of what follows the handshake, of the dialler and of the listener: a ping and the batch that waits, and their answers.
const BATCH_BYTES: [usize; 2] = [360, 120];
/// An encrypted alert of TLS.
const ALERT_BYTES: usize = 24;
/// In so many flips of a handshake there is one of a batch: then the link was up, and is dialled again at once.
const TURN: usize = 4;
/// Sessions are written each time when so many more flips are over.
const BETWEEN_WRITES: usize = 8;

/// Which byte comes next, and what came of the others.
#[derive(Default)]
struct Campaign {
    /// The nodes have come together.
    begun: bool,
    /// What the dialler and the listener say until the link is up, in bytes; none until it was seen.
    handshake: Option<[usize; 2]>,
    handshakes: VecDeque<Flip>,
    batches: VecDeque<Flip>,
    turn: usize,
    under_way: usize,
    ended: [usize; 2],
    went_on: Vec<Flip>,
}

impl Campaign {
    fn is_of_handshake(&self, flip: Flip) -> bool {
        self.handshake.is_some_and(|bytes| flip.at < bytes[flip.of as usize])
    }

    /// What the two said until the link was up: they take turns until then.
    fn saw(&mut self, passed: &Passed) {
        let [(Side::Dialler, first), (_, second), (_, third), (_, fourth), _, ..] = passed.turns[..] else { return };
        let handshake = [first + third, second + fourth];
        let sides = [Side::Dialler, Side::Listener];
        for ((of, bytes), batch) in sides.into_iter().zip(handshake).zip(BATCH_BYTES) {
            self.handshakes.extend((0..bytes).map(|at| Flip { of, at }));
            self.batches.extend((bytes..bytes + batch).map(|at| Flip { of, at }));
        }
        self.handshake = Some(handshake);
    }

    /// Flips that are not over.
    fn left(&self) -> usize {
        if self.handshake.is_none() {
            usize::MAX / 2
        } else {
            self.handshakes.len() + self.batches.len() + self.under_way
        }
    }

    fn is_over(&self) -> bool {
        self.left() == 0
    }
}

impl Plan for Campaign {
    fn orders(&mut self) -> Orders {
        if !self.begun {
            return Orders::default();
        }
        let Some(bytes) = self.handshake else { return Orders { flip: None, cut_after: Some(SEEN_BYTES) } };
        self.turn += 1;
        let (first, second) = if self.turn.is_multiple_of(TURN) {
            (&mut self.batches, &mut self.handshakes)
        } else {
            (&mut self.handshakes, &mut self.batches)
        };
        let flip = first.pop_front().or_else(|| second.pop_front());
        self.under_way += usize::from(flip.is_some());
        // A handshake that was changed and succeeds is of no further interest. One that fails may end in a last word.
        let cut_after = flip.filter(|flip| self.is_of_handshake(*flip)).map(|_| bytes[0] + ALERT_BYTES);
        Orders { flip, cut_after }
    }

    fn passed(&mut self, passed: Passed) {
        let Some(flip) = passed.orders.flip else {
            if self.begun && self.handshake.is_none() {
                self.saw(&passed);
            }
            return;
        };
        self.under_way -= 1;
        let of_handshake = self.is_of_handshake(flip);
        match passed.fate {
            // It ended before this byte came.
            _ if !passed.flipped && of_handshake => self.handshakes.push_back(flip),
            _ if !passed.flipped => self.batches.push_back(flip),
            Fate::EndedBy(_) => self.ended[usize::from(!of_handshake)] += 1,
            Fate::Cut | Fate::WentOn => self.went_on.push(flip),
        }
    }
}

/// All refusals of both nodes.
fn refusals(pair: &Pair) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for name in NAMES {
        for (reason, count) in pair.cluster[name].stats().refusals {
            *all.entry(reason).or_default() += count;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_changed_anywhere_between_two_processes_ends_the_link_and_what_it_carried_is_sent_anew() {
    let campaign = Arc::new(Mutex::new(Campaign::default()));
    let mut pair = Pair::start(campaign.clone()).await;
    let start = Instant::now();
    lock(&campaign).begun = true;
    pair.relay.cut_all();
    // While links are cut, each write leaves a batch that waits for the next one.
    while !lock(&campaign).is_over() {
        pair.write();
        pair.holds_only_what_was_written();
        let left = lock(&campaign).left();
        let goes_on = || check(lock(&campaign).left() + BETWEEN_WRITES <= left, || format!("{left} flips were left"));
        eventually(PATIENCE, || if lock(&campaign).is_over() { Ok(()) } else { goes_on() }).await;
    }
    let [handshakes, batches] = lock(&campaign).ended;
    let went_on = lock(&campaign).went_on.clone();
    println!(
        "FIGURE {handshakes} flips in handshakes and {batches} in batches ended the link, {} did not, {} writes, {:?}",
        went_on.len(),
        pair.written,
        start.elapsed()
    );
    // TLS 1.3 looks neither at the version in the head of a record, nor at a record that is there for old middleboxes only.
    assert!(went_on.len() <= 20, "{went_on:?} were not noticed");
    let refusals = refusals(&pair);
    println!("FIGURE {refusals:?}");
    let count = |reasons: &[&str]| {
        let counts = reasons.iter().map(|reason| refusals[*reason]);
        usize::try_from(counts.sum::<u64>()).expect("they are few")
    };
    // Some only make a side wait for more than comes, until the other side gives up.
    let unproven = count(&["not_proven", "no_shared_secret", "not_encrypted", "too_slow", "too_long"]);
    assert!(unproven >= handshakes * 3 / 4, "{unproven} of {handshakes} are counted");
    assert!(count(&["altered"]) >= batches * 3 / 4, "{} of {batches} are counted", count(&["altered"]));
    pair.is_well();
}
