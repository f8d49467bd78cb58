//! Medians, spread and ratios.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::Operation;
use super::load::Done;
use super::site::Variant;
use crate::commands::HttpArgs;

/// A ratio that must be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) of: Variant,
    pub(crate) to: Variant,
    pub(crate) at: Operation,
    pub(crate) least: f64,
}

#[derive(Debug, Default)]
struct Rounds {
    rates: Vec<f64>,
    /// The 50th and the 99th percentile of each round, in microseconds.
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<(Operation, Variant), Rounds>);

impl Figures {
    pub(crate) fn add(&mut self, variant: Variant, operation: Operation, done: &Done) {
        let mut latencies = done.latencies_us.clone();
        latencies.sort_unstable();
        let percentile = |percent: usize| latencies.get(latencies.len() * percent / 100).copied().unwrap_or(0);
        let rounds = self.0.entry((operation, variant)).or_default();
        rounds.rates.push(done.rate());
        rounds.p50_us.push(percentile(50).into());
        rounds.p99_us.push(percentile(99).into());
    }

    /// Requests per second with their spread, latencies, and whether the goals were reached.
    pub(crate) fn table(&self, goals: &[Goal]) -> String {
        let mut table = String::from(
            "| | variant | requests/s | lowest to highest | to no session | p50 | p99 |\n|---|---|---|---|---|---|---|\n",
        );
        for ((operation, variant), rounds) in &self.0 {
            let ratio = self.ratio(*variant, Variant::Bare, *operation).unwrap_or(0.0);
            let _ = writeln!(
                table,
                "| {} | {} | {:.0} | {:.0} to {:.0} | {ratio:.2} | {:.2} ms | {:.2} ms |",
                operation.name(),
                variant.what(),
                median(&rounds.rates),
                rounds.rates.iter().copied().fold(f64::INFINITY, f64::min),
                rounds.rates.iter().copied().fold(0.0, f64::max),
                median(&rounds.p50_us) / 1_000.0,
                median(&rounds.p99_us) / 1_000.0,
            );
        }
        table.push_str("\n| | ratio | to reach | |\n|---|---|---|---|\n");
        for goal in goals {
            let Some(ratio) = self.ratio(goal.of, goal.to, goal.at) else { continue };
            let verdict = if ratio >= goal.least { "reached" } else { "missed" };
            let (of, to, at) = (goal.of.what(), goal.to.what(), goal.at.name());
            let _ = writeln!(table, "| {at}: {of} to {to} | {ratio:.2} | {:.2} | {verdict} |", goal.least);
        }
        table
    }

    /// Every figure.
    pub(crate) fn json(&self, args: &HttpArgs) -> String {
        let figure = |((operation, variant), rounds): (&(Operation, Variant), &Rounds)| {
            [("requests/s", &rounds.rates), ("p50 us", &rounds.p50_us), ("p99 us", &rounds.p99_us)].map(
                |(unit, values)| {
                    json!({
                        "name": format!("http/{}/{}", operation.name(), variant.name()),
                        "unit": unit,
                        "median": median(values),
                        "minimum": values.iter().copied().fold(f64::INFINITY, f64::min),
                        "maximum": values.iter().copied().fold(0.0, f64::max),
                        "rounds": values,
                    })
                },
            )
        };
        let figures: Vec<_> = self.0.iter().flat_map(figure).collect();
        format!("{:#}\n", json!({ "connections": args.connections, "bytes": args.bytes, "figures": figures }))
    }

    fn ratio(&self, of: Variant, to: Variant, at: Operation) -> Option<f64> {
        let rate = |variant| self.0.get(&(at, variant)).map(|rounds| median(&rounds.rates));
        Some(rate(of)? / rate(to)?)
    }
}

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
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_goal_is_missed_below_its_ratio() {
        let done = |total| Done { total, elapsed: Duration::from_secs(1), latencies_us: vec![1], ..Done::default() };
        let mut figures = Figures::default();
        figures.add(Variant::Bare, Operation::Read, &done(100));
        figures.add(Variant::MeshLayer, Operation::Read, &done(84));
        let goal = Goal { of: Variant::MeshLayer, to: Variant::Bare, at: Operation::Read, least: 0.85 };
        assert!(figures.table(&[goal]).contains("| 0.84 | 0.85 | missed |"));
        assert!(figures.table(&[Goal { least: 0.8, ..goal }]).contains("| 0.84 | 0.80 | reached |"));
    }
}
