//! One part of the report: what was measured, as text.

use std::fmt::Write as _;

use super::{Figures, Goal, Plot};

/// What one subcommand has to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chapter {
    pub(crate) title: &'static str,
    /// How it was measured, in a few sentences.
    pub(crate) how: String,
    /// What could not be measured here, and how it could be: a line each.
    pub(crate) left_out: Vec<String>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) tables: Vec<Table>,
    pub(crate) plots: Vec<Plot>,
}

impl Chapter {
    /// The chapter as Markdown. Plots are named by the files that they are drawn to, in the folder `plots`.
    pub(crate) fn markdown(&self, figures: &Figures, plots: Option<&str>) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.how);
        for line in &self.left_out {
            let _ = writeln!(text, "- {line}");
        }
        if !self.left_out.is_empty() {
            text.push('\n');
        }
        if let Some(goals) = goals_table(&self.goals, figures) {
            let _ = writeln!(text, "{}", goals.markdown());
        }
        for table in &self.tables {
            let _ = writeln!(text, "{}", table.markdown());
        }
        if let Some(folder) = plots {
            for plot in &self.plots {
                let _ = writeln!(text, "![{}]({folder}/{}.svg)\n", plot.title, plot.file);
            }
        }
        text
    }
}

/// The goals that were measured, with verdicts; none if none was.
pub(crate) fn goals_table<'a>(goals: impl IntoIterator<Item = &'a Goal>, figures: &Figures) -> Option<Table> {
    let rows: Vec<_> = goals.into_iter().filter_map(|goal| goal.row(figures)).collect();
    let head = ["goal", "measured", "to reach", ""];
    (!rows.is_empty()).then(|| Table { rows, ..Table::new("", &head) })
}

/// A table of text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// A line above it; may be empty.
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows yet.
    pub(crate) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new() }
    }

    /// A table for [`Table::compare`] of what has these two names.
    pub(crate) fn of_two(names: [&str; 2]) -> Self {
        Self::new("", &["", "unit", names[0], names[1], "ratio", "95 % sure", "differs"])
    }

    /// What a reader must know of such a table.
    pub(crate) const HOW_TWO_ARE_COMPARED: &str = "A ratio is the median of those of the rounds. Beside it is where the median of \
        endlessly many would lie, with a confidence of 95 %; where 1 is within that, it is not decided whether the two differ at all.";

    /// Adds a row about two figures of the same rounds, if both were measured: what and its unit, the median of each, the median of
    /// the ratios of the second to the first, its interval of confidence, and whether they differ.
    pub(crate) fn compare(&mut self, figures: &Figures, head: [&str; 2], digits: usize, [first, second]: [String; 2]) {
        let Some(ratios) = figures.ratios(&second, &first) else { return };
        let median = |name: &str| figures.median(name).map_or_else(String::new, |value| format!("{value:.digits$}"));
        let [what, unit] = head.map(ToOwned::to_owned);
        let (interval, differs) = match ratios.interval() {
            None => ("too few rounds".to_owned(), "undecided"),
            Some((low, high)) => {
                let differs = if low > 1.0 {
                    "more"
                } else if high < 1.0 {
                    "less"
                } else {
                    "undecided"
                };
                (format!("{low:.3} to {high:.3}"), differs)
            }
        };
        let ratio = format!("{:.3}", ratios.median());
        self.rows.push(vec![what, unit, median(&first), median(&second), ratio, interval, differs.to_owned()]);
    }

    /// Markdown that also reads well on a terminal: the columns are aligned.
    pub(crate) fn markdown(&self) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let title = if self.title.is_empty() { String::new() } else { format!("{}\n\n", self.title) };
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{title}{}{}{rows}", line(&self.head), line(&rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let cells = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = Table { title: "t".into(), head: cells(["a", "long"]), rows: vec![cells(["wide", "b"])] };
        assert_eq!(table.markdown(), "t\n\n| a    | long |\n| ---- | ---- |\n| wide | b    |\n");
    }

    #[test]
    fn two_that_are_compared_differ_only_if_one_is_not_within_the_interval() {
        let mut figures = Figures::default();
        for round in 0..6 {
            figures.add("old", "us", 10.0);
            figures.add("new", "us", 8.0 + f64::from(round) / 10.0);
            figures.add("same", "us", 9.8 + f64::from(round) / 10.0);
        }
        let mut table = Table::of_two(["old", "new"]);
        table.compare(&figures, ["p50", "us"], 1, ["old", "new"].map(str::to_owned));
        table.compare(&figures, ["p99", "us"], 1, ["old", "same"].map(str::to_owned));
        assert_eq!(table.rows[0], ["p50", "us", "10.0", "8.2", "0.825", "0.800 to 0.850", "less"]);
        assert_eq!(table.rows[1][5..], ["0.980 to 1.030", "undecided"]);
    }
}
