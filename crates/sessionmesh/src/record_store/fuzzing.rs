//! What records carry of their own past, for fuzz targets.

use std::collections::HashMap;

use super::base::{BASE_KEY, Base, base_in, rebase};
use super::merge::three_way;
use super::value::RecordValue;

/// Whether this text counts as the past of a record.
#[must_use]
pub fn is_base(text: &str) -> bool {
    Base::read(text).is_some()
}

/// Lets `values` carry what they are now, and says what a save would then write or remove: nothing, unless reading back fails.
pub fn written_unchanged<V: RecordValue>(values: &mut HashMap<String, V>) -> Option<usize> {
    rebase(7, values);
    let base = base_in(values)?;
    let unchanged = values.iter().filter(|(key, _)| *key != BASE_KEY).all(|(key, value)| base.has_same(key, value));
    three_way(Some(&base), None, values).ok().filter(|_| unchanged).map(|puts| puts.len())
}
