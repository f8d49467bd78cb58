//! The last step before the head of a response leaves: its cookies, and what caches may do with it.

use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use sessionmesh::{MemberState, SessionId};

use super::cookie_age;
use super::site::Site;
use super::visit::{CookieAction, State, Visit};

impl Visit {
    /// Whether an id is to be told that may have ended elsewhere without this node's knowledge.
    pub(super) fn must_look(&self) -> bool {
        id_to_tell(&self.state(), &self.site).is_some_and(|id| !self.site.mesh.holds(id))
    }

    /// Looks whether an id that is to be told still lives. A browser that got another one meanwhile must not get it again.
    pub(super) async fn look_again(&self) {
        if !self.must_look() {
            return;
        }
        let Some(id) = id_to_tell(&self.state(), &self.site) else { return };
        let lives = match self.site.mesh.peek(id).await {
            Ok(found) => found.is_some_and(|session| session.id() == id),
            // The browser loses nothing by hearing what it knows.
            Err(_) => true,
        };
        self.state().ended_elsewhere = !lives;
    }

    /// Adds the cookies that the visitor must get, and what caches must know. From then on no new id can be told.
    pub(super) fn write_headers(&self, headers: &mut HeaderMap) {
        let mut state = self.state();
        state.answered = true;
        state.note_use();
        let mut cookies: Vec<_> = session_cookies(&state, self);
        cookies.extend(route_cookie(&state, &self.site));
        let cache = if cookies.is_empty() { "private, no-cache" } else { "no-store" };
        let says = |word| has_word(headers, CACHE_CONTROL, word);
        let is_silent = if cookies.is_empty() {
            self.site.cache_headers && !headers.contains_key(CACHE_CONTROL)
        } else {
            !says("private") && !says("no-store")
        };
        if is_silent {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
        }
        if self.site.cache_headers && !has_word(headers, VARY, "cookie") && !has_word(headers, VARY, "*") {
            headers.append(VARY, HeaderValue::from_static("Cookie"));
        }
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// The id that the session cookie of the response is to have, if there is to be one.
fn id_to_tell(state: &State, site: &Site) -> Option<SessionId> {
    match (state.cookie, &state.session) {
        (CookieAction::Id(id), _) => Some(id),
        (CookieAction::Nothing, Some(session)) if !state.over => {
            let tells = state.cookie_changed || cookie_age::of(state, site).is_some();
            tells.then(|| session.id())
        }
        (CookieAction::Nothing | CookieAction::Gone, _) => None,
    }
}

fn session_cookies(state: &State, visit: &Visit) -> Vec<HeaderValue> {
    let site = &*visit.site;
    if state.cookie == CookieAction::Gone {
        let path = (state.request_cookies.named > 1).then(|| visit.uri.path());
        return site.cookie.take_back(path);
    }
    let id = id_to_tell(state, site).filter(|id| !state.ended_elsewhere && !has_ended(*id, site));
    id.map(|id| site.cookie.give(id, cookie_age::of(state, site))).into_iter().collect()
}

/// Whether this node knows that a session has ended since it was loaded, made or moved. A browser that got another id meanwhile must
/// not get the old one again.
fn has_ended(id: SessionId, site: &Site) -> bool {
    site.mesh.holds(id) && !site.mesh.holds_live(id)
}

/// Names this node to the balancer if the visitor has a session and came with another name or none.
///
/// Who came with another name came here by a fail-over, or past the balancer. A session that shall follow and was not
/// tried to move, since the answer is 5xx, is left to the next request, whose cookie must then name another node still.
fn route_cookie(state: &State, site: &Site) -> Option<HeaderValue> {
    let route = site.route.as_ref()?;
    if state.session.is_none() || state.request_cookies.routed_here || state.moves_home {
        return None;
    }
    let name = site.mesh.name();
    // A node that is about to go calls nobody to itself.
    let stays = |state| matches!(state, MemberState::Joining | MemberState::Ready);
    let stays = site.mesh.members().iter().any(|member| &*member.name == name && stays(member.state));
    stays.then(|| route.give(name, &site.cookie))
}

fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(word))
}
