//! What a request's cookies say.

use ::cookie::Cookie;
use http::HeaderMap;
use http::header::COOKIE;
use sessionmesh::SessionId;

use super::cookie::SessionCookie;
use super::site::Site;

/// So many different ids of one request are looked at: more than a browser keeps cookies for a site (180), so that who
/// plants some cannot push the good one out.
const IDS_MAX: usize = 256;

/// What a request brought.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestCookies {
    first: Option<SessionId>,
    /// Empty, and without memory of its own, for nearly everybody.
    more: Vec<SessionId>,
    /// So many cookies of the session's name, of whatever content.
    pub(super) named: usize,
    /// Its route cookie names this node.
    pub(super) routed_here: bool,
    /// It had a route cookie with another name.
    routed_elsewhere: bool,
}

impl RequestCookies {
    /// Reads the cookies. What is malformed counts as not there, and takes nothing else along.
    pub(super) fn read(headers: &HeaderMap, site: &Site) -> Self {
        let route = site.route.as_ref().map(|route| &*route.name);
        Self::of(headers, &site.cookie, route, site.mesh.name())
    }

    /// At the node of this name.
    pub(super) fn of(headers: &HeaderMap, session: &SessionCookie, route: Option<&str>, node: &str) -> Self {
        let mut request_cookies = Self::default();
        let pairs = headers.get_all(COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        for pair in pairs {
            let Ok(pair) = str::from_utf8(pair) else { continue };
            let Ok(cookie) = Cookie::parse(pair) else { continue };
            if cookie.name() == session.name {
                request_cookies.named += 1;
                request_cookies.add(session.id(cookie.value()));
            } else if Some(cookie.name()) == route {
                let is_here = cookie.value() == node;
                request_cookies.routed_here |= is_here;
                request_cookies.routed_elsewhere |= !is_here && !cookie.value().is_empty();
            }
        }
        request_cookies
    }

    pub(super) fn add(&mut self, id: Option<SessionId>) {
        let Some(id) = id else { return };
        if self.first.is_none() {
            self.first = Some(id);
        } else if self.more.len() + 1 < IDS_MAX && !self.has(id) {
            self.more.push(id);
        }
    }

    /// Whether it was meant for another node, and not for this one.
    pub(super) const fn names_another_node(&self) -> bool {
        self.routed_elsewhere && !self.routed_here
    }

    /// Whether the browser has this id.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.first == Some(id) || self.more.contains(&id)
    }

    /// The ids, in the order in which they came.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> + Send {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    /// The only id, if there is one and no other.
    pub(super) fn only(&self) -> Option<SessionId> {
        self.first.filter(|_| self.more.is_empty())
    }
}
