//! What a node may conclude about a session from what others say they hold of it.

pub mod user_round;

use crate::coverage::{self, Path};
use crate::failpoint::{self, Bug};
use crate::id::SessionId;
use crate::moment::Moment;
use crate::placement::view::ViewHash;
use crate::session::{Record, Status};
use crate::wire::message::{Held, ReadReply};

/// What is known of an id.
#[derive(Debug)]
pub enum Found {
    /// The session.
    Live(Record),
    /// It has ended, and goes on under another id.
    Renewed {
        /// That id.
        successor: SessionId,
        /// How long ago it ended, in milliseconds.
        ago_ms: u64,
    },
    /// It has moved to this id, where reads follow.
    Moved(SessionId),
    /// It was ended for good.
    Ended,
    /// There never was such a session, or it expired, or its tombstone is gone.
    Nothing,
}

impl Found {
    /// How a session that is not live any more ended.
    #[must_use]
    pub fn ended(record: &Record, now: Moment) -> Self {
        let Some(end) = record.session.invalidated() else { return Self::Nothing };
        match (end.readable_at(now), end.successor) {
            (Some(moved), _) => Self::Moved(moved),
            (None, Some(successor)) => Self::Renewed { successor: successor.id(), ago_ms: now.ms_since(end.since) },
            (None, None) => Self::Ended,
        }
    }

    /// Where reads follow a session that has moved.
    #[must_use]
    pub const fn moved_to(&self) -> Option<SessionId> {
        if let Self::Moved(successor) = self { Some(*successor) } else { None }
    }
}

/// What this node knows when it begins to ask.
#[derive(Debug)]
pub struct Asker {
    /// The view under which it asks.
    pub view: ViewHash,
    /// It is an owner by that view.
    pub is_owner: bool,
    /// It knows that it has missed nothing of what it owns.
    pub is_current: bool,
    /// What it holds of the session.
    pub held: Option<Record>,
    /// It ran of late, so it can tell who is silent.
    pub is_awake: bool,
    /// All members that had copies may have vanished.
    pub is_blind: bool,
}

/// Why somebody who may hold the session said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// It is silent for so long that its answer is not waited for.
    pub is_silent: bool,
    /// It is silent for so long that nobody waits for it at all.
    pub is_cut_off: bool,
}

/// Everybody who may hold a session is asked once: what came of it. Owners count most, others may hold something that no
/// owner has yet.
#[derive(Debug)]
pub struct ReadRound {
    view: ViewHash,
    /// All that was heard, merged with what this node holds.
    best: Option<Record>,
    /// Somebody who has missed nothing told what it holds.
    decisive: bool,
    /// An owner holds it: this node, or one that answered. What others hold, to pass it on, may be a write upon an old
    /// copy that no owner has seen.
    vouched: bool,
    /// Every owner that is not cut off said "nothing", and knows that it has missed nothing, under this node's view.
    nowhere: bool,
    /// Every owner answered that is not cut off.
    complete: bool,
    /// An owner is cut off, so what it alone may hold is not known.
    cut_off: bool,
    /// Somebody who did not answer may still do so.
    pending: bool,
    /// All members that had copies may have vanished, when everybody was asked.
    blind: bool,
}

/// What a round came to.
#[derive(Debug)]
pub enum Verdict {
    /// The session.
    Live(Record),
    /// It has ended like this.
    Ended(Found),
    /// There is none. `unknown_to_all`: nobody holds anything of it, also not that it is past its limit.
    NoSuchSession {
        /// See there.
        unknown_to_all: bool,
    },
    /// It is not known.
    Unclear(Unclear),
}

impl Verdict {
    const fn unclear(why: &'static str) -> Self {
        Self::Unclear(Unclear::for_now(why))
    }
}

/// Why something is not known, and whether asking again can change that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// For the error.
    pub why: &'static str,
    /// It stays so until nodes come back, or for as long as a session may be idle.
    pub lasting: bool,
    /// Asking again before the deadline changes nothing.
    pub at_once: bool,
}

impl Unclear {
    /// Asking again may change it.
    #[must_use]
    pub const fn for_now(why: &'static str) -> Self {
        Self { why, lasting: false, at_once: false }
    }

    /// An owner is cut off. That may end at any time, but not within this request.
    const CUT_OFF: Self = Self { why: "one of its owners cannot be reached", lasting: false, at_once: true };
}

impl ReadRound {
    /// Nobody was asked yet.
    #[must_use]
    pub fn new(asker: Asker) -> Self {
        Self {
            view: asker.view,
            // An owner that is current knows that it has missed nothing, so only a miss makes it ask.
            nowhere: asker.held.is_none() && (!asker.is_owner || asker.is_current),
            vouched: asker.is_owner && asker.held.is_some(),
            best: asker.held,
            decisive: false,
            complete: true,
            cut_off: false,
            pending: !asker.is_awake,
            blind: asker.is_blind,
        }
    }

