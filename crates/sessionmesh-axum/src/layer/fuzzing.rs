//! What the layer reads of a request and writes about it, for fuzz targets.

use http::{HeaderMap, HeaderValue};
use sessionmesh::SessionId;

use super::cookie::SessionCookie;
use super::request_cookies::RequestCookies;

/// What a request's cookies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadCookies {
    /// The ids, in the order in which they came.
    pub ids: Vec<SessionId>,
    /// So many cookies had the name of the session cookie.
    pub named: usize,
    /// Its route cookies name another node, and not this one.
    pub names_another_node: bool,
}

/// Reads the cookies of a request at the node `web-1`, whose route cookie is called `route`.
#[must_use]
pub fn read_cookies(headers: &HeaderMap, cookie: &SessionCookie) -> ReadCookies {
    let read = RequestCookies::of(headers, cookie, Some("route"), "web-1");
    ReadCookies { ids: read.ids().collect(), named: read.named, names_another_node: read.names_another_node() }
}

/// The cookie that names this session.
#[must_use]
pub fn set_cookie(cookie: &SessionCookie, id: SessionId) -> HeaderValue {
    cookie.give(id, None)
}

/// The cookies that take it back after a request for this path.
#[must_use]
pub fn take_back(cookie: &SessionCookie, path: &str) -> Vec<HeaderValue> {
    cookie.take_back(Some(path))
}
