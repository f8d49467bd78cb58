//! Work that is divided among several.

/// How many of `count` things the one with this number gets, of so many that share them as evenly as can be.
pub(crate) const fn of(count: usize, number: usize, among: usize) -> usize {
    count / among + if number < count % among { 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for (count, among) in [(0, 3), (2, 3), (10, 4), (12, 4)] {
            let shares: Vec<usize> = (0..among).map(|number| super::of(count, number, among)).collect();
            assert_eq!(shares.iter().sum::<usize>(), count);
            assert!(shares.iter().all(|share| shares[0] - share <= 1), "{shares:?}");
        }
    }
}
