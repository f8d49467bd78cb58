//! What may happen in a configuration of the model.

use crate::cluster::{Budget, NODES};

/// A configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its name.
    pub name: &'static str,
    /// How many nodes are there and ready in the beginning.
    pub nodes: usize,
    /// In which order the nodes rank for each session: the first two that are there own it.
    pub ranks: &'static [[usize; NODES]],
    /// What may happen.
    pub budget: Budget,
    /// Which nodes write: bits.
    pub writers: u8,
    /// What is done before anything else happens.
    pub prompt: Prompt,
    /// After so many steps no further ones are looked at; 0 for no limit.
    pub depth_max: usize,
}

/// What nodes do as soon as they can, to save states. What is not prompt comes at any later time, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Scans of the store and audits.
    pub scans: bool,
    /// Sending, merging and reading the answer are one step.
    pub answers: bool,
    /// Two nodes ping each other at the same time.
    pub pings: bool,
}

impl Bounds {
    /// How many sessions there are.
    #[must_use]
    pub const fn sessions(&self) -> usize {
        self.ranks.len()
    }
}

const AB: &[[usize; NODES]] = &[[0, 1, 2]];
const CA: &[[usize; NODES]] = &[[2, 0, 1]];
const TWO: &[[usize; NODES]] = &[[0, 1, 2], [2, 0, 1]];

const NONE: Budget =
    Budget { writes: 0, ends: 0, late_saves: 0, unawaited: 0, crashes: 0, cuts: 0, stalls: 0, joins: 0, leaves: 0 };
const ALL_AT_ANY_TIME: Prompt = Prompt { scans: false, answers: false, pings: false };
const PROMPT: Prompt = Prompt { scans: true, answers: true, pings: true };

/// What is checked.
///
/// `depth_max` of 0: all states. The others have too many, and are checked to the depth that is named.
pub const ALL: &[Bounds] = &[
    Bounds {
        name: "three writers",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 3, unawaited: 1, ..NONE },
        writers: 0b111,
        prompt: ALL_AT_ANY_TIME,
        depth_max: 0,
    },
    Bounds {
        name: "logout and late save",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 2, ends: 1, late_saves: 1, ..NONE },
        writers: 0b101,
        prompt: ALL_AT_ANY_TIME,
        depth_max: 0,
    },
    Bounds {
        name: "two sessions",
        nodes: 3,
        ranks: TWO,
        budget: Budget { writes: 2, ..NONE },
        writers: 0b101,
        prompt: ALL_AT_ANY_TIME,
        depth_max: 0,
    },
    Bounds {
        name: "crash",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 2, crashes: 1, ..NONE },
        writers: 0b101,
        prompt: PROMPT,
        depth_max: 0,
    },
    Bounds {
        name: "crash and logout",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 1, ends: 1, crashes: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 0,
    },
    Bounds {
        name: "crash, two sessions",
        nodes: 3,
        ranks: TWO,
        budget: Budget { writes: 1, crashes: 1, ..NONE },
        writers: 0b101,
        prompt: PROMPT,
        depth_max: 0,
    },
    Bounds {
        name: "crash, all at any time",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 2, crashes: 1, ..NONE },
        writers: 0b001,
        prompt: ALL_AT_ANY_TIME,
        depth_max: 14,
    },
    Bounds {
        name: "crash and restart",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 1, crashes: 1, joins: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 19,
    },
    Bounds {
        name: "join",
        nodes: 2,
        ranks: CA,
        budget: Budget { writes: 1, joins: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 0,
    },
    Bounds {
        name: "join, two writes",
        nodes: 2,
        ranks: CA,
        budget: Budget { writes: 2, joins: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 20,
    },
    Bounds {
        name: "join and logout",
        nodes: 2,
        ranks: CA,
        budget: Budget { writes: 1, ends: 1, joins: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 19,
    },
    Bounds {
        name: "join and crash",
        nodes: 2,
        ranks: CA,
        budget: Budget { writes: 1, joins: 1, crashes: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 0,
    },
    Bounds {
        name: "stall",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 2, stalls: 1, ..NONE },
        writers: 0b011,
        prompt: PROMPT,
        depth_max: 20,
    },
    Bounds {
        name: "cut",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 1, cuts: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 16,
    },
    Bounds {
        name: "leave",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 1, leaves: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 18,
    },
    Bounds {
        name: "leave and crash",
        nodes: 3,
        ranks: AB,
        budget: Budget { writes: 1, leaves: 1, crashes: 1, ..NONE },
        writers: 0b001,
        prompt: PROMPT,
        depth_max: 13,
    },
];

/// The configuration of this name.
#[must_use]
pub fn named(name: &str) -> Option<Bounds> {
    ALL.iter().copied().find(|bounds| bounds.name == name)
}
