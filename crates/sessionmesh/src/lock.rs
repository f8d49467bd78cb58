//! Locks that no panic makes unusable.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex; a panic of another holder is no reason to stop, since no value is left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
