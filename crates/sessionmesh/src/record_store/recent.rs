//! A map that keeps what was put into it last.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How many entries are kept.
const ENTRIES_MAX: usize = 1024;
/// How many bytes they may hold together.
const BYTES_MAX: usize = 8 << 20;

/// A map with limits: the oldest entries are dropped.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, (V, usize)>,
    order: VecDeque<K>,
    bytes: usize,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<K: Hash + Eq + Copy, V> Recent<K, V> {
    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(value, _)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(value, _)| value)
    }

    /// Puts a value of about so many bytes. One that is there already keeps its age.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.bytes += bytes;
        match self.entries.insert(key, (value, bytes)) {
            Some((_, before)) => self.bytes -= before,
            None => self.order.push_back(key),
        }
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.entries.remove(&oldest).map_or(0, |(_, bytes)| bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_make_room() {
        let mut recent = Recent::default();
        for number in 0..=ENTRIES_MAX {
            recent.insert(number, number, 1);
        }
        assert_eq!((recent.get(0), recent.get(1), recent.entries.len()), (None, Some(&1), ENTRIES_MAX));
        recent.insert(1, 7, BYTES_MAX / 2);
        recent.insert(5_000, 8, BYTES_MAX / 2);
        assert_eq!((recent.get(1), recent.get(5_000)), (None, Some(&8)));
        recent.insert(5_001, 9, BYTES_MAX + 1);
        assert_eq!((recent.entries.len(), recent.order.len(), recent.bytes), (0, 0, 0));
    }
}
