//! Which versions of the protocol a node speaks, and which one two nodes speak with each other.
//!
//! Each link has one version: the highest that both sides speak. The first words (hello, welcome, refused) and everything that
//! is said to nobody in particular have none, and must be understood by every version, for ever.

use std::fmt;

use crate::failpoint::{self, Bug};

/// A version of the protocol, as one link speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u16);

impl Version {
    /// The oldest version that this build speaks.
    pub const OLDEST: Self = Self(4);
    /// The newest version that this build speaks.
    pub const NEWEST: Self = Self(4);
    /// The version after that, which nobody has written yet. Tests of an upgrade speak it: it differs from [`Version::NEWEST`]
    /// in that each message ends with the number of the version.
    pub const REHEARSED: Self = Self(Self::NEWEST.0 + 1);

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What each message of this version ends with, if it is later than all that were written.
    pub(super) const fn rehearsal(self) -> Option<[u8; 2]> {
        if self.0 > Self::NEWEST.0 { Some(self.0.to_le_bytes()) } else { None }
    }
}

/// The versions that a node speaks: all from the oldest to the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    oldest: u16,
    newest: u16,
}

impl Versions {
    /// Those of this build.
    pub const OURS: Self = Self { oldest: Version::OLDEST.0, newest: Version::NEWEST.0 };

    /// From the number of the oldest to that of the newest. What a node says of itself may be anything: with the two numbers the
    /// wrong way round it has no version in common with anybody.
    #[must_use]
    pub const fn new(oldest: u16, newest: u16) -> Self {
        Self { oldest, newest }
    }

    /// The number of the oldest version.
    #[must_use]
    pub const fn oldest(self) -> u16 {
        self.oldest
    }

    /// The number of the newest version.
    #[must_use]
    pub const fn newest(self) -> u16 {
        self.newest
    }

    /// The version that a link between this node and one that speaks `other` has: the highest that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Version> {
        let newest = self.newest.min(other.newest);
        let spoken = newest >= self.oldest && newest >= other.oldest;
        if spoken && failpoint::planted(Bug::OwnNewestVersion) {
            return Some(Version(self.newest));
        }
        spoken.then_some(Version(newest))
    }

    /// Whether the two have a version in common.
    #[must_use]
    pub fn understand(self, other: Self) -> bool {
        self.common(other).is_some()
    }

    /// The version of this number, if it is one of these.
    #[must_use]
    pub fn spoken(self, number: u16) -> Option<Version> {
        self.common(Self::new(number, number))
    }

    /// How a node says them by gossip.
    #[must_use]
    pub fn said(self) -> String {
        format!("{} {}", self.oldest, self.newest)
    }

    /// What a node said by gossip. Additions of a later version are skipped.
    #[must_use]
    pub fn heard(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(str::parse);
        Some(Self::new(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// `4`, or `4 to 5`.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "{}", self.newest),
            false => write!(f, "{} to {}", self.oldest, self.newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_speak_the_highest_version_that_both_know_whoever_asks() {
        let common = |one: (u16, u16), other: (u16, u16)| {
            let (one, other) = (Versions::new(one.0, one.1), Versions::new(other.0, other.1));
            assert_eq!(one.common(other), other.common(one), "{one} and {other}");
            one.common(other).map(Version::number)
        };
        // A node of N and N+1 talks with one of N, and with one of N+1 and N+2; those two do not.
        assert_eq!(common((4, 4), (4, 5)), Some(4));
        assert_eq!(common((4, 5), (5, 6)), Some(5));
        assert_eq!(common((4, 4), (5, 6)), None);
        assert_eq!(common((4, 9), (5, 7)), Some(7));
        assert_eq!(common((4, 4), (0, 0)), None);
        assert_eq!(common((4, 4), (9, 1)), None, "the wrong way round");
        assert_eq!(Versions::new(4, 5).spoken(5), Some(Version(5)));
        assert_eq!(Versions::new(4, 5).spoken(6), None);
    }

    #[test]
    fn gossip_carries_the_two_numbers_and_what_later_versions_add_is_skipped() {
        let versions = Versions::new(4, 12);
        assert_eq!((versions.said().as_str(), versions.to_string().as_str()), ("4 12", "4 to 12"));
        assert_eq!(Versions::new(4, 4).to_string(), "4");
        for text in ["4 12", "4 12 and more", "4 12 77"] {
            assert_eq!(Versions::heard(text), Some(versions), "{text}");
        }
        for text in ["", "4", "4 ", "four twelve", "4 70000", "-1 4"] {
            assert_eq!(Versions::heard(text), None, "{text}");
        }
    }

    #[test]
    fn only_versions_that_nobody_has_written_are_rehearsed() {
        assert_eq!(Version::NEWEST.rehearsal(), None);
        assert_eq!(Version::REHEARSED.rehearsal(), Some((Version::NEWEST.number() + 1).to_le_bytes()));
        const { assert!(Version::OLDEST.0 <= Version::NEWEST.0) };
    }
}
