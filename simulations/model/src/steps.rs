//! The steps that a cluster can take, and how they are told.

use std::fmt;

use crate::cluster::Name;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is told in words below")]
pub enum Step {
    Write { at: usize, session: usize },
    LateSave { at: usize, session: usize },
    End { at: usize, session: usize },
    GiveUp { at: usize, session: usize },
    Send { at: usize, to: usize, session: usize },
    Answered { at: usize, to: usize, session: usize },
    MergeLate { at: usize, to: usize, session: usize },
    Ping { at: usize, to: usize },
    LeaseOver { at: usize, to: usize },
    Outlasts { at: usize, to: usize },
    Overdue { at: usize, to: usize },
    Silence { at: usize, to: usize },
    LongSilence { at: usize, to: usize },
    Learn { at: usize, to: usize },
    Remove { at: usize, to: usize },
    Scan { at: usize },
    Audit { at: usize, to: usize },
    Ready { at: usize },
    Stop { at: usize },
    Crash { at: usize },
    Start { at: usize },
    Leave { at: usize },
    Freeze { at: usize },
    Thaw { at: usize },
    Cut { links: u8 },
    Heal,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Name;
        match *self {
            Self::Write { at, session } => write!(f, "a visitor writes to session {session} on {}", name(at)),
            Self::LateSave { at, session } => {
                write!(f, "a request that read session {session} long ago writes to it on {}", name(at))
            }
            Self::End { at, session } => write!(f, "a visitor logs out of session {session} on {}", name(at)),
            Self::GiveUp { at, session } => {
                write!(f, "nobody waits any longer for the commit on session {session} on {}", name(at))
            }
            Self::Send { at, to, session } => {
                write!(f, "{} sends what {} may lack of session {session}, which merges it", name(at), name(to))
            }
            Self::Answered { at, to, session } => {
                write!(f, "{} reads the answer of {} about session {session}", name(at), name(to))
            }
            Self::MergeLate { at, to, session } => {
                write!(f, "{} merges what it had of session {session} from {}", name(to), name(at))
            }
            Self::Ping { at, to } => {
                write!(f, "{} pings {}, which answers with its view, and a lease or none", name(at), name(to))
            }
            Self::LeaseOver { at, to } => {
                write!(f, "the last lease runs out that {} granted to {}", name(at), name(to))
            }
            Self::Outlasts { at, to } => {
                write!(f, "{} has reported its view to {} for as long as a lease lasts", name(to), name(at))
            }
            Self::Silence { at, to } => {
                write!(f, "{} suspects {}, which is silent, and gives the link up", name(at), name(to))
            }
            Self::Overdue { at, to } => {
                write!(f, "{} suspects {}, which has owed an answer for a moment", name(at), name(to))
            }
            Self::LongSilence { at, to } => {
                write!(f, "{} has been silent to {} for long: it is cut off", name(to), name(at))
            }
            Self::Learn { at, to } => {
                write!(f, "{} hears by gossip what {} says of itself, and adopts another view", name(at), name(to))
            }
            Self::Remove { at, to } => write!(f, "{} removes {} from its view", name(at), name(to)),
            Self::Scan { at } => write!(f, "{} scans its store, and marks what others must have", name(at)),
            Self::Audit { at, to } => write!(f, "{} compares what it holds with {}", name(at), name(to)),
            Self::Ready { at } => write!(f, "{} is ready", name(at)),
            Self::Stop { at } => write!(f, "{} has handed over what it held, and stops", name(at)),
            Self::Crash { at } => write!(f, "CRASH of {}", name(at)),
            Self::Start { at } => write!(f, "START of {}, as an empty node", name(at)),
            Self::Leave { at } => write!(f, "{} begins to leave", name(at)),
            Self::Freeze { at } => write!(f, "STALL of {}", name(at)),
            Self::Thaw { at } => write!(f, "{} runs again; its leases have run out", name(at)),
            Self::Cut { links } => {
                let pairs = [(0, 1), (0, 2), (1, 2)].into_iter().enumerate();
                let cut: Vec<_> = pairs
                    .filter(|(bit, _)| links >> bit & 1 == 1)
                    .map(|(_, (a, b))| format!("{}-{}", name(a), name(b)))
                    .collect();
                write!(f, "CUT of {}", cut.join(" and "))
            }
            Self::Heal => f.write_str("all cuts are HEALED"),
        }
    }
}
