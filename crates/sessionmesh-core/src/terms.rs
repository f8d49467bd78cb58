//! What the settings of a member say about things that concern all members, and what is in force while they differ.
//!
//! Each member says its [`Terms`] by gossip, so they are part of every view. What has to be the same everywhere is
//! computed from the view: members with one view go by the same terms, also during a rolling restart that changes them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::placement::view::View;

#[cfg(test)]
mod tests;

/// Which nodes hold a copy of a session. Modes are ordered by the number of copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// A primary and some backups, as far as there are nodes. The cost does not grow with the cluster.
    PrimaryBackup {
        /// The number of backups. That many nodes may crash at the same moment. With 0, a session has only one copy.
        backups: u8,
    },
    /// Every node holds every session. All reads are local, but memory and traffic grow with the number of nodes. For
    /// clusters of a few nodes.
    AllToAll,
}

impl Default for Mode {
    /// A primary and one backup.
    fn default() -> Self {
        Self::PrimaryBackup { backups: 1 }
    }
}

impl Mode {
    /// The mode as a number that grows with the copies: the backups, or 255 for all members. Part of the protocol.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::PrimaryBackup { backups } => backups,
            Self::AllToAll => u8::MAX,
        }
    }

    /// The mode of this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            u8::MAX => Self::AllToAll,
            backups => Self::PrimaryBackup { backups },
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrimaryBackup { backups } => write!(f, "primary-backup with backups = {backups}"),
            Self::AllToAll => f.write_str("all-to-all"),
        }
    }
}

/// The settings that should be equal on all members. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the setting of its name")]
pub struct Terms {
    pub mode: Mode,
    pub commit_deadline_ms: u64,
    pub gossip_interval_ms: u64,
    pub max_inactive_ms: u64,
    pub tombstone_retention_ms: u64,
    pub max_tombstones: u64,
    pub max_attributes: u64,
    pub max_key_bytes: u64,
    pub max_value_bytes: u64,
    pub max_session_bytes: u64,
    pub max_sessions_per_user: u64,
    /// Identifies the rule by which nodes find the user of a session; 0 for none.
    pub user_rule: u64,
}

/// One of the terms: which setting it is, the most that it may be, and what goes on while members differ.
struct Term {
    setting: &'static str,
    most: u64,
    unit: &'static str,
    meanwhile: &'static str,
}

const LARGEST: &str = "the largest is in force";
const YEAR_MS: u64 = 366 * 24 * 60 * 60 * 1000;
const SESSION_BYTES: u64 = 16 << 20;

const TERMS: [Term; 12] = [
    term("mode", 255, "", "the larger number of copies is in force"),
    term("commit_deadline", YEAR_MS, " ms", "leases between two nodes follow from the shorter deadline"),
    term("gossip_interval", YEAR_MS, " ms", "each node keeps its own, and allows for those of the others"),
    term("max_inactive", YEAR_MS, " ms", "each session keeps the limit that it was created with"),
    term("tombstone_retention", YEAR_MS, " ms", LARGEST),
    term("max_tombstones", 1_000_000_000, "", LARGEST),
    term("max_attributes", 4_096, "", LARGEST),
    term("max_key_bytes", 65_535, "", LARGEST),
    term("max_value_bytes", SESSION_BYTES, "", LARGEST),
    term("max_session_bytes", SESSION_BYTES, "", LARGEST),
    term("max_sessions_per_user", 65_536, "", "each node applies its own limit to the logins on it"),
    term("user_attribute", u64::MAX, "", "lists of a user's sessions, and ending them all, fail with \"cannot tell\""),
];

const fn term(setting: &'static str, most: u64, unit: &'static str, meanwhile: &'static str) -> Term {
    Term { setting, most, unit, meanwhile }
}

/// Where the rule is in [`TERMS`].
const RULE: usize = TERMS.len() - 1;

impl Terms {
    /// Terms that ask for nothing.
    pub const NONE: Self = Self::of([0; TERMS.len()]);

    /// The terms that are in force for two members with different terms: the larger value of each. Rules have no order;
    /// if they differ, no rule is in force.
    #[must_use]
    pub fn largest(self, other: Self) -> Self {
        let (one, other) = (self.numbers(), other.numbers());
        Self::of(std::array::from_fn(|at| match at {
            RULE if one[at] != other[at] => 0,
            _ => one[at].max(other[at]),
        }))
    }

