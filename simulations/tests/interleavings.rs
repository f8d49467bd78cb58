//! What several threads of a node share, in every order in which their steps can follow each other.
//!
//! These are the library's own files, built a second time with the locks and atomics of loom, which plays each order of steps
//! that could make a difference, also those that only a weak memory allows. The files' own tests are played so, too. What cannot be taken alone is left to the stress.

#![allow(dead_code, reason = "the library uses more of its files than is looked at here")]

#[path = "../../crates/sessionmesh/src/lock.rs"]
mod lock;

/// What the library takes from std, taken from loom.
mod sync {
    pub(crate) use std::sync::Arc;

    pub(crate) use loom::model;
    pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};
    pub(crate) use std::sync::PoisonError;

    /// Stands for that of `arc-swap`, which is another library's matter: a value that is replaced as a whole.
    #[derive(Debug)]
    pub(crate) struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

    impl<T> Default for ArcSwapOption<T> {
        fn default() -> Self {
            Self(Mutex::new(None))
        }
    }

    impl<T> ArcSwapOption<T> {
        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            *self.0.lock().expect("no holder panics") = value;
        }

        pub(crate) fn load(&self) -> Option<Arc<T>> {
            self.0.lock().expect("no holder panics").clone()
        }
    }
}

#[path = "../../crates/sessionmesh/src/engine/state"]
mod state {
    pub(crate) mod expiry_holds;
    pub(crate) mod lease_cache;
    pub(crate) mod progress;
    pub(crate) mod served;
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use sessionmesh::SessionId;
use sessionmesh::failpoint::{Bug, plant};
use sessionmesh_core::id::{NodeHash, Slot};
use sessionmesh_core::moment::Moment;
use state::expiry_holds::ExpiryHolds;
use state::lease_cache::LeaseCache;
use state::progress::{HighWaterMark, Rounds};
use state::served::Served;

const NOW: Moment = Moment::from_ms(1_000);

fn id(number: u64) -> SessionId {
    use rand::SeedableRng as _;
    SessionId::mint(&mut rand::rngs::StdRng::seed_from_u64(number), Slot::masked(0))
}

fn two_scans_end() {
    let scanned = Arc::new(HighWaterMark::new(1));
    let scans: Vec<_> = [2, 3]
        .into_iter()
        .map(|epoch| {
            let scanned = scanned.clone();
            thread::spawn(move || scanned.raise(epoch))
        })
        .collect();
    scans.into_iter().for_each(|scan| scan.join().expect("it does not panic"));
    assert_eq!(scanned.get(), 3, "the later one counts");
}

#[test]
fn a_scan_that_was_overtaken_takes_nothing_back_whichever_ends_first_and_the_mistake_is_seen() {
    loom::model(two_scans_end);
    // loom plays all threads on this one, so that other tests are not in it.
    plant(Some(Bug::OvertakenScanStores));
    let broken = catch_unwind(AssertUnwindSafe(|| loom::model(two_scans_end)));
    plant(None);
    assert!(broken.is_err(), "an older epoch that is stored over a newer one is found");
}

#[test]
fn a_round_that_is_wanted_while_another_is_done_is_due() {
    loom::model(|| {
        let rounds = Arc::new(Rounds::wanted());
        let changed = Arc::new(AtomicBool::new(false));
        let doing = {
            let (rounds, changed) = (rounds.clone(), changed.clone());
            thread::spawn(move || {
                let round = rounds.due().expect("the first one is wanted");
                let saw_the_change = changed.load(Ordering::Acquire);
                rounds.done(round);
                saw_the_change
            })
        };
        changed.store(true, Ordering::Release);
        rounds.want();
        let saw_the_change = doing.join().expect("it does not panic");
        assert!(saw_the_change || rounds.due().is_some(), "what came too late for one round is for the next");
    });
}

#[test]
fn a_lease_that_was_revoked_is_not_remembered_whoever_looked_when() {
    loom::model(|| {
        let (cache, granted) = (Arc::new(LeaseCache::default()), Arc::new(AtomicBool::new(true)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (cache, granted) = (cache.clone(), granted.clone());
                thread::spawn(move || {
                    // As `Node::has_all_leases` does it.
                    let changes = cache.changes();
                    if granted.load(Ordering::Acquire) {
                        cache.remember(1, changes, NOW.plus_ms(300));
                    }
                })
            })
            .collect();
        granted.store(false, Ordering::Release);
        cache.revoke();
        assert!(!cache.holds(1, NOW), "from the moment at which it was revoked");
        readers.into_iter().for_each(|reader| reader.join().expect("it does not panic"));
        assert!(!cache.holds(1, NOW), "and whoever looked before and says so afterwards");
    });
}

#[test]
fn what_is_held_is_held_until_it_is_lifted_and_the_count_says_how_many_there_are() {
    loom::model(|| {
        let holds = Arc::new(ExpiryHolds::default());
        let (one, other) = (id(1), id(2));
        holds.set(one, NOW.plus_ms(100));
        let lifting = {
            let holds = holds.clone();
            thread::spawn(move || holds.lift(one))
        };
        let sweeping = {
            let holds = holds.clone();
            thread::spawn(move || holds.sweep(NOW))
        };
        holds.set(other, NOW.plus_ms(100));
        assert!(holds.holds(other, NOW), "nobody lifts this one");
        lifting.join().expect("it does not panic");
        sweeping.join().expect("it does not panic");
        assert!(holds.holds(other, NOW) && !holds.holds(one, NOW));
        assert_eq!(holds.len(), 1);
    });
}

#[test]
fn connections_of_a_node_are_counted_whoever_comes_and_goes() {
    loom::model(|| {
        let served = Arc::new(Served::default());
        let node = NodeHash::of("a", 1);
        let coming = {
            let served = served.clone();
            thread::spawn(move || drop(served.admit(node)))
        };
        let kept = served.admit(node).expect("there are few");
        coming.join().expect("it does not panic");
        let more: Vec<_> = std::iter::from_fn(|| served.admit(node)).collect();
        assert_eq!(more.len(), 15, "sixteen in all, one of them kept");
        drop(kept);
        assert!(served.admit(node).is_some());
    });
}
