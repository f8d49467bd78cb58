//! Logical time: which of two writes came later, without any clock.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use crate::failpoint::{self, Bug};
use crate::id::NodeHash;

/// When a change was made: a Lamport counter, and the node that made it to break ties.
///
/// Source: L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct Stamp {
    /// The node's Lamport counter at the change.
    pub counter: u64,
    /// Hash of the writing node's name and incarnation.
    pub node: u64,
}

impl Stamp {
    /// Before every change: a delta from here holds the whole session.
    pub const ZERO: Self = Self { counter: 0, node: 0 };
    /// After every change: a delta from here holds nothing but the digests. It asks "do you have all of this?".
    pub const DIGEST_ONLY: Self = Self { counter: u64::MAX, node: u64::MAX };
}

/// The Lamport counter of one node, shared by all its tasks.
#[derive(Debug)]
pub struct LamportClock {
    counter: AtomicU64,
    node: NodeHash,
}

/// A counter that is further ahead than this is not believed, so that a hostile or broken peer cannot use up the range: a
/// million commits a second for twelve days, and far more than a node that joins anew has to catch up with.
pub const COUNTER_JUMP_MAX: u64 = 1 << 40;

impl LamportClock {
    /// The clock of `node`, at zero.
    pub const fn new(node: NodeHash) -> Self {
        Self { counter: AtomicU64::new(0), node }
    }

    /// The stamp of a new commit: above all this node has seen, and never given twice.
    pub fn tick(&self) -> Stamp {
        Stamp { counter: self.counter.fetch_add(1, Ordering::AcqRel) + 1, node: self.node.0 }
    }

    /// Takes note of a counter that came in a frame or a handshake.
    pub fn observe(&self, counter: u64) {
        if counter.saturating_sub(self.now()) <= COUNTER_JUMP_MAX && !failpoint::planted(Bug::WallClockStamps) {
            self.counter.fetch_max(counter, Ordering::AcqRel);
        }
    }

    /// For a planted mistake: no later stamp is below `counter`, however far ahead that is.
    #[doc(hidden)]
    pub fn jump(&self, counter: u64) {
        self.counter.fetch_max(counter, Ordering::AcqRel);
    }

    /// The counter now. Read under the lock of a session, it is at least the counter of every commit that the
    /// session holds, and below that of every commit made to it later.
    pub fn now(&self) -> u64 {
        self.counter.load(Ordering::Acquire)
    }
}
