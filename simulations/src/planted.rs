//! Mistakes planted in the library on purpose: simulations that do not find them prove nothing.

use std::sync::LazyLock;

use sessionmesh::probe::Bug;

use crate::run::{Extras, Report, play_with as play_extra};
use crate::scenario::Scenario;

/// A mistake that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Which.
    pub bug: Bug,
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// After so many seeds it must have been found.
    pub seeds_max: u64,
}

static ALL: LazyLock<Vec<Planted>> = LazyLock::new(|| {
    Bug::ALL.iter().map(|(bug, name, what)| Planted { bug: *bug, name, what, seeds_max: 150 }).collect()
});

/// All of them.
#[must_use]
pub fn all() -> &'static [Planted] {
    &ALL
}

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Planted> {
    all().iter().find(|planted| planted.name == name)
}

/// Plays `scenario` with a library that makes this mistake.
#[must_use]
pub fn play_with(planted: &Planted, scenario: &Scenario) -> Report {
    play_extra(scenario, &Extras { bug: Some(planted.bug), ..Extras::default() })
}
