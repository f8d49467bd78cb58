//! The session, as handlers see it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sessionmesh::SessionId;
use sessionmesh::json::{from_json, to_json};

use super::commit::Commit;
use super::cookie_age;
use super::error::{ErrorKind, SessionError};
use super::options::SessionOptions;
use super::visit::{State, Visit};

/// The session of the visitor, as an extractor. All clones and extractors of one request are the same session.
///
/// Extraction loads the session. It fails, with the [error page](super::SessionLayer::error_page) of the site, if it is
/// not known whether the visitor has one ([`ErrorKind::CannotTell`]). A visitor without a session gets one when the
/// first attribute is stored.
///
/// This request sees its changes at once; others see them after the commit at its end.
///
/// # Streams, WebSockets and uploads
///
/// A handle can be kept for as long as the body of a response, a WebSocket or an upload takes. Each use of it ([`get`],
/// [`insert`], [`remove`], [`keys`] and [`touch`]) is an access, so the session does not become idle meanwhile. Code
/// that only keeps the handle calls [`touch`] now and then. Once the head of the response has left, [`commit`] commits
/// the changes and returns the outcome. Without it, they are committed when the last handle of the request is dropped:
/// soon, and a failure is only logged. By then no session can be created, which [`insert`] reports, nor renewed, which
/// [`commit`] reports.
///
/// [`get`]: Self::get
/// [`insert`]: Self::insert
/// [`remove`]: Self::remove
/// [`keys`]: Self::keys
/// [`touch`]: Self::touch
/// [`commit`]: Self::commit
#[derive(Clone)]
pub struct Session {
    visit: Arc<Visit>,
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        let visit = parts.extensions.get::<Arc<Visit>>().cloned();
        let visit = visit.ok_or_else(|| SessionError::new(ErrorKind::NoLayer, None))?;
        visit.load(parts).await.map_err(|reason| visit.error(reason))?;
        Ok(Self { visit })
    }
}

