//! Which attributes a request changed, seen from what it loaded and from what is there now.

use std::collections::HashMap;
use std::sync::Arc;

use sessionmesh_core::session::{Session, ValueBytes};

use super::base::{BASE_KEY, Base};
use super::value::RecordValue;
use crate::error::ValueError;
use crate::json::check_depth;

/// Written (some) and removed (none) attributes.
pub(super) type Puts = Vec<(Arc<str>, Option<ValueBytes>)>;

/// What to put into `theirs` so that it has what `mine` changed since `base`, and nothing else is touched. Without a
/// base all of `mine` counts as written, and all that it lacks as removed. An error if something written could not be read
/// again.
pub(super) fn three_way<V: RecordValue>(
    base: Option<&Base>,
    theirs: Option<&Session>,
    mine: &HashMap<String, V>,
) -> Result<Puts, ValueError> {
    let is_unchanged = |key: &str, value: &V| base.is_some_and(|base| base.has_same(key, value));
    let mut puts = writes(mine, |key, value| !is_unchanged(key, value))?;
    let is_removed = |key: &str| !mine.contains_key(key) && base.is_none_or(|base| base.has(key));
    let live = theirs.into_iter().flat_map(Session::live).map(|(key, _)| key);
    puts.extend(live.filter(|key| is_removed(key)).map(|key| (key.clone(), None)));
    Ok(puts)
}

/// What `mine` has that `base` did not have.
pub(super) fn added<V: RecordValue>(base: &Base, mine: &HashMap<String, V>) -> Result<Puts, ValueError> {
    writes(mine, |key, _| !base.has(key))
}

fn writes<V: RecordValue>(
    mine: &HashMap<String, V>,
    is_written: impl Fn(&str, &V) -> bool,
) -> Result<Puts, ValueError> {
    let written = mine.iter().filter(|(key, value)| *key != BASE_KEY && is_written(key, value));
    let put = |(key, value): (&String, &V)| {
        let bytes = value.to_bytes();
        check_depth(key, &bytes)?;
        Ok((Arc::from(&**key), Some(ValueBytes::from(bytes))))
    };
    written.map(put).collect()
}
