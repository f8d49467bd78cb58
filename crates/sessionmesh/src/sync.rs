//! Locks and atomics of what several threads of a node share and can be looked at alone.
//!
//! The files that take them from here (`engine/state/progress.rs`, `lease_cache.rs`, `expiry_holds.rs`, `served.rs`) are built a
//! second time in `simulations/tests/interleavings.rs`, with those of loom in their place, which tries every order of steps.

pub(crate) use arc_swap::ArcSwapOption;
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic};

/// Runs a test of such a file, which loom does in its own way.
#[cfg(test)]
pub(crate) fn model(test: impl Fn()) {
    test();
}
