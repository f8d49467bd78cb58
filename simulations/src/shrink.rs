//! From a scenario that breaks a promise to a small one that breaks the same.
//!
//! Delta debugging (A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input", 2002): large parts are
//! taken away first, then smaller ones, then single ones, and what is left is made simpler, until nothing can go.
//! Candidates are tried in parallel, but the first one in order that still fails wins: for one scenario and one test the
//! result is always the same, unless it is stopped early.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use crate::scenario::Scenario;

pub mod cuts;

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The smallest scenario so far.
    pub smallest: &'a Scenario,
    /// How many candidates were tried.
    pub tried: u64,
    /// How many of them were smaller and failed, too.
    pub kept: u64,
    /// What is being taken away.
    pub cut: &'static str,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest scenario that was found.
    pub smallest: Scenario,
    /// How many candidates were tried.
    pub tried: u64,
    /// How many of them were smaller and failed, too.
    pub kept: u64,
    /// Whether nothing more can be taken away; otherwise it was stopped.
    pub finished: bool,
}

/// Makes `scenario` smaller as long as `broken` names the same promise for it.
///
/// `broken` is called from so many `threads` at once. `stop` is asked before each round of candidates, `tell` is called
/// after it.
pub fn shrink(
    scenario: &Scenario,
    promise: &str,
    broken: impl Fn(&Scenario) -> Option<&'static str> + Sync,
    threads: NonZeroUsize,
    stop: impl Fn() -> bool,
    tell: impl FnMut(Step<'_>),
) -> Shrunk {
    let shrunk = Shrunk { smallest: scenario.clone(), tried: 0, kept: 0, finished: false };
    let fails = |candidate: &Scenario| broken(candidate) == Some(promise);
    let mut shrinking = Shrinking { shrunk, fails, threads: threads.get(), stop, tell, known: HashSet::new() };
    // What was needed while something else was there may go without it.
    loop {
        let kept = shrinking.shrunk.kept;
        for (cut, candidates) in cuts::ALL {
            if shrinking.exhaust(cut, candidates).is_none() {
                return shrinking.shrunk;
            }
        }
        if shrinking.shrunk.kept == kept {
            shrinking.shrunk.finished = true;
            return shrinking.shrunk;
        }
    }
}

struct Shrinking<Fails, Stop, Tell> {
    shrunk: Shrunk,
    fails: Fails,
    threads: usize,
    stop: Stop,
    tell: Tell,
    /// Candidates that do not fail.
    known: HashSet<String>,
}

impl<Fails, Stop, Tell> Shrinking<Fails, Stop, Tell>
where
    Fails: Fn(&Scenario) -> bool + Sync,
    Stop: Fn() -> bool,
    Tell: FnMut(Step<'_>),
{
    /// Cuts in one way until that gets no further. None if it was stopped.
    fn exhaust(&mut self, cut: &'static str, candidates: fn(&Scenario) -> Vec<Scenario>) -> Option<()> {
        let mut from = 0;
        loop {
            let mut all = candidates(&self.shrunk.smallest);
            if all.is_empty() {
                return Some(());
            }
            // It goes on where it got to: what comes before did not help a moment ago.
            from %= all.len();
            all.rotate_left(from);
            let mut rest = all.into_iter();
            loop {
                let round: Vec<Scenario> = rest.by_ref().take(self.threads).collect();
                if round.is_empty() {
                    return Some(());
                }
                let tried = round.len();
                match self.try_all(cut, round)? {
                    None => from += tried,
                    Some((number, smaller)) => {
                        from += number;
                        self.shrunk.smallest = smaller;
                        self.shrunk.kept += 1;
                        break;
                    }
                }
            }
        }
    }

    /// The first of `round` that fails, and its number. None if it was stopped.
    fn try_all(&mut self, cut: &'static str, round: Vec<Scenario>) -> Option<Option<(usize, Scenario)>> {
        if (self.stop)() {
            return None;
        }
        let texts: Vec<String> = round.iter().map(Scenario::to_string).collect();
        let fails = &self.fails;
        let results: Vec<Option<bool>> = std::thread::scope(|scope| {
            let threads: Vec<_> = round
                .iter()
                .zip(&texts)
                .map(|(candidate, text)| {
                    let is_new = !self.known.contains(text);
                    is_new.then(|| scope.spawn(move || fails(candidate)))
                })
                .collect();
            let joined = threads.into_iter().map(|thread| thread.map(|t| t.join().expect("a test does not panic")));
            joined.collect()
        });
        self.shrunk.tried += results.iter().flatten().count() as u64;
        let first = results.iter().position(|result| *result == Some(true));
        let harmless = results.iter().zip(texts).filter(|(result, _)| **result == Some(false));
        self.known.extend(harmless.map(|(_, text)| text));
        let found = first.and_then(|number| Some((number, round.into_iter().nth(number)?)));
        let smallest = found.as_ref().map_or(&self.shrunk.smallest, |(_, smaller)| smaller);
        (self.tell)(Step { smallest, tried: self.shrunk.tried, kept: self.shrunk.kept, cut });
        Some(found)
    }
}
