//! Faults and their healing: what happens to nodes and links when the scenario says so.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sessionmesh::{Failure, Member, MemberState, Mesh};

use super::life::NodeState;
use super::{Cluster, Departure};
use crate::impairments::Down;
use crate::record::timeline::Disturbed;
use crate::scenario::Fault;

/// How long a planned stop may take.
const LEAVE: Duration = Duration::from_secs(5);

impl Cluster {
    /// Lets `fault` happen. Says which node went down, losing what it held.
    pub fn inflict(&mut self, fault: &Fault) -> Option<usize> {
        self.shared.trace.note(fault.to_string().as_bytes());
        self.shared.recorder.fault(self.now_ms(), fault);
        let crashed = self.cause(fault);
        self.split_unseen |= self.is_split();
        self.record_disturbances();
        crashed
    }

    /// Heals all links, wakes all nodes, and starts all that are down.
    pub fn heal(&mut self) {
        self.shared.trace.note(b"heal");
        self.heal_links();
        for node in 0..self.names.len() {
            self.freeze(node, false);
            if !self.late.contains(&node) {
                self.start(node);
            }
        }
        self.record_disturbances();
    }

    fn cause(&mut self, fault: &Fault) -> Option<usize> {
        match *fault {
            Fault::Crash(node) => return self.crash(node, Down::Process),
            Fault::PowerLoss(node) => {
                let before = self.cuts.clone();
                for other in (0..self.names.len()).filter(|other| *other != node) {
                    self.cuts.extend([(node, other), (other, node)]);
                }
                self.apply_links();
                let crashed = self.crash(node, Down::Machine);
                self.cuts = before;
                self.apply_links();
                return crashed;
            }
            Fault::Start(node) => self.start(node),
            Fault::Leave(node) => self.leave(node),
            Fault::Freeze(node) => self.freeze(node, true),
            Fault::Thaw(node) => self.freeze(node, false),
            Fault::Cut(one, other) => {
                self.cuts.extend([(one, other), (other, one)]);
                self.apply_links();
            }
            Fault::CutOneWay(from, to) => {
                self.cuts.insert((from, to));
                self.apply_links();
            }
            Fault::Hold(one, other) => {
                self.holds.insert((one.min(other), one.max(other)));
                self.apply_links();
                self.hold_streams(one, other);
            }
            Fault::HoldStreams(one, other) => {
                self.held_streams.insert((one.min(other), one.max(other)));
                self.hold_streams(one, other);
            }
            Fault::Slow(one, other, ms) => {
                self.slow.insert((one, other), ms);
                let (a, b) = (self.names[one].as_str(), self.names[other].as_str());
                self.sim.set_link_latency(a, b, Duration::from_millis(ms));
                let addrs = &self.shared.addrs;
                self.shared.impairments.slow(addrs[one], addrs[other], Duration::from_millis(ms));
            }
            Fault::Reset(one, other) => {
                let addrs = &self.shared.addrs;
                self.shared.tcp.reset(addrs[one], addrs[other], self.sim.elapsed());
                self.reset_unseen = true;
            }
            Fault::LoseDatagrams(thousandths) => {
                self.started_unheard |= self.is_starting();
                self.hushed = true;
                self.shared.impairments.lose_datagrams(thousandths);
            }
            Fault::LoseMulticast => {
                self.started_unheard |= self.is_starting();
                self.hushed = true;
                self.shared.impairments.lose_beacons();
            }
            Fault::Heal => self.heal_links(),
            Fault::Jump(node, ms) => {
                self.states.borrow()[node].skew_ms.fetch_add(ms, Ordering::Relaxed);
            }
            // The clients see to it.
            Fault::Burst(..) => {}
        }
        None
    }

    fn hold_streams(&self, one: usize, other: usize) {
        self.shared.tcp.settle(self.sim.elapsed());
        self.shared.impairments.hold_streams(self.shared.addrs[one], self.shared.addrs[other]);
    }

