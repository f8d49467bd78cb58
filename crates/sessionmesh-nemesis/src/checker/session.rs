//! What is known of one session.

use std::collections::{BTreeMap, VecDeque};

use super::{Op, Said, Shown, What};
use crate::clock::Ms;

/// Lines of its history that are kept.
const LINES_MAX: usize = 80;
const LINES_OVER_MAX: usize = 10;
/// How far back what writers had seen is followed.
const ANCESTORS_MAX: usize = 1_000;

/// A change that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) node: usize,
    pub(crate) life: u32,
    pub(crate) begun: Ms,
    /// When it was acknowledged, if it was.
    pub(crate) acked: Option<Ms>,
    pub(crate) copies: usize,
    /// It was there when all had settled: it has all its copies, and crashes count from then on.
    pub(crate) settled: bool,
}

impl Change {
    const fn new(node: usize, life: u32, begun: Ms) -> Self {
        Self { node, life, begun, acked: None, copies: 0, settled: false }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) change: Change,
    /// It was never sent.
    pub(crate) refused: bool,
    /// It was answered, one way or the other; without that it may still be made.
    pub(crate) answered: bool,
    /// What `last` was for its writer; none: that is not known.
    saw: Option<Option<u64>>,
    /// Something newer was there when all had settled.
    pub(crate) superseded: bool,
    /// It was beyond what is promised, and lost.
    pub(crate) given_up: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) cookie: Option<String>,
    pub(crate) login: Option<Change>,
    pub(crate) writes: BTreeMap<u64, Write>,
    pub(crate) ends: Vec<Change>,
    /// It was ended at a settled moment.
    pub(crate) over: bool,
    /// It was beyond what is promised, and lost.
    pub(crate) given_up: bool,
    /// Its visitor was told "none" although nobody had asked for its end.
    pub(crate) logged_out: bool,
    lines: VecDeque<String>,
}

impl Session {
    pub(crate) const fn new(user: String) -> Self {
        Self {
            user,
            cookie: None,
            login: None,
            writes: BTreeMap::new(),
            ends: Vec::new(),
            over: false,
            given_up: false,
            logged_out: false,
            lines: VecDeque::new(),
        }
    }

    /// Whether its end was asked for, with whatever outcome.
    pub(crate) const fn may_be_over(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Whether its end was acknowledged.
    pub(crate) fn is_ended(&self) -> bool {
        self.ends.iter().any(|end| end.acked.is_some())
    }

    /// Whether its login was acknowledged, and nobody asked for its end.
    pub(crate) fn is_alive(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.acked.is_some()) && !self.may_be_over()
    }

    pub(crate) fn has_unknown_writes(&self) -> bool {
        self.writes.values().any(|write| !write.answered)
    }

    pub(crate) fn remember(&mut self, line: String) {
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Keeps less of a session that is over: there are many.
    pub(super) fn forget(&mut self) {
        self.lines.drain(..self.lines.len().saturating_sub(LINES_OVER_MAX));
        self.lines.shrink_to_fit();
        self.writes.clear();
    }

    pub(crate) fn history(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    pub(super) fn begin(&mut self, what: What, node: usize, life: u32, begun: Ms) {
        let change = Change::new(node, life, begun);
        match what {
            What::Login => self.login = Some(change),
            What::Write(number) => {
                let (refused, answered, superseded, given_up) = (false, false, false, false);
                self.writes.insert(number, Write { change, refused, answered, saw: None, superseded, given_up });
            }
            What::Logout => self.ends.push(change),
            What::Read => {}
        }
    }

    pub(super) fn end(&mut self, op: &Op) {
        if op.said == Said::None && !self.may_be_over() && !self.given_up {
            self.logged_out = true;
        }
        match op.what {
            What::Login => {
                if let Some(login) = &mut self.login {
                    acknowledge(login, op);
                }
            }
            What::Write(number) => {
                let Some(write) = self.writes.get_mut(&number) else { return };
                acknowledge(&mut write.change, op);
                write.answered = !matches!(op.said, Said::Unknown(_));
                write.refused = matches!(op.said, Said::Failed(_) | Said::None);
                if let Said::Done { shown: Some(shown), .. } = &op.said {
                    write.saw = Some(shown.last);
                }
            }
            What::Logout => match op.said {
                // Nothing was changed.
                Said::Failed(_) | Said::None => {
                    self.ends.retain(|end| end.begun != op.begun);
                }
                _ => {
                    if let Some(end) = self.ends.last_mut() {
                        acknowledge(end, op);
                    }
                }
            },
            What::Read => {}
        }
    }

    /// Whether `found` is certainly older than what `write` wrote: a chain of writers that had seen what they overwrote
    /// leads from the one to the other.
    pub(super) fn is_older(&self, found: Option<u64>, write: u64) -> bool {
        // Nothing removes it.
        let Some(found) = found else { return true };
        let mut at = self.writes.get(&write).and_then(|write| write.saw.flatten());
        for _ in 0..ANCESTORS_MAX {
            match at {
                Some(number) if number == found => return found != write,
                Some(number) => at = self.writes.get(&number).and_then(|write| write.saw.flatten()),
                None => return false,
            }
        }
        false
    }

    /// All nodes show this, and all has settled.
    pub(super) fn settle(&mut self, shown: &Shown) {
        if let Some(login) = &mut self.login {
            // A login of unknown outcome that is there was made.
            login.settled = true;
        }
        for (number, write) in &mut self.writes {
            let there = shown.numbers.contains(number);
            write.change.settled |= there;
            if write.change.acked.is_some() {
                write.given_up |= !there;
                write.superseded |= shown.last != Some(*number);
            }
        }
    }
}

fn acknowledge(change: &mut Change, op: &Op) {
    if let Said::Done { copies, .. } = op.said {
        change.acked = Some(op.ended);
        change.copies = copies;
    }
}
