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

    /// Where the median of endlessly many rounds would lie, with a confidence of 95 % at least; none with fewer than six rounds.
    ///
    /// It depends on no distribution: half of all rounds lie on either side of that median, so how many of these do is as a coin
    /// falls. Source: H. A. David and H. N. Nagaraja, "Order Statistics", 3rd edition, section 7.1.
    pub(crate) fn interval(&self) -> Option<(f64, f64)> {
        let count = self.rounds.len();
        // What so many coins all on one side have for a chance, then one less, and so on, until it is more than 2.5 %.
        let mut chance = 0.5_f64.powi(i32::try_from(count).ok()?);
        let (mut sum, mut outside) = (0.0, 0);
        while sum + chance <= 0.025 {
            sum += chance;
            chance *= (count - outside) as f64 / (outside + 1) as f64;
            outside += 1;
        }
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        (outside > 0).then(|| (sorted[outside - 1], sorted[count - outside]))
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
    fn the_interval_of_a_median_leaves_out_what_coins_would() {
        let of = |rounds: u32| Figure { unit: "", rounds: (1..=rounds).rev().map(f64::from).collect() }.interval();
        assert_eq!(of(5), None, "all on one side are not rare enough");
        // The usual table of the sign test.
        assert_eq!(of(6), Some((1.0, 6.0)));
        assert_eq!(of(9), Some((2.0, 8.0)));
        assert_eq!(of(20), Some((6.0, 15.0)));
        assert_eq!(of(60), Some((22.0, 39.0)));
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
