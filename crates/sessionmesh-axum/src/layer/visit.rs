//! One request's view of its session, which all its extractors share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{StatusCode, Uri};
use sessionmesh::{LoadError, Session, SessionId, ValueBytes, WhenUnsure};
use tokio::sync::OnceCell;

use super::cookie_age;
use super::error::{ErrorKind, Page, RequestHead, SessionError};
use super::find::{Found, find};
use super::options::SessionOptions;
use super::request_cookies::RequestCookies;
use super::site::Site;

/// For so long after a renewal a request with the old id may be one that was under way then, or that a browser sent which
/// had not got the new id yet.
const RENEWED_LATELY: Duration = Duration::from_secs(60);
/// The same for a request that itself renews, as a login does: who lost the answer with the new id must be able to log in
/// again, and cannot do so sooner.
const RENEWED_AT_ONCE: Duration = Duration::from_secs(5);

/// One request.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) site: Arc<Site>,
    /// Of a layer around this one, with another cookie or mesh.
    pub(super) outer: Option<Arc<Self>>,
    /// What was asked for, as the layer sees it.
    pub(super) uri: Uri,
    /// Set when the session was asked for.
    loaded: OnceCell<Result<(), Arc<LoadError>>>,
    /// Taken by whoever commits or ends the session.
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// What was loaded or made.
    pub(super) session: Option<Arc<Session>>,
    /// What was written (some) and removed (none), and is not committed yet.
    pub(super) changes: BTreeMap<Arc<str>, Option<ValueBytes>>,
    pub(super) max_inactive: Option<Duration>,
    pub(super) renew: bool,
    /// The visitor was sent to another node, but came to this one: the session has to follow.
    pub(super) moves_home: bool,
    /// The session that was loaded has ended or was renewed by another request. What this request still changes has
    /// nowhere to go.
    pub(super) over: bool,
    /// Another request renewed the id that this one came with, so long before it was loaded or was to be renewed again.
    pub(super) renewed_ago: Option<Duration>,
    /// The session ended elsewhere meanwhile: its id is not to be told.
    pub(super) ended_elsewhere: bool,
    /// The cookie has another age now.
    pub(super) cookie_changed: bool,
    /// The head of the response has left.
    pub(super) answered: bool,
    pub(super) cookie: CookieAction,
    pub(super) options: SessionOptions,
    pub(super) request_cookies: RequestCookies,
    pub(super) page: Option<Arc<Page>>,
}

/// What the visitor must be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CookieAction {
    /// Nothing new.
    #[default]
    Nothing,
    /// This id, which was made in this request, or to which the session has moved. Never one that another request made of
    /// it by a renewal: whoever planted the old id would learn the new one.
    Id(SessionId),
    /// That there is no session any more.
    Gone,
}

impl Visit {
    pub(super) fn new(site: Arc<Site>, uri: Uri, outer: Option<Arc<Self>>) -> Self {
        let turn = tokio::sync::Mutex::default();
        Self { site, outer, uri, loaded: OnceCell::new(), turn, state: Mutex::default() }
    }

    /// What the last handle that is dropped leaves behind.
    pub(super) fn take_leftovers(&mut self) -> (State, &Site) {
        (std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner)), &self.site)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No step in between leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the session, once: who comes meanwhile waits for the same answer, who comes later gets it.
    pub(super) async fn load(&self, parts: &Parts) -> Result<(), ErrorKind> {
        let options = parts.extensions.get().copied().unwrap_or_default();
        let options = SessionOptions::or(options, self.site.options);
        let page = self.site.error_page.as_ref();
        let page = page.map(|show| Arc::new(Page { show: show.clone(), asked: RequestHead::of(parts) }));
        {
            let mut state = self.state();
            state.options = options;
            state.page = page;
        }
        let loading = async {
            let request_cookies = RequestCookies::read(&parts.headers, &self.site);
            let read = options.read.unwrap_or_default();
            let found = find(&self.site.mesh, &request_cookies, read, &self.site.asks).await;
            let found = match found {
                Err(error) if error.is_lasting() && self.site.when_unsure == WhenUnsure::TreatAsNew => Found::default(),
                found => found.map_err(Arc::new)?,
            };
            self.state().found(found, request_cookies, &self.site);
            Ok(())
        };
        self.loaded.get_or_init(|| loading).await.clone().map_err(ErrorKind::CannotTell)
    }

    /// Whether anything asked for the session.
    pub(super) fn is_used(&self) -> bool {
        self.loaded.initialized()
    }

    /// Whether a response with this status has something to commit.
    pub(super) fn has_work(&self, status: StatusCode) -> bool {
        let state = self.state();
        let commits = !status.is_server_error() || self.site.commit_on_server_error;
        commits && !state.over && state.is_changed()
    }

    pub(super) fn error(&self, reason: ErrorKind) -> SessionError {
        SessionError::new(reason, self.state().page.clone())
    }
}

impl State {
    fn found(&mut self, found: Found, request_cookies: RequestCookies, site: &Site) {
        if let Some(id) = found.session.as_ref().map(Session::id) {
            // A load follows moves. A response with the new id may have been lost, and the old id is read for a while only.
            if !request_cookies.has(id) {
                self.cookie = CookieAction::Id(id);
            }
            self.moves_home = site.moves_sessions() && request_cookies.names_another_node();
        }
        self.renewed_ago = if found.session.is_none() { found.renewed_ago } else { None };
        self.session = found.session.map(Arc::new);
        self.request_cookies = request_cookies;
    }

    /// Whether this request came without a session only because another one has just renewed the id. It makes none: its
    /// cookie would replace the one that the other request gave. Nor may it go on with the renewed session, for it may come
    /// from somebody who had planted the old id.
    pub(super) fn is_late(&self) -> bool {
        let lately = if self.renew { RENEWED_AT_ONCE } else { RENEWED_LATELY };
        self.session.is_none() && self.renewed_ago.is_some_and(|ago| ago < lately)
    }

    /// Why a change of now could never be stored. Before the head has left the request's commit says so.
    pub(super) fn takes_nothing(&self) -> Option<ErrorKind> {
        if !self.answered || (self.session.is_some() && !self.over) {
            return None;
        }
        let is_lost = self.over || self.is_late();
        Some(match self.renewed_ago {
            Some(_) if is_lost => ErrorKind::Renewed,
            _ if is_lost => ErrorKind::Ended,
            _ => ErrorKind::HeadSent,
        })
    }

    /// Forgets what was changed and is not committed.
    pub(super) fn drop_changes(&mut self) {
        self.changes.clear();
        (self.max_inactive, self.renew) = (None, false);
    }

    /// Using the session is an access, also long after it was loaded.
    pub(super) fn note_use(&self) {
        if let Some(session) = self.session.as_ref().filter(|_| !self.over) {
            session.touch();
        }
    }

    /// Whether there is something to commit. To write the first attribute makes a session; to remove one does not.
    pub(super) fn is_changed(&self) -> bool {
        match self.session {
            Some(_) => {
                let moves = self.moves_home && !self.answered;
                moves || self.renew || self.max_inactive.is_some() || !self.changes.is_empty()
            }
            None => self.changes.iter().any(|(key, value)| value.is_some() && **key != *cookie_age::KEY),
        }
    }

    /// The attribute, with this request's own changes.
    pub(super) fn get(&self, key: &str) -> Option<ValueBytes> {
        match self.changes.get(key) {
            Some(change) => change.clone(),
            None => self.session.as_ref()?.get_bytes(key),
        }
    }
}