impl Session {
    /// The attribute `key`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Value`]: the stored value is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SessionError> {
        let value = self.used().get(key);
        value.map(|value| from_json(key, &value)).transpose().map_err(|error| self.visit.error(error.into()))
    }

    /// Writes an attribute as JSON, which stays readable after a field is added to `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Value`]: `value` cannot be written as JSON, for example because a map's keys are not text. Once the
    /// head of the response has left and there is no session to write to: [`ErrorKind::HeadSent`], [`ErrorKind::Ended`]
    /// or [`ErrorKind::Renewed`].
    pub fn insert<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), SessionError> {
        let value = to_json(key, value).map_err(|error| self.visit.error(error.into()))?;
        let refused = {
            let mut state = self.used();
            let refused = state.takes_nothing();
            if refused.is_none() {
                state.changes.insert(Arc::from(key), Some(value));
            }
            refused
        };
        refused.map_or(Ok(()), |reason| Err(self.visit.error(reason)))
    }

    /// Removes an attribute. The session continues even without attributes.
    pub fn remove(&self, key: &str) {
        let mut state = self.used();
        if state.get(key).is_some() {
            state.changes.insert(Arc::from(key), None);
        }
    }

    /// Changes an attribute: `change` gets the stored value and returns the new one, or `None` to remove it. The change
    /// is part of the commit of the request, so of two requests at the same time one can overwrite the other's result.
    /// For an exact counter see [`update_now`](Self::update_now).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Value`]: the stored value is not a `T`, or the new one cannot be written as JSON.
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        change: impl FnOnce(Option<T>) -> Option<T>,
    ) -> Result<Option<T>, SessionError> {
        let after = change(self.get(key)?);
        match &after {
            Some(value) => self.insert(key, value)?,
            None => self.remove(key),
        }
        Ok(after)
    }

    /// Like [`update`](Self::update), but committed at once, in one step. As long as this node owns the session, no
    /// other request on this node can come between; [`sessionmesh::Session::update`] says where else the step is exact.
    /// Earlier changes of this request are committed first.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    pub async fn update_now<T: Serialize + DeserializeOwned + Send>(
        &self,
        key: &str,
        change: impl FnOnce(Option<T>) -> Option<T> + Send,
    ) -> Result<Option<T>, SessionError> {
        if !self.exists() {
            let after = self.update(key, change)?;
            return self.commit().await.map(|_| after);
        }
        self.commit().await?;
        self.visit.update(key, change).await.map_err(|reason| self.visit.error(reason))
    }

    /// The keys of all attributes, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<Arc<str>> {
        let state = self.used();
        let mut keys: BTreeSet<Arc<str>> = state.session.iter().flat_map(|session| session.keys()).collect();
        for (key, value) in &state.changes {
            match value {
                Some(_) => keys.insert(key.clone()),
                None => keys.remove(key),
            };
        }
        keys.into_iter().filter(|key| **key != *cookie_age::KEY).collect()
    }

    /// Notes an access, which restarts the idle time, for handles that are kept for long. It does not wait. It does not
    /// bring back a session that has ended.
    pub fn touch(&self) {
        drop(self.used());
    }

    fn used(&self) -> MutexGuard<'_, State> {
        let state = self.visit.state();
        state.note_use();
        state
    }

    /// The id. `None` for a visitor without a session, even if one is about to be created: it gets its id with the
    /// commit.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.visit.state().session.as_ref().map(|session| session.id())
    }

    /// Whether the visitor has a session: it was loaded, or [committed](Self::commit) in this request.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.visit.state().session.is_some()
    }

    /// Whether the commit of this request will create a session for a visitor who has none.
    #[must_use]
    pub fn is_new(&self) -> bool {
        let state = self.visit.state();
        state.session.is_none() && !state.over && !state.is_late() && state.is_changed()
    }

    /// Whether another request renewed the id that this request came with, shortly before or during this request. The
    /// visitor then has a session, and a cookie with its new id is on its way to the browser. This request cannot have
    /// that session, because somebody may have planted the old id. A handler that answers 401 to visitors without a
    /// session should ask this one to come again, for example with 409 and `Retry-After`. What such a request stores is
    /// dropped, and no cookie is set.
    #[must_use]
    pub fn was_renewed_elsewhere(&self) -> bool {
        self.visit.state().renewed_ago.is_some()
    }

    /// Gives the session a new id with the commit of this request, against session fixation. Call it at every login,
    /// and whenever somebody gets more rights. What the request stores is part of the same step. Without a session
    /// there is nothing to renew: a new session has an id that nobody knew.
    ///
    /// If several requests renew the same id at the same time, those that come too late create nothing new. Late
    /// requests that store nothing go on as if they had renewed it; for the others see [`ErrorKind::Renewed`]. Code
    /// that renews ids in passing, not at a login, should do so only if the session [exists](Self::exists).
    ///
    /// If the renewal does not succeed in time, nothing is stored and the visitor gets a 503
    /// ([`ErrorKind::NotRenewed`]). The commit waits for the configured acknowledgement of the mesh, whatever the
    /// [options](super::SessionOptions) say.
    pub fn renew(&self) {
        self.visit.state().renew = true;
    }

    /// Ends the session for good, on every node, now. When this returns, no node serves the session, and no request in
    /// progress can bring it back. If the visitor came with the ids of several sessions, all of them end. The response
    /// removes the cookie, whatever its status; see [`SessionCookie`](super::SessionCookie) for several cookies of its
    /// name. Earlier changes of this request are dropped; what it stores afterwards goes into a new session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Commit`] with [`sessionmesh::CommitError::Left`]: the session continues; another node can end it.
    /// With [too few copies](super::SessionLayer::refuse_fewer_copies), if the site reports these as errors: the
    /// session has ended.
    pub async fn invalidate(&self) -> Result<Commit, SessionError> {
        self.visit.invalidate().await.map_err(|reason| self.visit.error(reason))
    }

    /// Commits the changes so far, now. Only needed to learn the outcome or the new id, and for changes during the body
    /// of a response that others should see soon.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Changes that were not made stay in the request, which tries them again at its end.
    pub async fn commit(&self) -> Result<Commit, SessionError> {
        self.visit.commit().await.map_err(|reason| self.visit.error(reason))
    }

    /// Sets the idle limit: the session ends after this time without an access. This does not create a session by
    /// itself.
    pub fn set_max_inactive(&self, limit: Duration) {
        self.visit.state().max_inactive = Some(limit);
    }

    /// "Remember me": the session ends after this time without an access, and its cookie lives as long in the browser.
    /// Each use extends both. This does not create a session by itself. See
    /// [`set_max_inactive`](Self::set_max_inactive) and [`set_cookie_max_age`](Self::set_cookie_max_age).
    pub fn remember_for(&self, time: Duration) {
        self.set_max_inactive(time);
        self.set_cookie_max_age(Some(time));
    }

    /// Sets how long the cookie of this session, unlike that of others, outlives its last use: whole seconds, at least
    /// one. `None` lets it end with the browser. This response sends it, and so does each later response to a request
    /// that used the session. It should not be shorter than the idle limit of the session. This does not create a
    /// session by itself. The value is stored in the session, as the attribute `sessionmesh.cookie_max_age`, which
    /// [`keys`](Self::keys) does not list. Default: [`SessionCookie::max_age`](super::SessionCookie::max_age).
    pub fn set_cookie_max_age(&self, age: Option<Duration>) {
        let mut state = self.used();
        state.changes.insert(Arc::from(cookie_age::KEY), Some(cookie_age::value(age)));
        state.cookie_changed = true;
    }

    /// How long the cookie of this session outlives its last use; `None` if it ends with the browser.
    #[must_use]
    pub fn cookie_max_age(&self) -> Option<Duration> {
        cookie_age::of(&self.visit.state(), &self.visit.site)
    }

    /// The idle limit: the session ends after this time without an access.
    #[must_use]
    pub fn max_inactive(&self) -> Duration {
        let state = self.visit.state();
        let stored = || state.session.as_ref().map(|session| session.max_inactive());
        state.max_inactive.or_else(stored).unwrap_or(self.visit.site.mesh.config().max_inactive)
    }

    /// The read consistency and the acknowledgement of this request.
    #[must_use]
    pub fn options(&self) -> SessionOptions {
        self.visit.state().options
    }

    /// When the session was created, in milliseconds since the Unix epoch by the clock of the node that made it. For
    /// display.
    #[must_use]
    pub fn created_ms(&self) -> Option<u64> {
        self.visit.state().session.as_ref().and_then(|session| session.created_ms())
    }

    /// How long the session was idle before this request.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.visit.state().session.as_ref().map_or(Duration::ZERO, |session| session.idle())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.visit.state();
        let id = state.session.as_ref().map(|session| session.id());
        f.debug_struct("Session").field("id", &id).field("changes", &state.changes.len()).finish_non_exhaustive()
    }
}