    fn numbers(&self) -> [u64; TERMS.len()] {
        [
            u64::from(self.mode.number()),
            self.commit_deadline_ms,
            self.gossip_interval_ms,
            self.max_inactive_ms,
            self.tombstone_retention_ms,
            self.max_tombstones,
            self.max_attributes,
            self.max_key_bytes,
            self.max_value_bytes,
            self.max_session_bytes,
            self.max_sessions_per_user,
            self.user_rule,
        ]
    }

    const fn of(numbers: [u64; TERMS.len()]) -> Self {
        let [mode, deadline, gossip, inactive, retention, tombstones, attributes, key, value, session, of_a_user, rule] =
            numbers;
        Self {
            mode: Mode::from_number(if mode > 255 { u8::MAX } else { mode.to_le_bytes()[0] }),
            commit_deadline_ms: deadline,
            gossip_interval_ms: gossip,
            max_inactive_ms: inactive,
            tombstone_retention_ms: retention,
            max_tombstones: tombstones,
            max_attributes: attributes,
            max_key_bytes: key,
            max_value_bytes: value,
            max_session_bytes: session,
            max_sessions_per_user: of_a_user,
            user_rule: rule,
        }
    }
}

/// The form in which gossip carries them: the numbers in their order.
impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbers().map(|number| number.to_string());
        f.write_str(&numbers.join(" "))
    }
}

/// Text that does not say terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTerms;

/// Reads the terms from gossip. Additions of a later version are skipped; a number that no setting can be counts as the
/// largest.
impl FromStr for Terms {
    type Err = InvalidTerms;

    fn from_str(text: &str) -> Result<Self, InvalidTerms> {
        let mut said = text.split(' ');
        let mut numbers = [0; TERMS.len()];
        for (number, term) in numbers.iter_mut().zip(&TERMS) {
            let parsed = said.next().and_then(|text| text.parse::<u64>().ok());
            *number = parsed.ok_or(InvalidTerms)?.min(term.most);
        }
        Ok(Self::of(numbers))
    }
}

/// A setting that is not the same on all members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The setting.
    pub setting: &'static str,
    /// Each value, and the names of the members that have it.
    pub values: Vec<(String, Vec<Arc<str>>)>,
    /// What applies until the setting is equal on all members.
    pub meanwhile: &'static str,
}

impl Difference {
    /// The settings in which the members of `view` differ.
    #[must_use]
    pub fn all(view: &View) -> Vec<Self> {
        let said: Vec<_> = view.members().iter().map(|member| (&member.name, member.terms.numbers())).collect();
        let difference = |(at, term): (usize, &Term)| {
            let mut by_value: BTreeMap<u64, Vec<Arc<str>>> = BTreeMap::new();
            for (name, numbers) in &said {
                by_value.entry(numbers[at]).or_default().push(Arc::clone(name));
            }
            let values = by_value.into_iter().map(|(number, names)| (term.value(at, number), names)).collect();
            let found = Self { setting: term.setting, values, meanwhile: term.meanwhile };
            (found.values.len() > 1).then_some(found)
        };
        TERMS.iter().enumerate().filter_map(difference).collect()
    }

    /// Whether `other` has the same values of the same setting, on whatever members.
    #[must_use]
    pub fn has_values_of(&self, other: &Self) -> bool {
        let values = |of: &Self| of.values.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>();
        self.setting == other.setting && values(self) == values(other)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |(value, names): &(String, Vec<Arc<str>>)| format!("{value} on {}", names.join(", "));
        let values: Vec<String> = self.values.iter().map(value).collect();
        write!(f, "`{}` is {}; {} until it is the same everywhere", self.setting, values.join("; "), self.meanwhile)
    }
}

impl Term {
    fn value(&self, at: usize, number: u64) -> String {
        match at {
            0 => Terms::of([number; TERMS.len()]).mode.to_string(),
            RULE if number == 0 => "not set".to_owned(),
            RULE => format!("the rule {number:016x}"),
            _ => format!("{number}{}", self.unit),
        }
    }
}
