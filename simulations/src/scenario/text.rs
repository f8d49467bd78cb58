//! A scenario as text, one fault a line, in RON.

use std::fmt;
use std::str::FromStr;

use ron::extensions::Extensions;
use ron::ser::PrettyConfig;

use super::{Fault, Scenario};

/// Deeper than this all is on one line: an event of an episode.
const DEPTH: usize = 4;

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pretty = PrettyConfig::new().depth_limit(DEPTH).indentor("  ");
        let text = ron::ser::to_string_pretty(self, pretty).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

impl FromStr for Scenario {
    type Err = ron::error::SpannedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME).from_str(text)
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
            Self::Slow(one, other, ms) => write!(f, "slow n{one} - n{other}: {ms} ms"),
            Self::LoseDatagrams(thousandths) => write!(f, "lose {thousandths} of 1000 datagrams"),
            Self::LoseMulticast => write!(f, "lose beacons"),
            Self::Heal => write!(f, "heal links"),
            Self::Jump(node, ms) => write!(f, "clock of n{node} jumps {ms} ms"),
            Self::Burst(node, sessions) => write!(f, "{sessions} new sessions on n{node}"),
        }
    }
}
