//! A session with its last access, and whether it lives.

use std::sync::Arc;

use super::end::{Invalidated, Successor};
use super::{End, Session};
use crate::moment::Moment;

/// A session with its last access: what a node holds of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The content. Shared with the requests that read it; changed copy-on-write.
    pub session: Arc<Session>,
    /// The last access, on the holder's clock.
    pub access: Moment,
}

/// Whether a session may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It lives.
    Live,
    /// It was idle for too long. A later access or revision, coming from elsewhere, would overrule this.
    Expired,
    /// It was ended for good.
    Invalidated {
        /// What took its place, if it goes on under another id.
        successor: Option<Successor>,
    },
}

impl Record {
    /// A record of `session`, last accessed at `access`.
    pub fn new(session: Session, access: Moment) -> Self {
        Self { session: Arc::new(session), access }
    }

    /// The tombstone of an ended session. It was last accessed when it ended.
    pub fn tombstone(end: Invalidated) -> Self {
        Self::new(Session::tombstone(end), end.since)
    }

    /// Merges another copy, also its last access. Says whether the content changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.access = self.access.max(other.access);
        let same = other.session.digest() == self.session.digest() && other.session.end == self.session.end;
        let changed = !same && Arc::make_mut(&mut self.session).merge(&other.session);
        self.rest();
        changed
    }

    /// Ends the session for good and forgets its content. Says whether anything changed.
    pub fn invalidate(&mut self, end: Invalidated) -> bool {
        let changed = Arc::make_mut(&mut self.session).invalidate(end);
        self.rest();
        changed
    }

    /// Nobody accesses what has ended, so that its end is all there is to know of it.
    pub(crate) fn rest(&mut self) {
        if let Some(end) = self.session.invalidated() {
            self.access = end.since;
        }
    }

    /// Whether the session lives. An expiry mark counts only against what it knew.
    pub fn status(&self) -> Status {
        match self.session.end.as_deref() {
            None => Status::Live,
            Some(End::Invalidated(end)) => Status::Invalidated { successor: end.successor },
            Some(End::Expired(mark)) => {
                let known = self.session.revision() <= mark.revision
                    && self.access <= mark.access.plus_ms(access_tolerance_ms(self.session.idle_limit.ms));
                if known { Status::Expired } else { Status::Live }
            }
        }
    }

    /// Milliseconds since the last access.
    pub const fn idle_ms(&self, now: Moment) -> u64 {
        now.ms_since(self.access)
    }

    /// Whether the session lives and its idle limit has not passed, whatever other nodes know.
    pub fn is_usable(&self, now: Moment) -> bool {
        self.status() == Status::Live && !self.is_past_limit(now)
    }

    /// Whether the idle limit has passed, whatever other nodes know.
    pub fn is_past_limit(&self, now: Moment) -> bool {
        self.idle_ms(now) > self.session.idle_limit.ms
    }
}

/// By how much two notes of one access may differ, since an age does not say how long it travelled: a twentieth of
/// the idle limit, at most a second.
pub fn access_tolerance_ms(idle_limit_ms: u64) -> u64 {
    (idle_limit_ms / 20).min(1_000)
}
