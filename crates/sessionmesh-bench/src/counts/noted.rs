//! The counts that are noted, and how those of now compare with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::setting::Setting;

/// A count may grow or fall by so much before anything is said: about twice what chance does to the one that wavers most.
pub(super) const GROWTH_MAX: f64 = 0.03;
/// Fractions of an allocation that are no change, where there are hardly any.
const ALLOCATIONS_APART: f64 = 0.02;

/// What one operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Count {
    /// Instructions of the one thread.
    pub(super) instructions: f64,
    /// Allocations of it, also those that make memory larger.
    pub(super) allocations: f64,
}

impl Count {
    /// The one in the middle by its instructions, and how far the lowest and the highest lie apart, in percent of it.
    pub(super) fn median(mut rounds: Vec<Self>) -> (Self, f64) {
        rounds.sort_by(|one, other| one.instructions.total_cmp(&other.instructions));
        let middle = rounds[rounds.len() / 2];
        let apart = rounds[rounds.len() - 1].instructions - rounds[0].instructions;
        (middle, 100.0 * apart / middle.instructions)
    }

    /// As it is noted: digits that change from run to run would only make a change hard to read.
    fn rounded(self) -> Self {
        let to = |value: f64, digits: f64| (value * digits).round() / digits;
        Self { instructions: to(self.instructions, 10.0), allocations: to(self.allocations, 100.0) }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.1} instructions, {:>7.2} allocations", self.instructions, self.allocations)
    }
}

/// The counts of all operations by their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) measured_with: Setting,
    pub(super) counts: BTreeMap<String, Count>,
}

/// What became of a count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// As it was, but for a little.
    Same,
    /// Something takes more.
    Grew { before: Count, now: Count },
    /// Nothing takes more, and something less.
    Fell { before: Count, now: Count },
    /// It was not noted.
    New,
    /// It was noted, and is not counted any more.
    Gone,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => write!(f, "as before"),
            Self::New => write!(f, "not noted yet"),
            Self::Gone => write!(f, "noted, but not counted any more"),
            Self::Grew { before, now } | Self::Fell { before, now } => {
                let verb = if matches!(self, Self::Grew { .. }) { "grew" } else { "fell" };
                let percent = 100.0 * (now.instructions / before.instructions - 1.0);
                let (from, to) = (before.allocations, now.allocations);
                let instructions = format!("{:.1} to {:.1} instructions", before.instructions, now.instructions);
                write!(f, "{verb} from {instructions} ({percent:+.1} %), {from:.2} to {to:.2} allocations")
            }
        }
    }
}

impl Outcome {
    fn of(before: Count, now: Count) -> Self {
        let above = |low: f64, high: f64, apart: f64| high > low * (1.0 + GROWTH_MAX) + apart;
        let grew = |from: Count, to: Count| {
            above(from.instructions, to.instructions, 0.0) || above(from.allocations, to.allocations, ALLOCATIONS_APART)
        };
        if grew(before, now) {
            Self::Grew { before, now }
        } else if grew(now, before) {
            Self::Fell { before, now }
        } else {
            Self::Same
        }
    }
}

impl Noted {
    /// Reads them.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not understood", file.display()))
    }

    /// Writes them.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let counts = self.counts.iter().map(|(name, count)| (name.clone(), count.rounded())).collect();
        let text = serde_json::to_string_pretty(&Self { counts, ..self.clone() })?;
        fs::write(file, format!("{text}\n")).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What became of each count, noted or counted `now`.
    pub(super) fn compare(&self, now: &Self) -> Vec<(String, Outcome)> {
        let names: BTreeSet<&String> = self.counts.keys().chain(now.counts.keys()).collect();
        let outcome = |name: &String| match (self.counts.get(name), now.counts.get(name)) {
            (Some(before), Some(now)) => Outcome::of(*before, *now),
            (None, _) => Outcome::New,
            (_, None) => Outcome::Gone,
        };
        names.into_iter().map(|name| (name.clone(), outcome(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Count = Count { instructions: 1_000.0, allocations: 4.0 };

    fn outcome(instructions: f64, allocations: f64) -> &'static str {
        match Outcome::of(BEFORE, Count { instructions, allocations }) {
            Outcome::Same => "same",
            Outcome::Grew { .. } => "grew",
            Outcome::Fell { .. } => "fell",
            Outcome::New | Outcome::Gone => unreachable!("there are two counts"),
        }
    }

    #[test]
    fn three_percent_more_is_too_much_and_three_percent_less_is_worth_noting() {
        assert_eq!(outcome(1_000.0, 4.0), "same");
        assert_eq!((outcome(1_029.0, 4.0), outcome(1_031.0, 4.0)), ("same", "grew"));
        assert_eq!((outcome(972.0, 4.0), outcome(970.0, 4.0)), ("same", "fell"));
        assert_eq!((outcome(1_000.0, 4.1), outcome(1_000.0, 5.0)), ("same", "grew"));
        assert_eq!(outcome(1_000.0, 3.0), "fell");
        assert_eq!(outcome(500.0, 5.0), "grew", "what fell does not make up for it");
    }

    #[test]
    fn an_operation_that_allocated_nothing_may_not_begin_to() {
        let quiet = Count { allocations: 0.0, ..BEFORE };
        assert_eq!(Outcome::of(quiet, Count { allocations: 0.01, ..BEFORE }), Outcome::Same, "the growth of a list");
        assert!(matches!(Outcome::of(quiet, Count { allocations: 1.0, ..BEFORE }), Outcome::Grew { .. }));
    }

    fn noted(counts: &[(&str, Count)]) -> Noted {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Noted { measured_with: Setting::default(), counts }
    }

    #[test]
    fn what_is_new_and_what_is_gone_is_told() {
        let found = noted(&[("both", BEFORE), ("old", BEFORE)]).compare(&noted(&[("both", BEFORE), ("young", BEFORE)]));
        let expected = [("both", Outcome::Same), ("old", Outcome::Gone), ("young", Outcome::New)];
        assert_eq!(found, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
    }

    #[test]
    fn a_file_that_somebody_tampered_with_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("counts.json");
        let now = noted(&[("read", Count { instructions: 812.34, allocations: 2.0 })]);
        now.write(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(Noted::read(&file).unwrap().compare(&now), [("read".to_owned(), Outcome::Same)]);
        fs::write(&file, text.replace("812.3", "712.3")).unwrap();
        assert!(matches!(Noted::read(&file).unwrap().compare(&now)[..], [(_, Outcome::Grew { .. })]));
        fs::write(&file, text.replace("812.3", "many")).unwrap();
        let error = Noted::read(&file).unwrap_err().to_string();
        assert!(error.contains("counts.json is not understood"), "{error}");
    }

    #[test]
    fn the_median_is_told_with_how_far_the_rounds_lie_apart() {
        let rounds = [1_010.0, 1_000.0, 1_002.0].map(|instructions| Count { instructions, ..BEFORE });
        let (median, apart) = Count::median(rounds.to_vec());
        assert_eq!(median.instructions, 1_002.0);
        assert!((apart - 0.998).abs() < 0.001, "{apart}");
    }
}
