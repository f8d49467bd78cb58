//! Processes that stay on one core each, as if each had a machine of its own.

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// While it exists, this thread stays on one core, and so does, for good, every process that it starts.
#[derive(Debug)]
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// On the core with this number, counted among those that this thread may use; none if there are not so many.
    pub(crate) fn to(number: usize) -> anyhow::Result<Option<Self>> {
        let before = sched_getaffinity(None).context("cannot ask which cores may be used")?;
        let Some(core) = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core)).nth(number) else {
            return Ok(None);
        };
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).context("cannot stay on one core")?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before. If it is not any more, the cores were taken away from this process meanwhile.
        let _ = sched_setaffinity(None, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores() -> u32 {
        sched_getaffinity(None).unwrap().count()
    }

    #[test]
    fn a_thread_stays_on_one_core_for_a_while() {
        let before = cores();
        let pinned = Pinned::to(0).unwrap();
        assert!(pinned.is_some());
        assert_eq!(cores(), 1);
        drop(pinned);
        assert_eq!(cores(), before);
        assert!(Pinned::to(usize::try_from(before).unwrap()).unwrap().is_none());
    }
}
