//! What must be reached, and how far it is.

use super::Figures;

/// On which side of a value a figure must lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Something to reach, measured in this run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// What it is, for the table.
    pub(crate) what: &'static str,
    /// The unit of what was measured; empty for a ratio.
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
    /// Finds the value among the figures; none if it was not measured.
    pub(crate) value: fn(&Figures) -> Option<f64>,
}

impl Goal {
    /// The row of the table: what, value, bound, verdict with the distance. None if it was not measured.
    pub(crate) fn row(&self, figures: &Figures) -> Option<Vec<String>> {
        let value = (self.value)(figures)?;
        let number = |value: f64| {
            let text = if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") };
            format!("{text} {}", self.unit).trim_end().to_owned()
        };
        let (sign, bound, reached) = match self.bound {
            Bound::AtLeast(bound) => ("at least", bound, value >= bound),
            Bound::AtMost(bound) => ("at most", bound, value <= bound),
        };
        let verdict = if reached {
            "reached".to_owned()
        } else if bound == 0.0 {
            "missed".to_owned()
        } else {
            format!("missed by {:.0} %", ((value - bound) / bound * 100.0).abs().ceil())
        };
        Some(vec![self.what.to_owned(), number(value), format!("{sign} {}", number(bound)), verdict])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_says_how_far_it_is() {
        let mut figures = Figures::default();
        figures.add("a", "1/s", 84.0);
        figures.add("b", "1/s", 100.0);
        let value = |figures: &Figures| figures.ratio("a", "b");
        let goal = Goal { what: "reads", unit: "", bound: Bound::AtLeast(0.9), value };
        assert_eq!(goal.row(&figures).unwrap(), ["reads", "0.84", "at least 0.90", "missed by 7 %"]);
        let easier = Goal { bound: Bound::AtLeast(0.84), ..goal };
        assert_eq!(easier.row(&figures).unwrap()[3], "reached");
        let none = Goal { what: "lost", unit: "commits", bound: Bound::AtMost(0.0), value: |f| f.median("a") };
        assert_eq!(none.row(&figures).unwrap(), ["lost", "84.00 commits", "at most 0.00 commits", "missed"]);
        assert_eq!(Goal { value: |_| None, ..goal }.row(&figures), None);
    }
}
