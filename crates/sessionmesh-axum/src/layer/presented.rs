//! What a request's cookies say.

use ::cookie::Cookie;
use http::HeaderMap;
use http::header::COOKIE;
use sessionmesh::SessionId;

use super::settings::Site;

/// So many ids of one request are looked for. Each may cost a question to other nodes.
const IDS_MAX: usize = 4;

/// What a request brought.
#[derive(Debug, Default)]
pub(super) struct Presented {
    ids: [Option<SessionId>; IDS_MAX],
    /// It had a cookie of the session's name, of whatever content.
    pub(super) named: bool,
    /// Its route cookie names this node.
    pub(super) routed_here: bool,
    /// It had a route cookie with another name.
    routed_elsewhere: bool,
}

impl Presented {
    /// Reads the cookies. What is malformed counts as not there, and takes nothing else along.
    pub(super) fn read(headers: &HeaderMap, site: &Site) -> Self {
        let mut presented = Self::default();
        let route = site.route.as_ref().map(|route| &*route.name);
        let pairs = headers.get_all(COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        for pair in pairs {
            let Ok(pair) = str::from_utf8(pair) else { continue };
            let Ok(cookie) = Cookie::parse(pair) else { continue };
            if cookie.name() == site.cookie.name {
                presented.named = true;
                presented.add(site.cookie.id(cookie.value()));
            } else if Some(cookie.name()) == route {
                let is_here = cookie.value() == site.mesh.name();
                presented.routed_here |= is_here;
                presented.routed_elsewhere |= !is_here && !cookie.value().is_empty();
            }
        }
        presented
    }

    fn add(&mut self, id: Option<SessionId>) {
        if id.is_none() || self.ids.contains(&id) {
            return;
        }
        if let Some(free) = self.ids.iter_mut().find(|known| known.is_none()) {
            *free = id;
        }
    }

    /// Whether it was meant for another node, and not for this one.
    pub(super) const fn names_another_node(&self) -> bool {
        self.routed_elsewhere && !self.routed_here
    }

    /// Whether the browser has this id.
    pub(super) fn has(&self, id: SessionId) -> bool {
        self.ids.contains(&Some(id))
    }

    /// The ids, in the order in which they came.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> + Send {
        self.ids.into_iter().flatten()
    }
}
