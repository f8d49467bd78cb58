//! Mistakes that the model finds, and the configuration in which it does.

use std::time::Duration;

use sessionmesh_core::failpoint::Bug;

use crate::bounds::{self, Bounds};
use crate::check::{Outcome, check};
use crate::mesh::Mesh;

/// Something that must be found.
#[derive(Clone, Copy, Debug)]
pub struct Mistake {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The configuration in which it is found.
    pub bounds: &'static str,
    bug: Bug,
}

/// The planted mistakes of the rules that are in the model, each with the configuration in which it is found.
const PLANTED: &[(Bug, &str)] = &[
    (Bug::StalledOwnerAnswers, "stall"),
    (Bug::LeasesIgnored, "three writers"),
    (Bug::MarkDropped, "three writers"),
    (Bug::NeedsWholeForgotten, "three writers"),
    (Bug::LetGoWithoutKept, "three writers"),
    (Bug::WriteRevivesEnded, "logout and late save"),
    (Bug::TombstonesLeftBehind, "crash and logout"),
    (Bug::KeptBeforeMerge, "three writers"),
    (Bug::OneOwnerFewer, "three writers"),
    (Bug::DisplacedForgotten, "join, two writes"),
    (Bug::OldReportCounts, "stall"),
    (Bug::DoubtForgotten, "stall"),
    (Bug::AnswerToEarlierSend, "three writers"),
    (Bug::NoScan, "join"),
    (Bug::VanishedForgotten, "cut"),
    (Bug::ReadyEarly, "join and crash"),
    (Bug::UnfitDeltaMerged, "join, two writes"),
    (Bug::LeaveWithoutWaiting, "leave and crash"),
];

impl Mistake {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        PLANTED.iter().map(|(bug, bounds)| Self { name: bug.name(), what: bug.what(), bounds, bug: *bug })
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|mistake| mistake.name == name)
    }

    /// Any planted mistake, of all that there are: in another configuration, and to another depth (0 for no limit).
    #[must_use]
    pub fn look_elsewhere(name: &str, bounds: Bounds, threads: usize, most: Duration) -> Option<Outcome> {
        Bug::named(name).map(|bug| check(Mesh::new(bounds, Some(bug)), threads, most))
    }

    /// Looks for it.
    ///
    /// # Panics
    ///
    /// When there is no such configuration.
    #[must_use]
    pub fn look_for(&self, threads: usize, most: Duration) -> Outcome {
        let bounds = bounds::named(self.bounds).expect("it is one of those that are checked");
        check(Mesh::new(bounds, Some(self.bug)), threads, most)
    }
}
