//! How long many things took.

/// Latencies in nanoseconds, ascending. More than four seconds count as four.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// In any order.
    pub(crate) fn of(mut nanoseconds: Vec<u32>) -> Self {
        nanoseconds.sort_unstable();
        Self(nanoseconds)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// A percentile in microseconds; `thousandths` 990 is p99. 0 if there are none.
    pub(crate) fn percentile_us(&self, thousandths: usize) -> f64 {
        let at = (self.0.len() * thousandths / 1_000).min(self.0.len().saturating_sub(1));
        f64::from(self.0.get(at).copied().unwrap_or_default()) / 1_000.0
    }

    /// The longest, in microseconds. 0 if there are none.
    pub(crate) fn longest_us(&self) -> f64 {
        self.percentile_us(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_found() {
        let latencies = Latencies::of((1..=1_000).rev().map(|us| us * 1_000).collect());
        assert_eq!([500, 990, 999].map(|thousandths| latencies.percentile_us(thousandths)), [501.0, 991.0, 1_000.0]);
        assert_eq!((latencies.count(), latencies.longest_us()), (1_000, 1_000.0));
        assert_eq!(Latencies::default().percentile_us(500), 0.0);
    }
}
