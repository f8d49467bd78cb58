//! What happens to messages: how long they take, where none passes, lost, doubled and delayed datagrams, lost beacons, and
//! connections that stand still while datagrams pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::scenario::Network;

/// What fits one packet: those of Ethernet have 1,500 bytes, less the headers of IPv6 and UDP.
const PACKET_BYTES: usize = 1_452;

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
    /// Nothing passes from the one to the other.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// How long a message takes, where that is not as usual.
    slow: BTreeMap<(IpAddr, IpAddr), Duration>,
    down: BTreeMap<IpAddr, Down>,
    dice: StdRng,
}

/// What is left of a host that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// The machine, whose system refuses connections.
    Process,
    /// Nothing: nobody says anything.
    Machine,
}

/// What becomes of what a connection sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It arrives.
    Open,
    /// It waits.
    Held,
    /// It is lost.
    Cut,
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
    /// Those of a network without faults. `seed` decides how long what takes.
    #[must_use]
    pub fn new(usual: Network, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            usual,
            lost: None,
            beacons_lost: false,
            held: BTreeSet::new(),
            waiting: Vec::new(),
            cuts: BTreeSet::new(),
            slow: BTreeMap::new(),
            down: BTreeMap::new(),
            dice: StdRng::seed_from_u64(seed ^ 0x1a7e_0c1e),
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

    /// From now on each message between the two takes so long.
    pub fn slow(&self, one: IpAddr, other: IpAddr, each: Duration) {
        self.state().slow.extend([((one, other), each), ((other, one), each)]);
    }

    /// The host went down, or is up again.
    pub fn set_down(&self, host: IpAddr, down: Option<Down>) {
        let mut state = self.state();
        match down {
            Some(down) => state.down.insert(host, down),
            None => state.down.remove(&host),
        };
    }

    /// What becomes of what a connection sends now.
    #[must_use]
    pub fn passage(&self, from: IpAddr, to: IpAddr) -> Passage {
        let state = self.state();
        if state.cuts.contains(&(from, to)) || state.down.get(&to) == Some(&Down::Machine) {
            Passage::Cut
        } else if state.held.contains(&(from.min(to), from.max(to))) {
            Passage::Held
        } else {
            Passage::Open
        }
    }

    /// Whether the machine of this host runs, with or without its process.
    #[must_use]
    pub fn has_machine(&self, host: IpAddr) -> bool {
        self.state().down.get(&host) != Some(&Down::Machine)
    }

    /// How long a message of a connection takes that is sent now: distributed exponentially, as datagrams are.
    #[must_use]
    pub fn latency(&self, from: IpAddr, to: IpAddr) -> Duration {
        let mut state = self.state();
        if let Some(slow) = state.slow.get(&(from, to)) {
            return *slow;
        }
        let (low, high) = state.usual.latency_ms;
        let [low, high] = [low, high].map(Duration::from_millis);
        let share = -(1.0 - state.dice.random::<f64>()).ln() / 5.0;
        (low + (high - low).mul_f64(share)).min(high)
    }

    /// All is as usual again.
    pub fn heal(&self) {
        let waiting = {
            let mut state = self.state();
            (state.lost, state.beacons_lost) = (None, false);
            state.held.clear();
            state.slow.clear();
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// What becomes of a datagram of so many bytes now.
    #[must_use]
    pub fn fate(&self, beacon: bool, bytes: usize) -> Fate {
        let state = self.state();
        let Network { lost, doubled, delayed, streams, .. } = state.usual;
        let never = beacon && state.beacons_lost || streams.fragments_lost && bytes > PACKET_BYTES;
        let lost = if never { 1000 } else { state.lost.unwrap_or(lost) };
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
