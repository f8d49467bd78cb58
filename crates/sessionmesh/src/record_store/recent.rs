//! A map that keeps what was put into it last.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use sessionmesh_core::moment::Moment;

/// How long an entry is kept, in milliseconds: no request is expected to take longer.
const AGE_MS_MAX: u64 = 15 * 60 * 1000;
/// What an entry takes beside its value, in bytes: about, in both tables.
const ENTRY_BYTES: usize = 64;

/// A map with limits of bytes and of time: the oldest entries are dropped.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, (V, usize)>,
    order: VecDeque<(Moment, K)>,
    bytes: usize,
    bytes_max: usize,
}

impl<K: Hash + Eq + Copy, V> Recent<K, V> {
    /// A map that holds about so many bytes at most.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(value, _)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(value, _)| value)
    }

    /// Puts a value that holds about so many bytes outside of itself. One that is there already keeps its age. Returns
    /// the newest key that was dropped for it, if any was.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize, now: Moment) -> Option<K> {
        let bytes = bytes + size_of::<V>() + ENTRY_BYTES;
        self.bytes += bytes;
        match self.entries.insert(key, (value, bytes)) {
            Some((_, before)) => self.bytes -= before,
            None => self.order.push_back((now, key)),
        }
        let mut dropped = None;
        while let Some(&(since, oldest)) = self.order.front()
            && (self.bytes > self.bytes_max || now.ms_since(since) > AGE_MS_MAX)
        {
            self.order.pop_front();
            self.bytes -= self.entries.remove(&oldest).map_or(0, |(_, bytes)| bytes);
            dropped = Some(oldest);
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::START;

    #[test]
    fn the_oldest_entries_make_room_by_their_bytes_not_by_their_number() {
        let mut recent = Recent::new(10 << 20);
        for number in 0..20_000 {
            assert_eq!(recent.insert(number, number, 100, NOW), None);
        }
        assert_eq!((recent.get(0), recent.get(19_999)), (Some(&0), Some(&19_999)));
        assert_eq!(recent.insert(20_000, 7, 8 << 20, NOW), recent.order.front().map(|(_, next)| next - 1));
        assert_eq!((recent.get(0), recent.get(19_999), recent.get(20_000)), (None, Some(&19_999), Some(&7)));
        assert_eq!(recent.insert(20_001, 9, 10 << 20, NOW), Some(20_001));
        assert_eq!((recent.entries.len(), recent.order.len(), recent.bytes), (0, 0, 0));
    }

    #[test]
    fn what_is_older_than_any_request_is_dropped() {
        let mut recent = Recent::new(1 << 20);
        recent.insert(1, "first", 0, NOW);
        recent.insert(2, "second", 0, NOW.plus_ms(1));
        recent.insert(3, "third", 0, NOW.plus_ms(AGE_MS_MAX));
        assert_eq!(recent.get(1), Some(&"first"));
        assert_eq!(recent.insert(3, "again", 0, NOW.plus_ms(AGE_MS_MAX + 1)), Some(1));
        assert_eq!((recent.get(1), recent.get(2), recent.get(3)), (None, Some(&"second"), Some(&"again")));
    }
}
