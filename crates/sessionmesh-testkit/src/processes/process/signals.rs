//! What is done to the process of a node: it is killed or frozen, or may open no more files.

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use tokio::time::Instant;

use super::Process;
use crate::processes::{pid, signal};

impl Process {
    /// Kills the process, as `kill -9` does, and waits for its end. When the signal was sent.
    ///
    /// # Panics
    ///
    /// When it had ended already.
    pub fn kill(&mut self) -> Instant {
        self.assert_running();
        self.expected_to_end = true;
        let at = Instant::now();
        self.signal(Signal::KILL);
        self.child.wait().expect("it is a child of this process");
        at
    }

    /// Stops the process from running, as a stalled machine does.
    pub fn freeze(&mut self) -> Instant {
        self.assert_running();
        self.signal(Signal::STOP);
        Instant::now()
    }

    /// Lets a frozen process run again.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Lets the process open no more files: as if it had used up all that it may. Those that are open stay open.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn take_descriptors(&self) {
        self.limit_descriptors(Rlimit { current: Some(0), ..getrlimit(Resource::Nofile) });
    }

    /// Lets the process open as many files again as this one may.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn give_descriptors(&self) {
        self.limit_descriptors(getrlimit(Resource::Nofile));
    }

    fn limit_descriptors(&self, limit: Rlimit) {
        prlimit(Some(pid(self.child.id())), Resource::Nofile, limit).expect("an own child can be limited");
    }

    fn signal(&self, name: Signal) {
        signal(self.child.id(), name);
    }
}