    /// Somebody could not be asked.
    pub fn on_unreachable(&mut self, is_owner: bool, silence: Silence) {
        let cut_off = is_owner && silence.is_cut_off;
        self.cut_off |= cut_off;
        self.complete &= !is_owner || cut_off;
        self.nowhere &= !is_owner || cut_off;
        self.pending |= !silence.is_silent;
    }

    /// Somebody was asked and gave no reply.
    pub fn on_no_reply(&mut self, is_owner: bool, is_silent: bool) {
        self.complete &= !is_owner;
        self.nowhere &= !is_owner;
        self.pending |= !is_silent;
    }

    /// Somebody told what it holds. The reply is read at `now` and came at `arrived`.
    pub fn on_reply(&mut self, reply: &ReadReply<'_>, is_owner: bool, now: Moment, arrived: Moment) {
        let agrees = ViewHash(reply.view) == self.view;
        match &reply.held {
            Held::Same { age_ms } => {
                self.note_access(arrived.minus_ms(*age_ms));
                self.decisive |= reply.current && agrees;
                self.vouched |= is_owner;
            }
            Held::This(delta) => {
                delta.apply_at(&mut self.best, now, arrived);
                // Merging takes a small advance for the journey of the message; here nothing is passed on.
                self.note_access(arrived.minus_ms(delta.age_ms));
                self.decisive |= reply.current && agrees;
                self.vouched |= is_owner;
                self.nowhere = false;
            }
            Held::Nothing if is_owner && failpoint::planted(Bug::MissBelieved) => self.nowhere = true,
            Held::Nothing => self.nowhere &= !is_owner || (reply.current && agrees),
            Held::Abstains => {
                self.nowhere &= !is_owner;
                self.complete &= !is_owner;
            }
        }
    }

    /// What this node itself holds once all was heard: it may have come meanwhile. `is_owner`: by the view of the question.
    pub fn on_own_copy(&mut self, held: Record, is_owner: bool) {
        match &mut self.best {
            Some(best) => {
                best.merge(&held);
            }
            None => self.best = Some(held),
        }
        self.vouched |= is_owner;
        self.nowhere = false;
    }

    fn note_access(&mut self, access: Moment) {
        if let Some(best) = &mut self.best {
            best.access = best.access.max(access);
        }
    }

    /// Whether no further reply is needed: somebody who has missed nothing told of the session, and it may be served.
    #[must_use]
    pub fn is_decided(&self, now: Moment) -> bool {
        let past = |record: &Record| record.status() == Status::Live && record.is_past_limit(now);
        let past_limit = self.best.as_ref().is_some_and(past) && !failpoint::planted(Bug::LimitByOneOwner);
        self.decisive && !past_limit
    }

    /// Whether every owner answered.
    #[must_use]
    pub const fn all_replied(&self) -> bool {
        self.complete && !self.cut_off
    }

    /// What follows from all that was heard.
    #[must_use]
    pub fn verdict(self, now: Moment) -> Verdict {
        let all_replied = self.all_replied();
        let Some(record) = self.best else {
            if self.blind {
                coverage::reached(Path::TooManyVanished);
                // Those that are left have nothing more to say.
                let (why, at_once) = ("more nodes vanished than there are copies", self.nowhere);
                return Verdict::Unclear(Unclear { why, lasting: at_once && !self.cut_off, at_once });
            }
            if !self.nowhere {
                return Verdict::unclear("not all of its owners answered, or the cluster is changing");
            }
            if self.cut_off {
                return Verdict::Unclear(Unclear::CUT_OFF);
            }
            coverage::reached(Path::MissTold);
            return Verdict::NoSuchSession { unknown_to_all: true };
        };
        if record.status() != Status::Live {
            return Verdict::Ended(Found::ended(&record, now));
        }
        if record.is_past_limit(now) {
            // Past its limit nobody serves a session, unless some owner knows of a later access. Not each of them is told
            // of each access, so all must have answered.
            let ended = all_replied || (self.decisive && failpoint::planted(Bug::LimitByOneOwner));
            return match ended {
                true => Verdict::NoSuchSession { unknown_to_all: false },
                false if self.complete => Verdict::Unclear(Unclear::CUT_OFF),
                false => Verdict::unclear("it may have been used on another node"),
            };
        }
        // In a partition both sides serve what they hold; but first everybody gets the chance to know better, until it
        // is silent for so long that it is suspected.
        if self.decisive || (!self.pending && (self.vouched || failpoint::planted(Bug::AnyCopyVouches))) {
            coverage::reached_if(Path::PartitionRead, || !self.decisive && !all_replied);
            coverage::reached_if(Path::ReadFromNobodyCurrent, || !self.decisive && all_replied);
            Verdict::Live(record)
        } else {
            Verdict::unclear("not all of its owners answered")
        }
    }
}

#[cfg(test)]
mod tests;
