//! The last step before the head of a response leaves: its cookies.

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use sessionmesh::{MemberState, SessionId};

use super::settings::Site;
use super::visit::{State, Tell, Visit};

impl Visit {
    /// Adds the cookies that the visitor must get. From then on no new id can be told.
    pub(super) fn sign_off(&self, headers: &mut HeaderMap) {
        let mut state = self.state();
        state.answered = true;
        let cookies = [session_cookie(&state, &self.site), route_cookie(&state, &self.site)];
        if cookies.iter().all(Option::is_none) {
            return;
        }
        for cookie in cookies.into_iter().flatten() {
            headers.append(SET_COOKIE, cookie);
        }
        if !is_private(headers) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

fn session_cookie(state: &State, site: &Site) -> Option<HeaderValue> {
    match (state.tell, &state.session) {
        (Tell::Id(id), _) => (!has_ended(id, site)).then(|| site.cookie.give(id)),
        (Tell::Gone, _) => Some(site.cookie.take_back()),
        (Tell::Nothing, Some(session)) if site.cookie.slides() && !has_ended(session.id(), site) => {
            Some(site.cookie.give(session.id()))
        }
        (Tell::Nothing, _) => None,
    }
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
    if state.session.is_none() || state.presented.routed_here || state.moves_home {
        return None;
    }
    let name = site.mesh.name();
    // A node that is about to go calls nobody to itself.
    let stays = |state| matches!(state, MemberState::Joining | MemberState::Ready);
    let stays = site.mesh.members().iter().any(|member| &*member.name == name && stays(member.state));
    stays.then(|| route.give(name, &site.cookie))
}

fn is_private(headers: &HeaderMap) -> bool {
    let directives = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let mut directives = directives.flat_map(|value| value.split(',')).map(str::trim);
    directives.any(|name| name.eq_ignore_ascii_case("private") || name.eq_ignore_ascii_case("no-store"))
}
