//! The cookie that tells a balancer which node to ask first.

use std::borrow::Cow;
use std::time::Duration;

use ::cookie::{Cookie, CookieBuilder};
use http::HeaderValue;

use super::cookie::{SessionCookie, header};

/// A cookie that names the node that served the visitor, so that a balancer can send the next request there too.
///
/// That is an optimisation, never a need: any node serves any session. It is set when a request that used a session
/// brought none, or one that names another node, as after a fail-over. Its value is the node's name in clear. Where it is
/// sent to (path, domain, `Secure`, `SameSite`) it has from the session cookie; scripts cannot read it.
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

    /// Lets it outlive the browser. Counted from when it was set; whole seconds, at least one.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Whether a session moves along with its visitor: default false. Only for balancers that go by this cookie; behind one
    /// that sends each request to any node, each request would move the session.
    ///
    /// When a request names another node than the one that it came to, as after a crash, its session gets an id whose home
    /// is here ([`sessionmesh::Session::move_home`]), with the request's commit; a request that only reads waits for
    /// copies then, too. So this node need not ask others at the visitor's further requests. Requests with the old id are
    /// served for another minute, and each of them tells the visitor the new one: who lost the response with it, and is
    /// silent for that minute, has to log in again.
    ///
    /// A move that fails changes nothing for the visitor, and is not tried again until the cookie names another node once
    /// more. With an answer 5xx, or on a node that leaves, nothing moves.
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
