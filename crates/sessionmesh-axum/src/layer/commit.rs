//! Making changes visible, and ending sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh::{Ack, CommitError, LookUp, ReadConsistency, Session, SessionId, ValueBytes};

use super::error::ErrorKind;
use super::find::find_others;
use super::moves::Moves;
use super::visit::{CookieAction, State, Visit};

/// The result of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// Other nodes that acknowledged the change. 0 if nothing had changed.
    pub copies: usize,
    /// Whether anything was changed.
    pub changed: bool,
}

/// What one commit is to do.
pub(super) struct PendingCommit {
    /// None: make one.
    pub(super) session: Option<Arc<Session>>,
    changes: BTreeMap<Arc<str>, Option<ValueBytes>>,
    max_inactive: Option<Duration>,
    renew: bool,
    /// Where moves are noted, if the session is to move to this node.
    home: Option<Moves>,
    ack: Option<Ack>,
}

impl State {
    pub(super) fn task(&self, moves: &Moves) -> Result<Option<PendingCommit>, ErrorKind> {
        if !self.is_changed() {
            return Ok(None);
        }
        if self.over {
            return Err(if self.renewed_ago.is_some() { ErrorKind::Renewed } else { ErrorKind::Ended });
        }
        if self.is_late() {
            return Err(ErrorKind::Renewed);
        }
        let renew = self.renew && self.session.is_some();
        if self.answered && (renew || self.session.is_none()) {
            return Err(ErrorKind::HeadSent);
        }
        // A renewed id is at home anyway, and after the head no id can be told.
        let home = self.moves_home && !renew && !self.answered && self.session.is_some();
        Ok(Some(PendingCommit {
            session: self.session.clone(),
            changes: self.changes.clone(),
            max_inactive: self.max_inactive,
            renew,
            home: home.then(|| moves.clone()),
            ack: self.options.ack,
        }))
    }

    /// What was committed is no change any more; what was changed meanwhile still is.
    fn done(&mut self, task: &PendingCommit) {
        self.changes.retain(|key, value| task.changes.get(key) != Some(value));
        if self.max_inactive == task.max_inactive {
            self.max_inactive = None;
        }
        self.renew = false;
        self.moves_home = false;
    }

    /// Another request renewed the id before this one could. Then the id that this request came with counts no more, which
    /// is all that a mere renewal is for; the request goes on with what it has read. What it was to store goes nowhere: one
    /// of the two may come from somebody who had planted the id.
    fn outpaced(&mut self, task: &PendingCommit, renewed_ago: Option<Duration>) -> Result<Commit, ErrorKind> {
        self.renewed_ago = renewed_ago;
        if !task.only_renews() {
            self.lose();
            return Err(ErrorKind::Renewed);
        }
        (self.renew, self.over, self.cookie) = (false, true, CookieAction::Nothing);
        Ok(Commit::default())
    }

    /// The request has no session any more, and gets no other.
    fn lose(&mut self) -> ErrorKind {
        self.session = None;
        self.over = true;
        // An id that was to be told has ended, too.
        self.cookie = CookieAction::Nothing;
        ErrorKind::Ended
    }
}

impl PendingCommit {
    /// Whether it does nothing but give the session another id.
    fn only_renews(&self) -> bool {
        self.renew && self.changes.is_empty() && self.max_inactive.is_none()
    }

    pub(super) async fn commit(&self, session: &Session) -> Result<sessionmesh::Commit, CommitError> {
        session.change(self.changes.iter().map(|(key, value)| (key.clone(), value.clone())));
        if let Some(limit) = self.max_inactive {
            session.set_max_inactive(limit);
        }
        let before = session.id();
        let committed = match self.ack {
            _ if self.renew => session.renew_id().await,
            Some(ack) => session.commit_with(ack).await,
            None => session.commit().await,
        }?;
        match &self.home {
            // What another request made of it meanwhile stays where it is.
            Some(moves) if session.id() == before => moves.move_home(session).await,
            _ => {}
        }
        Ok(committed)
    }
}

