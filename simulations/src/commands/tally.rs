//! What came of many runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use sessionmesh_simulations::run::Report;

use super::{paths, real_time};

#[derive(Clone, Debug)]
pub(super) struct Tally {
    started: Instant,
    /// Runs that ended.
    pub(super) seeds: u64,
    /// Runs that broke a promise.
    pub(super) failed: u64,
    simulated_ms: u64,
    /// What clients were told that was compared with a promise.
    answers: u64,
    /// How often which rare path was reached.
    pub(super) reached: BTreeMap<&'static str, u64>,
    /// How often which promise was compared with what happened.
    pub(super) judged: BTreeMap<&'static str, u64>,
    slowest_settling_ms: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            started: real_time::now(),
            seeds: 0,
            failed: 0,
            simulated_ms: 0,
            answers: 0,
            reached: BTreeMap::new(),
            judged: BTreeMap::new(),
            slowest_settling_ms: 0,
        }
    }

    pub(super) fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.failed += u64::from(report.violation.is_some());
        self.simulated_ms += report.simulated_ms;
        self.answers += report.counts.values().sum::<u64>();
        for (path, times) in paths::reached(report) {
            *self.reached.entry(path).or_default() += times;
        }
        for (promise, times) in &report.judged {
            *self.judged.entry(promise).or_default() += times;
        }
        self.slowest_settling_ms = report.settling_ms.iter().copied().fold(self.slowest_settling_ms, u64::max);
    }

    /// Where it stands, in a line that fits a narrow terminal.
    pub(super) fn progress(&self) -> String {
        let all = paths::required();
        let reached = all.iter().filter(|path| self.times(path) > 0).count();
        format!(
            "{} seeds, {} failed, {:.2} h simulated, rate {:.1}, {} checks, {reached} of {} rare paths",
            self.seeds,
            self.failed,
            self.simulated_hours(),
            self.rate(),
            self.answers,
            all.len(),
        )
    }

    /// How long the slowest cluster took to settle.
    pub(super) fn slowest_settling_ms(&self) -> u64 {
        self.slowest_settling_ms
    }

    /// How often `path` was reached.
    pub(super) fn times(&self, path: &str) -> u64 {
        self.reached.get(path).copied().unwrap_or(0)
    }

    #[allow(clippy::cast_precision_loss, reason = "two decimals are shown")]
    fn simulated_hours(&self) -> f64 {
        self.simulated_ms as f64 / 3_600_000.0
    }

    /// Simulated seconds in a real one.
    fn rate(&self) -> f64 {
        let real = self.started.elapsed().as_secs_f64();
        if real > 0.0 { self.simulated_hours() * 3_600.0 / real } else { 0.0 }
    }
}

/// The last line of a command: programs read it, so it must stay as it is.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, failed, .. } = self;
        let (hours, rate) = (self.simulated_hours(), self.rate());
        write!(f, "seeds {seeds} failed {failed} simulated-hours {hours:.2} rate {rate:.1}")
    }
}
