//! File descriptors that are kept aside for links.
//!
//! A process whose visitors have used up its descriptors can neither accept a link nor open one, and the cluster has to do
//! without the node. So a few are kept, and one is given up for each link that would otherwise fail; it is taken back when
//! there are some again.

use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sessionmesh_core::moment::Moment;

use crate::lock::lock;

/// So many are kept aside: two for each of eight other nodes.
const SPARE: usize = 16;

/// For so long after it got none a node goes by that. A link that cannot be opened is tried again each second at least.
const WANTING_MS: u64 = 3_000;

/// The descriptors that are kept.
#[derive(Debug, Default)]
pub(crate) struct SpareDescriptors {
    kept: Mutex<Vec<File>>,
    /// When there was none for a link that was to be opened, by this node's time; 0 for never.
    wanted: AtomicU64,
}

impl SpareDescriptors {
    /// Takes as many as are missing and can be had.
    pub(crate) fn fill(&self) {
        let mut kept = lock(&self.kept);
        while kept.len() < SPARE {
            let Some(file) = open() else { return };
            kept.push(file);
        }
    }

    /// Gives one up, if `error` says that there are no others. Says whether it is worth to try again, at once: whoever else
    /// waits for a descriptor would take it.
    pub(crate) fn gave_up_for(&self, error: &io::Error) -> bool {
        is_want_of_descriptors(error) && lock(&self.kept).pop().is_some()
    }

    /// There was none for a link that was to be opened, and none was kept.
    pub(crate) fn missed(&self, now: Moment) {
        self.wanted.store(now.as_ms().max(1), Ordering::Relaxed);
    }

    /// Whether this node lacks descriptors for its links. Then it is this node to which others are silent, whoever they are.
    pub(crate) fn is_wanting(&self, now: Moment) -> bool {
        let wanted = self.wanted.load(Ordering::Relaxed);
        wanted != 0 && now.ms_since(Moment::from_ms(wanted)) < WANTING_MS
    }
}

#[cfg(unix)]
fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Elsewhere a process does not run out of them.
#[cfg(not(unix))]
fn open() -> Option<File> {
    None
}

/// Whether this process, or the whole system, has no file descriptor left.
pub(crate) fn is_want_of_descriptors(error: &io::Error) -> bool {
    /// `EMFILE` and `ENFILE`, the same numbers on every Unix.
    const NONE_LEFT: [i32; 2] = [24, 23];
    cfg!(unix) && error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_spare_descriptor_is_given_up_for_a_link_that_finds_none_and_taken_back() {
        let spare = SpareDescriptors::default();
        let none_left = io::Error::from_raw_os_error(24);
        assert!(!spare.gave_up_for(&none_left), "there is none yet");
        spare.fill();
        assert!(!spare.gave_up_for(&io::ErrorKind::ConnectionRefused.into()));
        for _ in 0..SPARE {
            assert!(spare.gave_up_for(&none_left));
        }
        assert!(!spare.gave_up_for(&none_left));
        spare.fill();
        assert!(spare.gave_up_for(&none_left));
    }

    #[test]
    fn a_node_goes_by_its_want_of_descriptors_for_a_while() {
        let (spare, at) = (SpareDescriptors::default(), Moment::from_ms);
        assert!(!spare.is_wanting(at(1)));
        spare.missed(at(1_000));
        assert!(spare.is_wanting(at(1_000 + WANTING_MS - 1)));
        assert!(!spare.is_wanting(at(1_000 + WANTING_MS)));
    }
}