impl Visit {
    /// Commits what was changed so far.
    pub(super) async fn commit(&self) -> Result<Commit, ErrorKind> {
        let _turn = self.turn.lock().await;
        let Some(task) = self.state().task(&self.site.moves)? else { return Ok(Commit::default()) };
        let session = match &task.session {
            Some(session) => session.clone(),
            None => Arc::new(self.site.mesh.create().await.map_err(|error| ErrorKind::Full(Arc::new(error)))?),
        };
        let before = session.id();
        let outcome = task.commit(&session).await;
        let after = session.id();
        let moved = if task.renew && outcome.is_ok() { None } else { self.moved(before, after).await };
        let renewed_ago = match &outcome {
            Err(CommitError::Ended) if task.renew => self.renewed_ago(before).await,
            _ => None,
        };
        let mut state = self.state();
        match outcome {
            Err(CommitError::Ended) if renewed_ago.is_some() => return state.outpaced(&task, renewed_ago),
            Err(CommitError::Ended | CommitError::Unknown) => return Err(state.lose()),
            Err(CommitError::CannotTell(error)) => return Err(ErrorKind::CannotTell(Arc::new(error))),
            Err(error) if !error.was_made() => return Err(ErrorKind::Commit(Arc::new(error))),
            // The new session had too few copies in time, and was taken back.
            Err(error) if task.renew && (after == before || moved.is_some()) => {
                return Err(ErrorKind::NotRenewed(Arc::new(error)));
            }
            _ => state.done(&task),
        }
        if task.renew || task.session.is_none() {
            state.cookie = CookieAction::Id(after);
            state.session = Some(session);
        } else if let Some(id) = moved {
            state.cookie = CookieAction::Id(id);
        } else if after != before {
            // The changes went into a session that another request made of this one, of which this visitor may know
            // nothing.
            state.lose();
        }
        drop(state);
        self.judged(outcome)
    }

    /// Where a session has moved whose handle has another id than before. None if that is, or may be, the work of a
    /// renewal: reads follow moves only.
    async fn moved(&self, before: SessionId, after: SessionId) -> Option<SessionId> {
        if before == after {
            return None;
        }
        self.site.mesh.peek(before).await.ok().flatten().map(|session| session.id())
    }

    /// How long ago another request renewed `id`, if that is how it ended.
    async fn renewed_ago(&self, id: SessionId) -> Option<Duration> {
        match self.site.mesh.look_up(id, ReadConsistency::Current).await {
            Ok(LookUp::Renewed { ago }) => Some(ago),
            _ => None,
        }
    }

    /// Reads, changes and writes one attribute at once, in a session that exists. None if there is no session.
    pub(super) async fn update<T>(
        &self,
        key: &str,
        change: impl FnOnce(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>, ErrorKind>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send,
    {
        let _turn = self.turn.lock().await;
        let session = self.state().session.clone().ok_or(ErrorKind::Ended)?;
        let before = session.id();
        let outcome = session.update(key, change).await;
        let after = session.id();
        match self.moved(before, after).await {
            Some(id) => self.state().cookie = CookieAction::Id(id),
            None if after != before => return Err(self.state().lose()),
            None => {}
        }
        if matches!(outcome, Err(CommitError::Ended | CommitError::Unknown)) {
            return Err(self.state().lose());
        }
        match outcome {
            Ok(value) => Ok(value),
            Err(error) if error.was_made() => {
                self.judged(Err(error))?;
                Ok(session.get(key)?)
            }
            Err(error) => Err(ErrorKind::Commit(Arc::new(error))),
        }
    }

    /// Ends the session.
    pub(super) async fn invalidate(&self) -> Result<Commit, ErrorKind> {
        let _turn = self.turn.lock().await;
        let session = {
            let mut state = self.state();
            state.changes.clear();
            (state.max_inactive, state.renew, state.moves_home) = (None, false, false);
            if state.session.is_none() && state.request_cookies.named > 0 {
                // What the cookie named has ended before.
                (state.cookie, state.over) = (CookieAction::Gone, false);
            }
            state.session.clone()
        };
        let Some(session) = session else { return Ok(Commit::default()) };
        let outcome = session.invalidate().await;
        let outcome = match outcome {
            Err(error) if !error.was_made() => return Err(ErrorKind::Commit(Arc::new(error))),
            outcome => outcome,
        };
        {
            let mut state = self.state();
            (state.session, state.cookie) = (None, CookieAction::Gone);
        }
        self.invalidate_others(session.id()).await;
        self.judged(outcome)
    }

    /// Who logs out and came with several sessions has none afterwards: the next one would still look like a login.
    async fn invalidate_others(&self, ended: SessionId) {
        let request_cookies = self.state().request_cookies.clone();
        for other in find_others(&self.site.mesh, &request_cookies, ended, &self.site.asks).await {
            if let Err(error) = other.invalidate().await {
                tracing::warn!(%error, "a logout could not end the session of another cookie");
            }
        }
    }

    /// What was made with fewer copies than wanted is a success, unless the site says otherwise.
    fn judged(&self, outcome: Result<sessionmesh::Commit, CommitError>) -> Result<Commit, ErrorKind> {
        let copies = match outcome {
            Ok(commit) => return Ok(Commit { copies: commit.copies, changed: commit.changed }),
            Err(error) if self.site.refuse_fewer_copies => return Err(ErrorKind::Commit(Arc::new(error))),
            Err(error) => {
                tracing::warn!(%error, "a commit has fewer copies than asked for");
                match error {
                    CommitError::TimedOut { copies } | CommitError::TooFewCopies { copies, .. } => copies,
                    _ => 0,
                }
            }
        };
        Ok(Commit { copies, changed: true })
    }
}
