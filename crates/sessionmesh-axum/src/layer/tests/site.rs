//! A node that is alone, a site on it, and a visitor with a browser.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use sessionmesh::{Discovery, Mesh, MeshBuilder, SessionId};
use tower::ServiceExt as _;

use crate::{Session, SessionError, SessionLayer};

pub(super) const NAME: &str = "__Host-session";

pub(in super::super) async fn mesh() -> Mesh {
    mesh_with(|builder| builder).await
}

pub(super) async fn mesh_with(adjust: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Mesh {
    let builder = Mesh::builder().name("web-1").discovery(Discovery::seeds(["127.0.0.1:1"]));
    let mesh = adjust(builder.discovery_window(Duration::ZERO)).start().await.unwrap();
    mesh.ready().await;
    mesh
}

/// Routes that do one thing each, without a layer.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/quiet", get(|| async { "nothing" }))
        .route("/look", get(|_: Session| async { "looked" }))
        .route("/read/{key}", get(read))
        .route("/write/{key}/{value}", post(write))
        .route("/remove/{key}", post(|session: Session, Path(key): Path<String>| async move { session.remove(&key) }))
        .route("/login/{user}", post(login))
        .route("/logout", post(logout))
}

pub(super) fn site(mesh: &Mesh) -> Router {
    routes().layer(SessionLayer::new(mesh.clone()))
}

async fn read(session: Session, Path(key): Path<String>) -> Result<String, SessionError> {
    Ok(session.get(&key)?.unwrap_or_else(|| "none".to_owned()))
}

async fn write(session: Session, Path((key, value)): Path<(String, String)>) -> Result<(), SessionError> {
    session.insert(&key, &value)
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
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    /// All `Set-Cookie`.
    pub(super) fn set(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub(super) fn cache(&self) -> Vec<&str> {
        self.headers.get_all(CACHE_CONTROL).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub(super) fn asks_to_come_again(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            && self.headers.get(RETRY_AFTER).is_some_and(|after| after == "1")
    }
}

pub(super) async fn send(site: &Router, method: &str, path: &str, cookie: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    send_request(site, request.body(Body::empty()).unwrap()).await
}

pub(super) async fn send_request(site: &Router, request: Request<Body>) -> Answer {
    let (head, body) = site.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// Somebody whose browser keeps cookies.
#[derive(Clone, Debug, Default)]
pub(super) struct Visitor {
    pub(super) cookies: BTreeMap<String, String>,
}

impl Visitor {
    pub(super) fn cookie(&self) -> Option<String> {
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The session that the browser knows of.
    pub(super) fn id(&self) -> Option<SessionId> {
        SessionId::decode(self.cookies.get(NAME)?).ok()
    }

    pub(super) fn take(&mut self, answer: &Answer) {
        for set in answer.set() {
            let (name, rest) = set.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub(super) async fn ask(&mut self, site: &Router, method: &str, path: &str) -> Answer {
        let answer = send(site, method, path, self.cookie().as_deref()).await;
        self.take(&answer);
        answer
    }

    pub(super) async fn get(&mut self, site: &Router, path: &str) -> String {
        self.ask(site, "GET", path).await.body
    }

    pub(super) async fn post(&mut self, site: &Router, path: &str) -> Answer {
        self.ask(site, "POST", path).await
    }
}