    /// Nodes that have given way to another life of their name are started again, as whoever supervises processes does: a
    /// clock that was set back let them begin with a number that is too small, and nobody was there to tell. They are as good
    /// as crashed.
    #[must_use]
    pub fn supervise(&mut self) -> Vec<usize> {
        let gave_way = |state: &NodeState| {
            let failure = state.mesh.as_ref().and_then(|mesh| mesh.failure());
            !state.down && matches!(failure, Some(Failure::Replaced { .. }))
        };
        let states = self.states.borrow();
        let ended: Vec<usize> =
            states.iter().enumerate().filter(|(_, state)| gave_way(state)).map(|(at, _)| at).collect();
        drop(states);
        for node in &ended {
            self.crash(*node, Down::Process);
            self.start(*node);
        }
        ended
    }

    fn crash(&mut self, node: usize, down: Down) -> Option<usize> {
        let was_down = {
            let state = &mut self.states.borrow_mut()[node];
            state.frozen = false;
            std::mem::replace(&mut state.down, true)
        };
        self.shared.impairments.set_down(self.shared.addrs[node], Some(down));
        // Also a node that has left is still a host.
        let now = self.sim.elapsed();
        self.shared.tcp.dying(now, || self.sim.crash(self.names[node].as_str()));
        if down == Down::Machine {
            self.shared.tcp.machine_died(self.shared.addrs[node]);
        }
        (!was_down).then_some(node)
    }

    fn start(&mut self, node: usize) {
        if std::mem::replace(&mut self.states.borrow_mut()[node].down, false) {
            self.late.remove(&node);
            self.shared.impairments.set_down(self.shared.addrs[node], None);
            self.started_unheard |= self.hushed || (0..self.names.len()).any(|other| self.is_frozen(other));
            let now = self.sim.elapsed();
            self.shared.tcp.dying(now, || self.sim.bounce(self.names[node].as_str()));
        }
    }

    fn leave(&self, node: usize) {
        let (states, left) = (self.states.clone(), self.shared.left.clone());
        drop(self.ask(node, move |mesh| async move {
            let ended_well = mesh.leave(LEAVE).await.is_ok();
            let stays = |member: &Member| member.state != MemberState::Leaving;
            // Whoever is beyond a partition took nothing over.
            let stayed = mesh.members().into_iter().filter(stays).count();
            left.borrow_mut().push(Departure { node, handed_over: ended_well && stayed > 0, stayed });
            // The node has stopped; the host waits to be started again.
            states.borrow_mut()[node].mesh = None;
        }));
        // No new requests go to it.
        self.states.borrow_mut()[node].jobs = None;
    }

    fn freeze(&mut self, node: usize, frozen: bool) {
        self.started_unheard |= frozen && self.is_starting();
        let now = self.now_ms();
        let gate = {
            let state = &mut self.states.borrow_mut()[node];
            if state.frozen == frozen || state.mesh.is_none() {
                return;
            }
            state.frozen = frozen;
            state.frozen_since_ms = now;
            state.gate.clone()
        };
        if frozen { gate.shut() } else { gate.open() }
    }

    /// Whether a node that is up has not found the others yet, or not got all from them.
    fn is_starting(&self) -> bool {
        let ready = |mesh: &Mesh| mesh.is_ready();
        self.states.borrow().iter().any(|state| !state.down && !state.mesh.as_ref().is_some_and(ready))
    }

    fn record_disturbances(&self) {
        let held = self.holds.iter().chain(&self.held_streams).map(|(one, other)| Disturbed::Held(*one, *other));
        let cuts = self.cuts.iter().map(|(from, to)| Disturbed::Cut(*from, *to));
        let frozen = (0..self.names.len()).filter(|node| self.is_frozen(*node)).map(Disturbed::Frozen);
        self.shared.recorder.disturbed(self.now_ms(), cuts.chain(held).chain(frozen));
    }
}
