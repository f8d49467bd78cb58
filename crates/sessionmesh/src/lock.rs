//! Locks that no panic makes unusable.

use sessionmesh_core::interleave;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex; a panic of another holder is no reason to stop, since no value is left half changed.
#[cfg_attr(sessionmesh_simulation, track_caller)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    interleave::point();
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
