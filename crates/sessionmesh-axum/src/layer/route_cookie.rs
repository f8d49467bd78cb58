//! The cookie that tells a balancer which node to ask first.

use std::borrow::Cow;
use std::time::Duration;

use ::cookie::{Cookie, CookieBuilder};
use http::HeaderValue;

use super::cookie::{SessionCookie, header};

/// A cookie that names the node that served the visitor, so that a balancer can send the next request there too.
///
/// This is an optimisation, never a need: any node serves any session. The cookie is set if a request that used a
/// session brought none, or one that names another node, as after a fail-over. Its value is the name of the node in
/// clear. Its scope (path, domain, `Secure`, `SameSite`) is that of the session cookie; scripts cannot read it.
#[derive(Clone, Debug)]
pub struct RouteCookie {
    pub(super) name: Cow<'static, str>,
    max_age: Option<Duration>,
    pub(super) moves_sessions: bool,
}

impl RouteCookie {
    /// A cookie of this name that ends with the browser.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), max_age: None, moves_sessions: false }
    }

    /// Lets the cookie outlive the browser, counted from when it was set: whole seconds, at least one.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Whether a session moves along with its visitor. Default false. Only for balancers that follow this cookie:
    /// behind one that sends each request to any node, each request would move the session.
    ///
    /// If a request names another node than the one at which it arrived, as after a crash, its commit gives the session
    /// an id whose primary is this node ([`sessionmesh::Session::move_home`]). Even a request that only reads then
    /// waits for copies. So this node need not ask others at further requests of the visitor. Requests with the old id
    /// are served for another minute, and each response sends the new id. A visitor who lost the response with it, and
    /// sends nothing for that minute, has to log in again.
    ///
    /// A failed move changes nothing for the visitor, and is not tried again until the cookie names another node once
    /// more. Nothing moves with a 5xx answer, or on a node that leaves.
    #[must_use]
    pub const fn moves_sessions(mut self, moves: bool) -> Self {
        self.moves_sessions = moves;
        self
    }

    /// `Set-Cookie` that names `node`, in the scope of `session`.
    pub(super) fn give(&self, node: &str, session: &SessionCookie) -> HeaderValue {
        let cookie = Cookie::build((self.name.clone().into_owned(), node.to_owned())).http_only(true);
        let age = |age| ::cookie::time::Duration::try_from(age).unwrap_or(::cookie::time::Duration::MAX);
        let cookie = self.max_age.into_iter().map(age).fold(session.with_scope(cookie), CookieBuilder::max_age);
        header(&cookie.build())
    }
}
