//! What happens to messages beyond what turmoil does with its links: lost, doubled and delayed datagrams, lost beacons,
//! and connections that stand still while datagrams pass.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::scenario::Network;

/// The impairments of a run's network, shared by all hosts.
#[derive(Clone, Debug)]
pub struct Impairments(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    usual: Network,
    lost: Option<u32>,
    beacons_lost: bool,
    held: BTreeSet<(IpAddr, IpAddr)>,
    waiting: Vec<Waker>,
    dying: bool,
}

/// What becomes of datagrams now, in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// Never arrive.
    pub lost: u32,
    /// Arrive twice.
    pub doubled: u32,
    /// Arrive after others that were sent later.
    pub delayed: u32,
}

impl Impairments {
    /// Those of a network without faults.
    #[must_use]
    pub fn new(usual: Network) -> Self {
        let (held, waiting) = (BTreeSet::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { usual, lost: None, beacons_lost: false, held, waiting, dying: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on so many thousandths of all datagrams are lost.
    pub fn lose_datagrams(&self, thousandths: u32) {
        self.state().lost = Some(thousandths);
    }

    /// From now on no beacon arrives.
    pub fn lose_beacons(&self) {
        self.state().beacons_lost = true;
    }

    /// From now on connections between the two stand still.
    pub fn hold_streams(&self, one: IpAddr, other: IpAddr) {
        self.state().held.insert((one.min(other), one.max(other)));
    }

    /// All is as usual again.
    pub fn heal(&self) {
        let waiting = {
            let mut state = self.state();
            (state.lost, state.beacons_lost) = (None, false);
            state.held.clear();
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Calls `end`, which ends all tasks of a host at once.
    pub fn dying<T>(&self, end: impl FnOnce() -> T) -> T {
        self.state().dying = true;
        let ended = end();
        self.state().dying = false;
        ended
    }

    /// Whether all tasks of a host are being ended.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.state().dying
    }

    /// What becomes of a datagram now.
    #[must_use]
    pub fn fate(&self, beacon: bool) -> Fate {
        let state = self.state();
        let Network { lost, doubled, delayed, .. } = state.usual;
        let lost = if beacon && state.beacons_lost { 1000 } else { state.lost.unwrap_or(lost) };
        Fate { lost, doubled, delayed }
    }

    /// Whether connections between the two stand still; if so, `waker` is woken when they go on.
    pub fn holds_streams(&self, one: IpAddr, other: IpAddr, waker: &Waker) -> bool {
        let mut state = self.state();
        let held = state.held.contains(&(one.min(other), one.max(other)));
        if held {
            state.waiting.push(waker.clone());
        }
        held
    }
}
