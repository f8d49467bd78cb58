//! A scenario as text in RON, one fault a line, and back. Comments begin with `//`.

use std::fmt;
use std::str::FromStr;

use ron::extensions::Extensions;
use ron::ser::PrettyConfig;

use super::{Episode, Event, Fault, Kind, Mode, Scenario};

/// Deeper than this all is on one line: the pairs and the mix of the load.
const DEPTH: usize = 2;
/// How the text of a scenario without episodes ends. They are the last field, and written line by line.
const NO_EPISODES: &str = "  episodes: [],\n)";

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScenarioError {
    /// It does not parse.
    Syntax {
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
        /// Why.
        why: String,
    },
    /// It parses, but cannot be played.
    Impossible(String),
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column, why } => write!(f, "line {line}, column {column}: {why}"),
            Self::Impossible(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ScenarioError {}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pretty = PrettyConfig::new().depth_limit(DEPTH).indentor("  ").compact_arrays(true);
        let head = Self { episodes: Vec::new(), ..self.clone() };
        let head = ron::ser::to_string_pretty(&head, pretty).map_err(|_| fmt::Error)?;
        let head = head.strip_suffix(NO_EPISODES).ok_or(fmt::Error)?;
        writeln!(f, "{head}  episodes: [")?;
        for Episode { length_ms, events } in &self.episodes {
            if events.is_empty() {
                writeln!(f, "    (length_ms: {length_ms}, events: []),")?;
                continue;
            }
            writeln!(f, "    (length_ms: {length_ms}, events: [")?;
            for Event { at_ms, fault } in events {
                let fault = ron::ser::to_string_pretty(fault, PrettyConfig::new().depth_limit(0));
                writeln!(f, "      (at_ms: {at_ms}, fault: {}),", fault.map_err(|_| fmt::Error)?)?;
            }
            writeln!(f, "    ]),")?;
        }
        writeln!(f, "  ],\n)")
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
        let scenario: Self = options.from_str(text).map_err(|error| ScenarioError::Syntax {
            line: error.span.start.line,
            column: error.span.start.col,
            why: error.code.to_string(),
        })?;
        scenario.validate().map_err(ScenarioError::Impossible)?;
        Ok(scenario)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllToAll => f.write_str("all-to-all"),
            Self::PrimaryBackup(backups) => write!(f, "primary-backup-{backups}"),
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let backups = text.strip_prefix("primary-backup-").and_then(|backups| backups.parse().ok());
        match backups {
            Some(backups @ 1..) => Ok(Self::PrimaryBackup(backups)),
            None if text == "all-to-all" => Ok(Self::AllToAll),
            _ => Err("a mode is all-to-all, or primary-backup-N with at least one backup".to_owned()),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| kind).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(_, name)| *name).collect();
            format!("a kind is one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node) => write!(f, "crash n{node}"),
            Self::PowerLoss(node) => write!(f, "power loss n{node}"),
            Self::Start(node) => write!(f, "start n{node}"),
            Self::Leave(node) => write!(f, "leave n{node}"),
            Self::Freeze(node) => write!(f, "freeze n{node}"),
            Self::Thaw(node) => write!(f, "thaw n{node}"),
            Self::Cut(one, other) => write!(f, "cut n{one} - n{other}"),
            Self::CutOneWay(from, to) => write!(f, "cut n{from} -> n{to}"),
            Self::Hold(one, other) => write!(f, "hold n{one} - n{other}"),
            Self::HoldStreams(one, other) => write!(f, "hold connections n{one} - n{other}"),
            Self::Reset(one, other) => write!(f, "reset connections n{one} - n{other}"),
            Self::Slow(one, other, ms) => write!(f, "slow n{one} - n{other}: {ms} ms"),
            Self::LoseDatagrams(thousandths) => write!(f, "lose {thousandths} of 1000 datagrams"),
            Self::LoseMulticast => write!(f, "lose beacons"),
            Self::Heal => write!(f, "heal links"),
            Self::Jump(node, ms) => write!(f, "clock of n{node} jumps {ms} ms"),
            Self::Burst(node, sessions) => write!(f, "{sessions} new sessions on n{node}"),
        }
    }
}
