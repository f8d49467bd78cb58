//! What applications and operators get to see: events, counts and latencies.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sessionmesh_core::replication::acks::Ack;
use tokio::sync::broadcast;

use crate::error::CommitError;
use crate::event::{Event, FREQUENT_KINDS};
use crate::lock::lock;
use crate::log_throttle::LogThrottle;
use crate::metrics::Latencies;
use crate::stats::{CommitOutcome, CommitsBy, Counters};

/// Events that may wait for a slow listener; older ones are dropped for it, and it is told how many.
const EVENTS_MAX: usize = 4096;

/// What the application and operators get to see.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) counters: Counters,
    pub(crate) latencies: Latencies,
    events: broadcast::Sender<Event>,
    emitted: [AtomicU64; Event::NAMES.len()],
    said: [Mutex<LogThrottle>; FREQUENT_KINDS],
    commits: [[AtomicU64; CommitOutcome::ALL.len()]; ACKS],
}

/// `Local`, `Copies` and `Owners`.
const ACKS: usize = 3;

impl Telemetry {
    /// Of a node that has done nothing yet.
    pub(crate) fn new(latencies: Latencies) -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            counters: Counters::default(),
            latencies,
            events: broadcast::Sender::new(EVENTS_MAX),
            emitted: std::array::from_fn(|_| AtomicU64::new(0)),
            said: std::array::from_fn(|_| Mutex::default()),
            commits: std::array::from_fn(|_| zeros()),
        }
    }

    /// Listens to all events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Counts an event, writes it into the log, and tells whoever listens.
    pub(crate) fn emit(&self, event: Event) {
        let unsaid = match event.frequent() {
            None => Some(0),
            Some(kind) => lock(&self.said[kind]).admit(),
        };
        self.emit_as(event, unsaid);
    }

    /// The same, where others decide whether the log has it: with how many of its kind were left out before, or not at all.
    pub(crate) fn emit_as(&self, event: Event, unsaid: Option<u64>) {
        self.emitted[event.number()].fetch_add(1, Ordering::Relaxed);
        if let Some(unsaid) = unsaid {
            event.log(unsaid);
        }
        // Nobody listening is no fault.
        let _ = self.events.send(event);
    }

    /// How often each event was emitted, in the order of [`Event::NAMES`].
    pub(crate) fn emitted(&self) -> Vec<u64> {
        self.emitted.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Counts a commit.
    pub(crate) fn committed(&self, ack: Ack, outcome: CommitOutcome) {
        self.commits[ack_number(ack)][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a commit that was refused, so that nothing was changed.
    pub(crate) fn refused(&self, ack: Ack, error: &CommitError) {
        self.committed(ack, CommitOutcome::Refused);
        if let CommitError::Limit(exceeded) = error {
            self.emit(Event::LimitReached { limit: exceeded.setting });
        }
    }

    /// All commits.
    pub(crate) fn commits(&self) -> Vec<CommitsBy> {
        let row = |(ack, outcomes): (usize, &[AtomicU64; CommitOutcome::ALL.len()])| {
            let count = |outcome: CommitOutcome| CommitsBy {
                ack: ["local", "copies", "owners"][ack],
                outcome,
                count: outcomes[outcome as usize].load(Ordering::Relaxed),
            };
            CommitOutcome::ALL.map(count)
        };
        self.commits.iter().enumerate().flat_map(row).collect()
    }
}

/// Which of its latencies, and which row of the counts.
pub(crate) const fn ack_number(ack: Ack) -> usize {
    match ack {
        Ack::Local => 0,
        Ack::Copies(_) => 1,
        Ack::Owners => 2,
    }
}
