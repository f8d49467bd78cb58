//! Mistakes planted in the library on purpose: simulations that do not find them prove nothing.

use std::sync::LazyLock;

use sessionmesh::failpoint::Bug;

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
    /// After so many seeds it must have been found; none if it is too rare for that, and kept for the scenarios in
    /// `regressions/` that it once broke, or for the model; or if it needs several threads, and is left to the stress.
    pub seeds_max: Option<u64>,
}

/// Too rare to be looked for each time: one seed of some hundreds or thousands.
const RARE: [Bug; 12] = [
    Bug::AcksUnderAnyView,
    Bug::AnyCopyVouches,
    Bug::DisplacedForgotten,
    Bug::DoubtForgotten,
    Bug::LateAccessCounts,
    Bug::LetGoWithoutKept,
    Bug::LimitByOneOwner,
    Bug::OldReportCounts,
    Bug::RefusalNotTold,
    Bug::RenewalDropsOwnWrites,
    Bug::UnfitDeltaMerged,
    Bug::VoteForAnyone,
];
/// For these it takes a hundred seeds or more.
const SELDOM: [Bug; 12] = [
    Bug::AccessNotPassedOn,
    Bug::AnswerToEarlierSend,
    Bug::DeadlineIgnored,
    Bug::ExpireWithoutVote,
    Bug::LeasesIgnored,
    Bug::MissBelieved,
    Bug::NoScan,
    Bug::OwnMode,
    Bug::RenewalForgetsLateWrites,
    Bug::StalledOwnerAnswers,
    Bug::VanishedForgotten,
    Bug::VoteTooSoon,
];
const SELDOM_SEEDS: u64 = 400;
const USUAL_SEEDS: u64 = 60;

static ALL: LazyLock<Vec<Planted>> = LazyLock::new(|| {
    let seeds_max = |bug: &Bug| match bug {
        bug if RARE.contains(bug) || Bug::NEED_THREADS.contains(bug) => None,
        bug if SELDOM.contains(bug) => Some(SELDOM_SEEDS),
        _ => Some(USUAL_SEEDS),
    };
    Bug::ALL.iter().map(|(bug, name, what)| Planted { bug: *bug, name, what, seeds_max: seeds_max(bug) }).collect()
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
