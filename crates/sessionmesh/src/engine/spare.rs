//! File descriptors that are kept aside for links.
//!
//! A process whose visitors have used up its descriptors can neither accept a link nor open one, and the cluster has to do
//! without the node. So a few are kept, and one is given up for each link that would otherwise fail; it is taken back when
//! there are some again.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use super::peer::lock;

/// So many are kept aside: two for each of eight other nodes.
const SPARE: usize = 16;

/// The descriptors that are kept.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Vec<File>>);

impl Spare {
    /// Takes as many as are missing and can be had.
    pub(crate) fn fill(&self) {
        let mut kept = lock(&self.0);
        while kept.len() < SPARE {
            let Some(file) = open() else { return };
            kept.push(file);
        }
    }

    /// Gives one up, if `error` says that there are no others. Says whether it is worth to try again, at once: whoever else
    /// waits for a descriptor would take it.
    pub(crate) fn gave_up_for(&self, error: &io::Error) -> bool {
        is_want_of_descriptors(error) && lock(&self.0).pop().is_some()
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
        let spare = Spare::default();
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
}
