//! The latest life of each name that took part, so that one that was replaced never takes part again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::peer::lock;

/// The largest incarnation of each name that was a member. It is remembered for as long as gossip remembers that
/// incarnation, so names that come and go add nothing for good.
#[derive(Debug, Default)]
pub(crate) struct Lives(Mutex<BTreeMap<Arc<str>, u64>>);

impl Lives {
    /// This incarnation took part.
    pub(crate) fn took_part(&self, name: &Arc<str>, incarnation: u64) {
        let mut newest = lock(&self.0);
        match newest.get_mut(name) {
            Some(known) => *known = incarnation.max(*known),
            None => drop(newest.insert(name.clone(), incarnation)),
        }
    }

    /// The later life that took the place of this one, if there was one.
    pub(crate) fn later(&self, name: &str, incarnation: u64) -> Option<u64> {
        lock(&self.0).get(name).copied().filter(|known| *known > incarnation)
    }

    /// Forgets the lives that `is_known` does not know.
    pub(crate) fn retain(&self, is_known: impl Fn(&str, u64) -> bool) {
        lock(&self.0).retain(|name, incarnation| is_known(name, *incarnation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_replaced_by_a_later_one_for_good() {
        let (lives, web) = (Lives::default(), Arc::from("web-1"));
        lives.took_part(&web, 5);
        assert_eq!(lives.later("web-1", 5), None);
        lives.took_part(&web, 9);
        lives.took_part(&web, 5);
        assert_eq!((lives.later("web-1", 5), lives.later("web-1", 9), lives.later("web-2", 1)), (Some(9), None, None));
        lives.retain(|_, incarnation| incarnation != 9);
        assert_eq!(lives.later("web-1", 5), None);
    }
}
