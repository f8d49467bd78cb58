//! Records a run, so that it can be read and drawn.
//!
//! A [`Recorder`] is handed to whatever takes part in a run and collects what happens; [`Recorder::timeline`] gives it
//! as data, [`text`] writes it as lines and [`diagram`] as a picture.
//!
//! - [`timeline`]: the data.
//! - [`wire`]: which bytes arrived when. [`describe`]: what they mean.
//! - [`notes`]: what the library logs. [`requests`]: what clients ask.
//!
//! What never happens here: anything that a run could notice. No randomness is drawn (not even by a hash map), no time
//! passes, nothing is sent. A recorder that is off holds nothing and does nothing.

pub mod describe;
pub mod diagram;
pub mod notes;
pub mod requests;
pub mod text;
pub mod timeline;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::timeline::{Disturbance, Disturbed, Mark, Sort, Span, Timeline};
use self::wire::Wire;
use crate::oracle::Violation;

/// Collects what happens in a run. Clones collect into the same recording. The default is one that is off.
#[derive(Clone, Default)]
pub struct Recorder(Option<Arc<Mutex<Recording>>>);

#[derive(Default)]
pub(crate) struct Recording {
    /// What is complete already.
    timeline: Timeline,
    wire: Wire,
    /// The last moment that was heard of. Some ends come without a time: what is dropped with a node that dies.
    now_ms: u64,
    /// Since when nodes run that run now.
    up: BTreeMap<usize, u64>,
    /// Since when is disturbed what is disturbed now.
    disturbed: BTreeMap<Disturbed, u64>,
    /// By client, the place of the request that is under way.
    requests: BTreeMap<String, usize>,
    is_calm: bool,
    is_over: bool,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&if self.is_on() { "on" } else { "off" }).finish()
    }
}

impl Recorder {
    /// One that records.
    #[must_use]
    pub fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// One that does nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether it records.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The recording so far.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.locked().map(|recording| recording.timeline()).unwrap_or_default()
    }

    /// The run is over: what nodes still do while they are torn down is not recorded.
    pub fn stop(&self, now_ms: u64) {
        let Some(mut recording) = self.recording() else { return };
        recording.at(Some(now_ms));
        recording.is_over = true;
    }

    /// A fault happens now, in words.
    pub fn fault(&self, now_ms: u64, fault: impl fmt::Display) {
        self.mark(now_ms, Sort::Fault, &fault);
    }

    /// The run enters a stage, such as an episode, or has settled.
    pub fn stage(&self, now_ms: u64, stage: impl fmt::Display) {
        self.mark(now_ms, Sort::Stage, &stage);
    }

    /// Whether the cluster is calm now. Only changes are recorded.
    pub fn calm(&self, now_ms: u64, calm: bool) {
        let changed = self.recording().is_some_and(|mut recording| {
            let changed = recording.is_calm != calm;
            recording.is_calm = calm;
            changed
        });
        if changed {
            self.stage(now_ms, if calm { "calm" } else { "no longer calm" });
        }
    }

    /// All that is disturbed now. What was before and is not named has ended.
    pub fn disturbed(&self, now_ms: u64, what: impl IntoIterator<Item = Disturbed>) {
        let Some(mut recording) = self.recording() else { return };
        let now: BTreeSet<Disturbed> = what.into_iter().collect();
        let now_ms = recording.at(Some(now_ms));
        let before = std::mem::take(&mut recording.disturbed);
        for (what, from_ms) in before {
            if now.contains(&what) {
                recording.disturbed.insert(what, from_ms);
            } else if from_ms < now_ms {
                recording.timeline.disturbances.push(Disturbance { what, from_ms, to_ms: now_ms });
            }
        }
        for what in now {
            recording.disturbed.entry(what).or_insert(now_ms);
        }
    }

    /// A promise was broken.
    pub fn violation(&self, violation: &Violation) {
        let Some(mut recording) = self.locked() else { return };
        let mut violation = violation.clone();
        if violation.at_ms == 0 {
            // A panic does not know the time.
            violation.at_ms = recording.now_ms;
        }
        recording.timeline.violation = Some(violation);
    }

    /// A node begins a life. Called on its host.
    pub(crate) fn born(&self, node: usize) {
        let Some(mut recording) = self.recording() else { return };
        let now_ms = recording.at(sim_ms());
        recording.up.insert(node, now_ms);
        recording.timeline.nodes = recording.timeline.nodes.max(node + 1);
    }

    /// A node's life has ended.
    pub(crate) fn died(&self, node: usize) {
        let Some(mut recording) = self.recording() else { return };
        let to_ms = recording.now_ms;
        if let Some(from_ms) = recording.up.remove(&node) {
            recording.timeline.lives.push(Span { node, from_ms, to_ms });
        }
    }

    /// What is being recorded, if anything is.
    pub(crate) fn recording(&self) -> Option<MutexGuard<'_, Recording>> {
        self.locked().filter(|recording| !recording.is_over && !std::thread::panicking())
    }

    fn locked(&self) -> Option<MutexGuard<'_, Recording>> {
        self.0.as_ref().map(|recording| recording.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn mark(&self, now_ms: u64, sort: Sort, text: &dyn fmt::Display) {
        let Some(mut recording) = self.recording() else { return };
        let at_ms = recording.at(Some(now_ms));
        recording.timeline.marks.push(Mark { at_ms, sort, text: text.to_string() });
    }
}

impl Recording {
    /// Takes note of the time; what happens outside of all hosts and without a time happens at the last known one.
    fn at(&mut self, now_ms: Option<u64>) -> u64 {
        self.now_ms = self.now_ms.max(now_ms.unwrap_or_default());
        now_ms.unwrap_or(self.now_ms)
    }

    fn timeline(&self) -> Timeline {
        let mut timeline = self.timeline.clone();
        let end_ms = self.now_ms.max(timeline.violation.as_ref().map_or(0, |violation| violation.at_ms));
        timeline.end_ms = end_ms;
        timeline.lives.extend(self.up.iter().map(|(&node, &from_ms)| Span { node, from_ms, to_ms: end_ms }));
        timeline.lives.sort_by_key(|life| (life.node, life.from_ms));
        let lasting = self.disturbed.iter().filter(|(_, from_ms)| **from_ms < end_ms);
        timeline.disturbances.extend(lasting.map(|(&what, &from_ms)| Disturbance { what, from_ms, to_ms: end_ms }));
        self.wire.settle(&mut timeline.messages);
        timeline.messages.sort_by_key(|message| message.sent_ms);
        timeline
    }
}

/// The simulated time, on a host.
fn sim_ms() -> Option<u64> {
    turmoil::sim_elapsed().map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// The number of the node at this address. Called on a host.
fn node_at(ip: IpAddr) -> Option<usize> {
    node_named(&turmoil::reverse_lookup(ip)?)
}

/// The number of the node with this name.
fn node_named(name: &str) -> Option<usize> {
    name.strip_prefix('n')?.parse().ok()
}

/// At most `chars` characters of `text`.
fn clip(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars.saturating_sub(1)).chain(['…']).collect(),
    }
}
