//! Ids that nobody knows: forged cookies, and those of sessions that ended long ago. They must stay cheap, for whoever
//! sends them decides how many there are.

use std::collections::{HashMap, VecDeque};

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::Moment;

/// For how long an id counts as unknown while a flood lasts, in milliseconds.
const REMEMBERED_MS: u64 = 1_000;
/// Ids that are remembered; the oldest go first.
const IDS_MAX: usize = 4_096;
/// Unknown ids that all owners are asked for: so many a second, and so many at once after a pause. Beyond that one owner that
/// has missed nothing suffices.
const ASKED_PER_SECOND: i64 = 500;
const ASKED_AT_ONCE: i64 = 1_000;

/// The ids that were unknown lately.
#[derive(Debug)]
pub(crate) struct UnknownIds {
    /// Until when each counts as unknown, and under which topology that was found out.
    ids: HashMap<SessionId, (Moment, u64)>,
    order: VecDeque<SessionId>,
    /// In thousandths, so that each millisecond adds a whole number. Below zero while more come than may be asked for, so that
    /// a flood counts as one for as long as it lasts.
    tokens: i64,
    counted: Moment,
}

impl Default for UnknownIds {
    fn default() -> Self {
        let (ids, order) = (HashMap::new(), VecDeque::new());
        Self { ids, order, tokens: ASKED_AT_ONCE * 1_000, counted: Moment::START }
    }
}

impl UnknownIds {
    /// Whether all owners said a moment ago, under the topology of this `epoch`, that they do not know `id`.
    pub(crate) fn remembers(&self, id: SessionId, epoch: u64, now: Moment) -> bool {
        self.ids.get(&id).is_some_and(|(until, found)| now < *until && *found == epoch)
    }

    /// `id` is unknown.
    pub(crate) fn note(&mut self, id: SessionId, epoch: u64, now: Moment) {
        self.refill(now);
        self.tokens = (self.tokens - 1_000).max(-ASKED_AT_ONCE * 1_000);
        if self.ids.insert(id, (now.plus_ms(REMEMBERED_MS), epoch)).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > IDS_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.ids.remove(&oldest);
        }
    }

    /// Whether more of them come than all owners shall be asked for.
    pub(crate) fn is_flooded(&mut self, now: Moment) -> bool {
        self.refill(now);
        self.tokens < 1_000
    }

    fn refill(&mut self, now: Moment) {
        let since = i64::try_from(now.ms_since(self.counted)).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(since.saturating_mul(ASKED_PER_SECOND)).min(ASKED_AT_ONCE * 1_000);
        self.counted = self.counted.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::START;

    fn id(number: usize) -> SessionId {
        SessionId::from_bytes((number as u128).to_be_bytes())
    }

    #[test]
    fn an_unknown_id_is_remembered_for_a_moment_and_only_under_its_topology() {
        let mut unknown = UnknownIds::default();
        unknown.note(id(1), 7, NOW);
        assert!(unknown.remembers(id(1), 7, NOW.plus_ms(REMEMBERED_MS - 1)));
        assert!(!unknown.remembers(id(1), 7, NOW.plus_ms(REMEMBERED_MS)));
        assert!(!unknown.remembers(id(1), 8, NOW) && !unknown.remembers(id(2), 7, NOW));
        unknown.note(id(1), 8, NOW.plus_ms(REMEMBERED_MS));
        assert!(unknown.remembers(id(1), 8, NOW.plus_ms(REMEMBERED_MS + 1)));
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_go() {
        let mut unknown = UnknownIds::default();
        for number in 0..3 * IDS_MAX {
            unknown.note(id(number), 1, NOW);
        }
        assert_eq!((unknown.ids.len(), unknown.order.len()), (IDS_MAX, IDS_MAX));
        assert!(unknown.remembers(id(3 * IDS_MAX - 1), 1, NOW) && !unknown.remembers(id(0), 1, NOW));
    }

    #[test]
    fn a_flood_is_one_as_long_as_it_goes_on() {
        let mut unknown = UnknownIds::default();
        for number in 0..1_000 {
            assert!(!unknown.is_flooded(NOW), "{number}");
            unknown.note(id(number), 1, NOW);
        }
        assert!(unknown.is_flooded(NOW) && unknown.is_flooded(NOW.plus_ms(1)));
        assert!(!unknown.is_flooded(NOW.plus_ms(2)), "one more in 2 ms");
        unknown.note(id(0), 1, NOW.plus_ms(2));
        assert!(unknown.is_flooded(NOW.plus_ms(3)));
        // Ten a millisecond, for ten seconds: none of them is one more that may be asked for.
        for ms in 0..10_000 {
            let now = NOW.plus_ms(3 + ms);
            assert!(unknown.is_flooded(now), "{ms}");
            (0..10).for_each(|number| unknown.note(id(number), 1, now));
        }
        assert!(unknown.is_flooded(NOW.plus_ms(10_003)));
        assert!(!unknown.is_flooded(NOW.plus_ms(10_003 + 2_002)), "what was too much is made up for");
    }
}
