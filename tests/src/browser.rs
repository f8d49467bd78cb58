//! A site on the axum layer, and a browser that visits it on any node, without a network between them.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::response::Redirect;
use axum::routing::{get, post};
use http_body_util::BodyExt as _;
use sessionmesh::{Mesh, SessionId};
use sessionmesh_axum::{RouteCookie, Session, SessionError, SessionLayer};
use tower::ServiceExt as _;

/// The default name of the session cookie.
const NAME: &str = "__Host-session";
/// The name of the route cookie, if there is one.
const ROUTE: &str = "route";

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

/// What came back.
#[derive(Debug)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// Whether the session cookie was set or taken back.
    pub sets_cookie: bool,
    /// Where it redirects to.
    pub location: Option<String>,
    /// The body.
    pub body: String,
}

/// A browser that keeps the session cookie and the route cookie.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    cookie: Option<String>,
    route: Option<String>,
}

impl Browser {
    /// The session that it knows of.
    pub fn id(&self) -> Option<SessionId> {
        SessionId::decode(self.cookie.as_deref()?).ok()
    }

    /// The node that the route cookie names.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// The same browser with this route cookie, or none.
    #[must_use]
    pub fn routed_to(&self, node: Option<&str>) -> Self {
        Self { cookie: self.cookie.clone(), route: node.map(str::to_owned) }
    }

    /// Asks a site, and takes what cookie it gives.
    ///
    /// # Panics
    ///
    /// The answer is none that a browser could read.
    pub async fn ask(&mut self, site: &Router, method: &str, path: &str) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in [(NAME, &self.cookie), (ROUTE, &self.route)] {
            if let Some(value) = value {
                request = request.header(COOKIE, format!("theme=dark; {name}={value}"));
            }
        }
        let request = request.body(Body::empty()).expect("a method and a path");
        let Ok(response) = site.clone().oneshot(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("it is in memory").to_bytes();
        let text = |value: &axum::http::HeaderValue| value.to_str().expect("ASCII").to_owned();
        let mut sets_cookie = false;
        for set in head.headers.get_all(SET_COOKIE).iter().map(text) {
            let (name, value) = set.split_once('=').expect("a name and a value");
            let value = value.split(';').next().filter(|value| !value.is_empty()).map(str::to_owned);
            match name {
                NAME => (self.cookie, sets_cookie) = (value, true),
                ROUTE => self.route = value,
                other => panic!("nobody sets {other}"),
            }
        }
        Page {
            status: head.status,
            sets_cookie,
            location: head.headers.get(LOCATION).map(text),
            body: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    /// The body at `path`.
    pub async fn get(&mut self, site: &Router, path: &str) -> String {
        self.ask(site, "GET", path).await.body
    }

    /// Posts to `path`.
    pub async fn post(&mut self, site: &Router, path: &str) -> Page {
        self.ask(site, "POST", path).await
    }
}
