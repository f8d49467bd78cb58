//! Processes under observation: the panics of this one, and the memory of any.

use std::sync::{Arc, Mutex};

/// Counts panics of any thread and task, from where the process installs it on; see [`PanicCounter::install`].
#[derive(Clone, Debug, Default)]
pub struct PanicCounter(Arc<Mutex<Vec<String>>>);

impl PanicCounter {
    /// Takes note of every panic from now on, with its place. Panics are still printed.
    pub fn install() -> Self {
        let counter = Self::default();
        let (noted, print) = (counter.0.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            noted.lock().expect("the hook does not panic").push(place);
            print(info);
        }));
        counter
    }

    /// Where it panicked so far.
    pub fn places(&self) -> Vec<String> {
        self.0.lock().expect("the hook does not panic").clone()
    }
}

/// Lets the peak of this process's memory, `VmHWM`, start anew.
pub fn forget_memory_peak() {
    forget_memory_peak_of(std::process::id());
}

/// The same of another process of this user.
///
/// # Panics
///
/// When there is none.
pub fn forget_memory_peak_of(process: u32) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("Linux lets its user do so");
}

/// A figure of this process from `/proc/self/status`, such as `VmHWM` or `VmRSS`, in KiB.
pub fn process_kib(figure: &str) -> u64 {
    kib_of(std::process::id(), figure)
}

/// The same of any process.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn kib_of(process: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux tells of each process");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.expect("the figure is there, in kB")
}
