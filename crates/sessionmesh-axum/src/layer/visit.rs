//! One request's view of its session, which all its extractors share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use http::request::Parts;
use sessionmesh::{LoadError, Session, SessionId, Value};
use tokio::sync::OnceCell;

use super::error::{Asked, Page, Reason, SessionError};
use super::options::SessionOptions;
use super::presented::Presented;
use super::settings::Site;

/// One request.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) site: Arc<Site>,
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
    pub(super) changes: BTreeMap<Arc<str>, Option<Value>>,
    pub(super) max_inactive: Option<std::time::Duration>,
    pub(super) renew: bool,
    /// The visitor was sent to another node, but came to this one: the session has to follow.
    pub(super) moves_home: bool,
    /// The session that was loaded has ended or was renewed by another request. What this request still changes has
    /// nowhere to go.
    pub(super) over: bool,
    /// The head of the response has left.
    pub(super) answered: bool,
    pub(super) tell: Tell,
    pub(super) options: SessionOptions,
    pub(super) presented: Presented,
    page: Option<Arc<Page>>,
}

/// What the visitor must be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tell {
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
    pub(super) fn new(site: Arc<Site>) -> Self {
        Self { site, loaded: OnceCell::new(), turn: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No step in between leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the session, once: who comes meanwhile waits for the same answer, who comes later gets it.
    pub(super) async fn load(&self, parts: &Parts) -> Result<(), Reason> {
        let options = parts.extensions.get().copied().unwrap_or_default();
        let options = SessionOptions::or(options, self.site.options);
        let page = self.site.error_page.as_ref();
        let page = page.map(|show| Arc::new(Page { show: show.clone(), asked: Asked::of(parts) }));
        {
            let mut state = self.state();
            state.options = options;
            state.page = page;
        }
        let loading = async {
            let presented = Presented::read(&parts.headers, &self.site);
            let found = self.find(&presented, options).await;
            self.state().found(found.map_err(Arc::new)?, presented, &self.site);
            Ok(())
        };
        self.loaded.get_or_init(|| loading).await.clone().map_err(Reason::CannotTell)
    }

    /// The first of the ids that has a session. If one cannot be told, neither can whose request this is.
    async fn find(&self, presented: &Presented, options: SessionOptions) -> Result<Option<Session>, LoadError> {
        for id in presented.ids() {
            let session = self.site.mesh.load_with(id, options.read.unwrap_or_default()).await?;
            if session.is_some() {
                return Ok(session);
            }
        }
        Ok(None)
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

    pub(super) fn error(&self, reason: Reason) -> SessionError {
        SessionError::new(reason, self.state().page.clone())
    }
}

impl State {
    fn found(&mut self, session: Option<Session>, presented: Presented, site: &Site) {
        if let Some(id) = session.as_ref().map(Session::id) {
            // A load follows moves. A response with the new id may have been lost, and the old id is read for a while only.
            if !presented.has(id) {
                self.tell = Tell::Id(id);
            }
            self.moves_home = site.moves_sessions() && presented.names_another_node();
        }
        self.session = session.map(Arc::new);
        self.presented = presented;
    }

    /// Whether there is something to commit. To write the first attribute makes a session; to remove one does not.
    pub(super) fn is_changed(&self) -> bool {
        match self.session {
            Some(_) => {
                let moves = self.moves_home && !self.answered;
                moves || self.renew || self.max_inactive.is_some() || !self.changes.is_empty()
            }
            None => self.changes.values().any(Option::is_some),
        }
    }

    /// The attribute, with this request's own changes.
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        match self.changes.get(key) {
            Some(change) => change.clone(),
            None => self.session.as_ref()?.get_bytes(key),
        }
    }
}
