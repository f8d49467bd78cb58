//! Clusters on many threads, in real time: one after the other, several at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use sessionmesh::failpoint::Bug;
use sessionmesh_simulations::oracle;
use sessionmesh_simulations::planted::Planted;
use sessionmesh_simulations::threads::{self, PROMISES, Report};

use super::arguments::{bug, minutes};
use super::console::{Progress, say};
use super::{Outcome, judged, real_time};

/// The points at which the library waits are drawn anew so often.
const PROVOKED_FOR: Duration = Duration::from_millis(700);
/// One of so many times none waits.
const UNPROVOKED_EVERY: u64 = 5;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// For how long
    #[arg(long, value_parser = minutes, default_value = "1")]
    minutes: Duration,
    /// Clusters at the same time
    #[arg(long, value_name = "N", default_value_t = 4)]
    clusters: usize,
    /// The first seed [default: one that nobody began with before]
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// Let the library make this mistake
    #[arg(long, value_parser = bug, value_name = "NAME", conflicts_with = "planted")]
    bug: Option<&'static Planted>,
    /// Plant one of these after the other, and see that each is found within the time [default: all that need threads]
    #[arg(long, value_parser = bug, value_name = "NAME", num_args = 0..)]
    planted: Option<Vec<&'static Planted>>,
    /// Go on when a promise was broken
    #[arg(long)]
    keep_going: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    threads::listen();
    if let Some(planted) = &arguments.planted {
        let all = || Bug::NEED_THREADS.to_vec();
        let bugs = if planted.is_empty() { all() } else { planted.iter().map(|planted| planted.bug).collect() };
        let missed = bugs.into_iter().filter(|bug| !finds(arguments, *bug)).count();
        return Ok(Outcome::from(missed == 0));
    }
    threads::plant(arguments.bug.map(|planted| planted.bug));
    let started = real_time::now();
    let tally = Stress::new(arguments).run();
    for failure in tally.failures.iter().take(if arguments.keep_going { usize::MAX } else { 1 }) {
        say(failure);
    }
    tell_judged(&tally);
    say(tally.counts.iter().map(|(what, times)| format!("{what} {times}")).collect::<Vec<_>>().join(", "));
    let checks: u64 = tally.judged.values().sum();
    let count = |what| tally.counts.get(what).copied().unwrap_or(0);
    say(format_args!(
        "{} clusters in {} s: {} cold starts, {} joins, {} leaves, {} crashes, {} commits, {checks} checks, {} failures",
        tally.clusters,
        started.elapsed().as_secs(),
        count("cold starts"),
        count("joins"),
        count("leaves"),
        count("crashes"),
        ["created", "written", "removed", "counted", "logged out", "renewed"].into_iter().map(count).sum::<u64>(),
        tally.failures.len(),
    ));
    Ok(Outcome::from(tally.failures.is_empty()))
}

/// Whether the stress finds this mistake; says how soon.
fn finds(arguments: &Arguments, bug: Bug) -> bool {
    threads::plant(Some(bug));
    let started = real_time::now();
    let tally = Stress::new(arguments).run();
    threads::plant(None);
    let (seconds, clusters) = (started.elapsed().as_secs(), tally.clusters);
    match tally.failures.first().and_then(|failure| failure.lines().next()) {
        Some(failure) => {
            say(format_args!("{}: found after {seconds} s and {clusters} clusters: {failure}", bug.name()))
        }
        None => say(format_args!("{}: NOT FOUND in {seconds} s and {clusters} clusters", bug.name())),
    }
    !tally.failures.is_empty()
}

/// What came of all clusters.
#[derive(Debug, Default)]
struct Tally {
    clusters: u64,
    counts: BTreeMap<&'static str, u64>,
    judged: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, report: Report) {
        self.clusters += 1;
        for (mine, theirs) in [(&mut self.counts, report.counts), (&mut self.judged, report.judged)] {
            for (what, times) in theirs {
                *mine.entry(what).or_default() += times;
            }
        }
        self.failures.extend(report.failure);
    }
}

struct Stress {
    minutes: Duration,
    clusters: usize,
    from: u64,
    keep_going: bool,
}

impl Stress {
    fn new(arguments: &Arguments) -> Self {
        let Arguments { minutes, clusters, from, keep_going, .. } = *arguments;
        Self { minutes, clusters, from: from.unwrap_or_else(real_time::seed_of_the_second), keep_going }
    }

    fn run(&self) -> Tally {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (started, over, next) = (real_time::now(), AtomicBool::new(false), AtomicU64::new(0));
        let progress = tally.clone();
        let _progress = Progress::new(move || {
            let tally = progress.lock().unwrap_or_else(PoisonError::into_inner);
            format!("{} clusters, {} failures", tally.clusters, tally.failures.len())
        });
        let is_over = || over.load(Ordering::Relaxed) || started.elapsed() >= self.minutes;
        thread::scope(|scope| {
            let playing: Vec<_> = (0..self.clusters)
                .map(|_| {
                    scope.spawn(|| {
                        while !is_over() {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            let report = threads::play(number, self.from.wrapping_add(number), &over);
                            if report.failure.is_some() && !self.keep_going {
                                over.store(true, Ordering::Relaxed);
                            }
                            tally.lock().unwrap_or_else(PoisonError::into_inner).add(report);
                        }
                    })
                })
                .collect();
            let mut salt = self.from;
            while playing.iter().any(|thread| !thread.is_finished()) {
                salt = salt.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                threads::provoke(if (salt >> 33).is_multiple_of(UNPROVOKED_EVERY) { 0 } else { salt });
                thread::park_timeout(PROVOKED_FOR);
            }
        });
        threads::provoke(0);
        std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn tell_judged(tally: &Tally) {
    let promises: Vec<&str> = PROMISES.into_iter().chain(oracle::PROMISES).collect();
    judged::list(&promises, |promise| tally.judged.get(promise).copied());
}
