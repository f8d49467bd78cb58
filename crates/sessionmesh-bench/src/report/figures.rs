//! Every figure of a run, each measured several times.

use std::collections::BTreeMap;

use serde::Serialize;

/// One thing that was measured, once in each round.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// What it counts, for example `commits/s` or `us`.
    pub(crate) unit: &'static str,
    /// What each round gave, in their order.
    pub(crate) rounds: Vec<f64>,
}

impl Figure {
    pub(crate) fn median(&self) -> f64 {
        median(&self.rounds)
    }

    /// Of all rounds: for what is counted.
    pub(crate) fn sum(&self) -> f64 {
        self.rounds.iter().sum()
    }

    pub(crate) fn minimum(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The lowest and the highest, with so many digits.
    pub(crate) fn spread(&self, digits: usize) -> String {
        format!("{:.digits$} to {:.digits$}", self.minimum(), self.maximum())
    }

    /// Where the middle half of them lies, with so many digits: for rounds of which a few are disturbed.
    pub(crate) fn middle_half(&self, digits: usize) -> String {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let quarter = sorted.len() / 4;
        let at = |at: usize| sorted.get(at).copied().unwrap_or_default();
        format!("{:.digits$} to {:.digits$}", at(quarter), at(sorted.len().saturating_sub(1 + quarter)))
    }

    pub(crate) fn maximum(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Figures by their names, such as `http/16/write/redis/rate`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(BTreeMap<String, Figure>);

impl Figures {
    /// Notes what one round gave.
    pub(crate) fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let figure = self.0.entry(name.into()).or_insert_with(|| Figure { unit, rounds: Vec::new() });
        debug_assert_eq!(figure.unit, unit, "a figure has one unit");
        figure.rounds.push(value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Figure> {
        self.0.get(name)
    }

    /// The median of a figure, if it was measured.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        self.get(name).map(Figure::median)
    }

    /// The ratio of two figures: the median of the ratios of the rounds, since what disturbs a round disturbs both.
    pub(crate) fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        Some(self.ratios(of, to)?.median())
    }

    /// The ratio of two figures in each round.
    pub(crate) fn ratios(&self, of: &str, to: &str) -> Option<Figure> {
        let (of, to) = (self.get(of)?, self.get(to)?);
        Some(Figure { unit: "", rounds: of.rounds.iter().zip(&to.rounds).map(|(of, to)| of / to).collect() })
    }

    /// All figures for a program to read.
    pub(crate) fn json(&self) -> serde_json::Value {
        let figure = |(name, figure): (&String, &Figure)| {
            serde_json::json!({
                "name": name,
                "unit": figure.unit,
                "median": figure.median(),
                "minimum": figure.minimum(),
                "maximum": figure.maximum(),
                "rounds": figure.rounds,
            })
        };
        self.0.iter().map(figure).collect()
    }
}

/// The value in the middle; of an even number, the mean of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn the_middle_half_leaves_out_a_quarter_on_each_side() {
        let of = |rounds: &[f64]| Figure { unit: "", rounds: rounds.to_vec() }.middle_half(0);
        assert_eq!(of(&[9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "3 to 6");
        assert_eq!(of(&[2.0, 1.0]), "1 to 2");
        assert_eq!(of(&[]), "0 to 0");
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let mut figures = Figures::default();
        for (ours, theirs) in [(10.0, 5.0), (40.0, 20.0), (9.0, 3.0)] {
            figures.add("ours", "1/s", ours);
            figures.add("theirs", "1/s", theirs);
        }
        assert_eq!(figures.ratio("ours", "theirs"), Some(2.0));
        assert_eq!(figures.ratio("ours", "nobody's"), None);
    }
}
