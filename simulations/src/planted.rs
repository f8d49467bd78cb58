//! Mistakes planted in the library on purpose: simulations that do not find them prove nothing.

use crate::run::{Report, play};
use crate::scenario::Scenario;

/// A mistake that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// After so many seeds it must have been found.
    pub seeds_max: u64,
}

/// All of them.
#[must_use]
pub fn all() -> &'static [Planted] {
    &[]
}

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Planted> {
    all().iter().find(|planted| planted.name == name)
}

/// Plays `scenario` with a library that makes this mistake.
#[must_use]
pub fn play_with(_planted: &Planted, scenario: &Scenario) -> Report {
    play(scenario)
}
