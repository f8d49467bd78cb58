//! What all requests of a layer share.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::Uri;
use sessionmesh::{Mesh, WhenUnsure};

use super::cookie::SessionCookie;
use super::error::ErrorPage;
use super::moves::Moves;
use super::options::SessionOptions;
use super::route_cookie::RouteCookie;

type Ignore = dyn Fn(&Uri) -> bool + Send + Sync;

/// What all requests share.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) mesh: Mesh,
    pub(super) cookie: SessionCookie,
    pub(super) route: Option<RouteCookie>,
    pub(super) options: SessionOptions,
    pub(super) error_page: Option<Arc<ErrorPage>>,
    pub(super) commit_on_server_error: bool,
    pub(super) refuse_fewer_copies: bool,
    pub(super) when_unsure: WhenUnsure,
    pub(super) cache_headers: bool,
    pub(super) moves: Moves,
    /// Counts the requests with more unknown ids than are asked for, whose turns differ.
    pub(super) asks: Arc<AtomicUsize>,
    pub(super) ignored_paths: Vec<Cow<'static, str>>,
    pub(super) ignored: Vec<Arc<Ignore>>,
}

impl Site {
    /// Whether a session goes to the node that a visitor comes to.
    pub(super) fn moves_sessions(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.moves_sessions)
    }

    /// Whether both find the same session in a request.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.mesh == other.mesh && self.cookie.name == other.cookie.name
    }

    /// Whether requests for this are left alone.
    pub(super) fn ignores(&self, uri: &Uri) -> bool {
        let path = uri.path();
        let below = |prefix: &Cow<'_, str>| {
            let rest = path.strip_prefix(&**prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
        };
        self.ignored_paths.iter().any(below) || self.ignored.iter().any(|ignored| ignored(uri))
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("node", &self.mesh.name())
            .field("cookie", &self.cookie)
            .field("route", &self.route)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
