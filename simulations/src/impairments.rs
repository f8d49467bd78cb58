//! What happens to messages beyond what turmoil does with its links: lost, doubled and delayed datagrams, lost beacons,
//! connections that stand still while datagrams pass, and what a dialler is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

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
    /// Nothing passes from the one to the other.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    down: BTreeMap<IpAddr, Down>,
}

/// What is left of a host that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// The machine, whose system refuses connections.
    Process,
    /// Nothing: nobody says anything.
    Machine,
}

/// What becomes of the first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// It arrives, and so does the answer.
    Arrives,
    /// It arrives, and nobody listens there.
    Refused,
    /// It is lost, or the answer is.
    Lost,
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
        Self(Arc::new(Mutex::new(State {
            usual,
            lost: None,
            beacons_lost: false,
            held: BTreeSet::new(),
            waiting: Vec::new(),
            dying: false,
            cuts: BTreeSet::new(),
            down: BTreeMap::new(),
        })))
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

    /// From now on nothing passes from the first to the second of these, and all else does.
    pub fn cut(&self, cuts: BTreeSet<(IpAddr, IpAddr)>) {
        self.state().cuts = cuts;
    }

    /// The host went down, or is up again.
    pub fn set_down(&self, host: IpAddr, down: Option<Down>) {
        let mut state = self.state();
        match down {
            Some(down) => state.down.insert(host, down),
            None => state.down.remove(&host),
        };
    }

    /// What becomes of the first packet of a connection that is dialled now. turmoil has it the other way round: it refuses at once
    /// what is cut off, and is silent about a host that has crashed.
    #[must_use]
    pub fn dial(&self, from: IpAddr, to: IpAddr) -> Dialled {
        let state = self.state();
        let cut = state.cuts.contains(&(from, to)) || state.cuts.contains(&(to, from));
        match state.down.get(&to) {
            Some(Down::Process) if !cut => Dialled::Refused,
            None if !cut => Dialled::Arrives,
            _ => Dialled::Lost,
        }
    }

    /// The shortest time in which an answer can be there.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        Duration::from_millis(2 * self.state().usual.latency_ms.0.max(1))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialler_is_refused_by_a_machine_without_the_process_and_hears_nothing_over_a_cut_or_of_a_dead_machine() {
        let impairments = Impairments::new(Network { latency_ms: (0, 1), lost: 0, doubled: 0, delayed: 0 });
        let [here, there]: [IpAddr; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Into::into);
        let dialled = || impairments.dial(here, there);
        assert_eq!(dialled(), Dialled::Arrives);
        impairments.set_down(there, Some(Down::Process));
        assert_eq!(dialled(), Dialled::Refused);
        for cut in [(here, there), (there, here)] {
            impairments.cut(BTreeSet::from([cut]));
            assert_eq!(dialled(), Dialled::Lost, "the question or the answer is lost");
        }
        impairments.cut(BTreeSet::new());
        impairments.set_down(there, Some(Down::Machine));
        assert_eq!(dialled(), Dialled::Lost);
        impairments.set_down(there, None);
        assert_eq!(dialled(), Dialled::Arrives);
    }
}
