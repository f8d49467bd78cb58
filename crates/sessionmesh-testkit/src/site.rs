//! A site on the axum layer.

use axum::Router;
use axum::extract::Path;
use axum::response::Redirect;
use axum::routing::{get, post};
use sessionmesh::{Mesh, SessionId};
use sessionmesh_axum::{RouteCookie, Session, SessionError, SessionLayer};

use crate::browser::Browser;

/// The name of the session cookie.
pub const SESSION: &str = "__Host-session";
/// The name of the route cookie, if there is one.
pub const ROUTE: &str = "route";

/// Routes that do one thing each: `GET /read/{key}`, `POST /write/{key}/{value}` (redirects to read it),
/// `POST /login/{user}`, `POST /logout`.
pub fn routes() -> Router {
    Router::new()
        .route("/read/{key}", get(read))
        .route("/write/{key}/{value}", post(write))
        .route("/login/{user}", post(login))
        .route("/logout", post(logout))
}

/// `routes` on this node.
pub fn site(mesh: &Mesh, routes: Router) -> Router {
    routes.layer(SessionLayer::new(mesh.clone()))
}

/// `routes` on this node, with a route cookie.
///
/// # Panics
///
/// Never: the name is plain.
pub fn routed_site(mesh: &Mesh, routes: Router, moves_sessions: bool) -> Router {
    let route = RouteCookie::new(ROUTE).moves_sessions(moves_sessions);
    routes.layer(SessionLayer::new(mesh.clone()).route_cookie(route).expect("a plain name"))
}

async fn read(session: Session, Path(key): Path<String>) -> Result<String, SessionError> {
    Ok(session.get(&key)?.unwrap_or_else(|| "none".to_owned()))
}

async fn write(session: Session, Path((key, value)): Path<(String, String)>) -> Result<Redirect, SessionError> {
    session.insert(&key, &value)?;
    Ok(Redirect::to(&format!("/read/{key}")))
}

async fn login(session: Session, Path(user): Path<String>) -> Result<(), SessionError> {
    session.renew();
    session.insert("user", &user)
}

async fn logout(session: Session) -> Result<(), SessionError> {
    session.invalidate().await.map(|_| ())
}

/// What a browser knows of such a site.
impl Browser {
    /// The session that it knows of.
    ///
    /// # Panics
    ///
    /// The site gave it another cookie than its own two.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        let foreign = self.cookies.pairs().find(|pair| ![SESSION, ROUTE].iter().any(|name| pair.starts_with(name)));
        assert!(foreign.is_none(), "nobody sets {foreign:?}");
        SessionId::decode(self.cookies.get(SESSION)?).ok()
    }

    /// The node that the route cookie names.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.cookies.get(ROUTE)
    }

    /// The same browser with this route cookie, or none.
    #[must_use]
    pub fn routed_to(&self, node: Option<&str>) -> Self {
        let mut other = self.clone();
        other.cookies.set(ROUTE, node);
        other
    }
}
