//! Where each setting comes from.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

use super::Config;
use super::error::Origin;
use super::keys::KEYS;
use super::load::shown_values;

/// The origins of the settings that were read, each with the value that was read: a program may set another one later.
/// Secrets are not repeated.
#[derive(Clone, Default)]
pub(super) struct Origins(BTreeMap<&'static str, (Option<Value>, Origin)>);

impl Origins {
    /// What the settings of `read`, whose values are `values`, come from.
    pub(super) fn of(read: BTreeMap<&'static str, Origin>, values: &Map<String, Value>) -> Self {
        Self(read.into_iter().map(|(key, origin)| (key, (values.get(key).cloned(), origin))).collect())
    }

    /// Of the settings that still have the values that were read.
    pub(super) fn still(&self, values: &Map<String, Value>) -> BTreeMap<&'static str, Origin> {
        let unchanged = self.0.iter().filter(|(key, (value, _))| values.get(**key) == value.as_ref());
        unchanged.map(|(key, (_, origin))| (*key, origin.clone())).collect()
    }
}

/// Settings are equal wherever they come from.
impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Without the values.
impl std::fmt::Debug for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, (_, origin))| (key, origin))).finish()
    }
}

impl Config {
    /// Where each setting comes from, by its name: every setting is there. A value that a program has put in place of what was
    /// read comes from the program.
    #[must_use]
    pub fn origins(&self) -> BTreeMap<&'static str, Origin> {
        let (values, defaults) = (shown_values(self), shown_values(&Self::default()));
        let mut origins = self.origins.still(&values);
        for &(key, _) in KEYS {
            // The values of secrets are not among the others.
            let is_default = values.get(key) == defaults.get(key) && (key != "secret" || self.secret.is_empty());
            let otherwise = if is_default { Origin::Default } else { Origin::Program };
            origins.entry(key).or_insert(otherwise);
        }
        origins
    }
}
