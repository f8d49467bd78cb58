//! The layer: what it is told, and where it goes.

use std::borrow::Cow;
use std::sync::Arc;

use axum_core::response::Response;
use http::Uri;
use sessionmesh::{Mesh, WhenUnsure};
use tower_layer::Layer;

use super::cookie::{CookieError, SessionCookie};
use super::error::{RequestHead, SessionError};
use super::moves::Moves;
use super::options::SessionOptions;
use super::route_cookie::RouteCookie;
use super::service::SessionService;
use super::site::Site;

/// Gives requests a [`Session`](super::Session). It is a layer for [`Router::layer`], outside every layer and handler
/// that uses the session. The [front page](crate) says what happens in a request.
///
/// A layer inside another one with the same node and the same cookie name, as in a nested router, is part of the outer
/// one. There is one session, one commit and one cookie, and the settings of the outer layer apply, except the
/// [options](Self::options). Layers whose cookies have different names are separate, and the handler sees the session
/// of the inner one. Two layers of different nodes (two clusters in one process) must not share a name: the browser has
/// only one cookie of it.
///
/// [`Router::layer`]: https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer
#[derive(Clone, Debug)]
pub struct SessionLayer {
    site: Arc<Site>,
}

impl SessionLayer {
    /// A layer for the sessions of this node, with the default cookie.
    #[must_use]
    pub fn new(mesh: Mesh) -> Self {
        let site = Site {
            mesh,
            cookie: SessionCookie::default(),
            route: None,
            options: SessionOptions::new(),
            error_page: None,
            commit_on_server_error: false,
            refuse_fewer_copies: false,
            when_unsure: WhenUnsure::default(),
            cache_headers: true,
            moves: Moves::default(),
            asks: Arc::default(),
            ignored_paths: Vec::new(),
            ignored: Vec::new(),
        };
        Self { site: Arc::new(site) }
    }

    /// Sets what the session cookie looks like.
    ///
    /// # Errors
    ///
    /// Browsers would refuse such a cookie.
    pub fn cookie(mut self, cookie: SessionCookie) -> Result<Self, CookieError> {
        cookie.check()?;
        self.site_mut().cookie = cookie;
        self.checked()
    }

    /// Also sets a cookie that names this node, for balancers.
    ///
    /// # Errors
    ///
    /// Browsers would refuse such a cookie in the scope of the session cookie.
    pub fn route_cookie(mut self, route: RouteCookie) -> Result<Self, CookieError> {
        self.site_mut().route = Some(route);
        self.checked()
    }

    fn checked(self) -> Result<Self, CookieError> {
        if let Some(route) = &self.site.route {
            self.site.cookie.check_name(&route.name)?;
            if route.name == self.site.cookie.name {
                return Err(CookieError::SameName(route.name.clone().into_owned()));
            }
        }
        Ok(self)
    }

    /// Sets the read consistency and the acknowledgement, where a route does not set its own.
    #[must_use]
    pub fn options(mut self, options: SessionOptions) -> Self {
        self.site_mut().options = options;
        self
    }

    /// Ignores requests whose path is one of these or below it: `/assets` matches `/assets` and `/assets/logo.png`, not
    /// `/assets-of-ours`. There, [`Session`](super::Session) cannot be extracted.
    #[must_use]
    pub fn ignore_paths(mut self, paths: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Self {
        self.site_mut().ignored_paths.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Ignores requests for which this function returns true.
    #[must_use]
    pub fn ignore(mut self, ignored: impl Fn(&Uri) -> bool + Send + Sync + 'static) -> Self {
        self.site_mut().ignored.push(Arc::new(ignored));
        self
    }

    /// The page that the visitor sees, instead of a line of text, if the session cannot be found or stored. The
    /// response should have the [status](SessionError::status) of the error, and `Retry-After` with 503. It must not
    /// remove the visitor's cookie.
    #[must_use]
    pub fn error_page(
        mut self,
        page: impl Fn(&SessionError, &RequestHead) -> Response + Send + Sync + 'static,
    ) -> Self {
        self.site_mut().error_page = Some(Arc::new(page));
        self
    }

    /// Whether changes are committed even if the answer is 5xx. Default false: they are dropped.
    #[must_use]
    pub fn commit_on_server_error(mut self, commit: bool) -> Self {
        self.site_mut().commit_on_server_error = commit;
        self
    }

    /// Whether the visitor gets a 503 if a change was made with fewer copies than asked for, at the deadline or for
    /// lack of nodes. Default false: the request succeeds, with a warning in the log, because the change stays and
    /// continues to replicate. It does so with a 503, too, so it must be harmless to send such a request again.
    #[must_use]
    pub fn refuse_fewer_copies(mut self, refuse: bool) -> Self {
        self.site_mut().refuse_fewer_copies = refuse;
        self
    }

    /// What happens to a visitor whose session may have been lost with nodes that vanished. By default, the visitor
    /// gets a 503 and keeps the cookie. With [`WhenUnsure::TreatAsNew`], the visitor is treated as one without a
    /// session. The cookie stays as it is until something is stored; that goes into a new session, whose cookie
    /// replaces the old one.
    #[must_use]
    pub fn when_unsure(mut self, when_unsure: WhenUnsure) -> Self {
        self.site_mut().when_unsure = when_unsure;
        self
    }

    /// Whether a response to a request that used the session says so to caches, as the session middleware of other
    /// frameworks does: `Vary: Cookie`, and `Cache-Control: private, no-cache` unless the handler sets its own. Default
    /// true. With false, only responses that set a cookie are kept from caches; pages that show session data must then
    /// set these headers themselves.
    #[must_use]
    pub fn cache_headers(mut self, set: bool) -> Self {
        self.site_mut().cache_headers = set;
        self
    }

    fn site_mut(&mut self) -> &mut Site {
        Arc::make_mut(&mut self.site)
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService::new(inner, self.site.clone())
    }
}
