//! The example application: a small shop, with what a site with logins needs of its sessions.

pub(crate) mod account;
mod cart;
mod origin;
mod page;
mod posted;
mod problem;
mod shop;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONNECTION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use sessionmesh::Mesh;
use sessionmesh_axum::{CookieError, RouteCookie, SessionCookie, SessionLayer};

use self::problem::Problem;

/// The name of the session cookie.
pub(crate) const COOKIE: &str = "SESSIONID";

/// What every request needs.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) mesh: Mesh,
    /// Set when the node is about to stop, for the balancer to see.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Lines of the log that could not be written.
    pub(crate) lost_lines: Arc<AtomicU64>,
}

/// All routes. Balancers are told the node by a cookie called `route_cookie`, if there is one.
///
/// # Errors
///
/// Browsers would not take such a cookie.
pub(crate) fn router(app: App, route_cookie: Option<String>) -> Result<Router, CookieError> {
    let sessions = sessions(app.mesh.clone(), route_cookie)?;
    Ok(Router::new()
        .route("/", get(shop::home))
        .route("/cart/add", post(shop::add))
        .route("/cart/remove", post(shop::remove))
        .route("/login", post(account::login))
        .route("/session", get(account::visit))
        .route("/note", post(account::note))
        .route("/logout", post(account::logout))
        .route("/healthz", get(health))
        .layer(sessions)
        .layer(from_fn(origin::own_pages_only))
        .layer(from_fn_with_state(app.clone(), finish))
        .with_state(app))
}

/// The demo runs over plain HTTP on loopback; a site with HTTPS keeps the cookie secure, as it is by default.
fn sessions(mesh: Mesh, route_cookie: Option<String>) -> Result<SessionLayer, CookieError> {
    let layer = SessionLayer::new(mesh)
        .cookie(SessionCookie::new(COOKIE).secure(false))?
        .ignore_paths(["/healthz"])
        .error_page(|error, _| Problem::from(error).into_response());
    match route_cookie {
        Some(name) => layer.route_cookie(RouteCookie::new(name)),
        None => Ok(layer),
    }
}

/// People see problems as a page. No cache may keep what belongs to one visitor, and a node that stops wants no further
/// request on this connection.
async fn finish(State(app): State<App>, request: Request, next: Next) -> Response {
    let html = takes_html(request.headers());
    let mut response = next.run(request).await;
    if html && let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let status = response.status();
        let page = page::problem(&app.mesh, &problem, status);
        let (mut head, _) = response.into_parts();
        let (shown, body) = page.into_parts();
        head.headers.extend(shown.headers);
        head.headers.remove(axum::http::header::CONTENT_LENGTH);
        response = Response::from_parts(head, body);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if app.is_stopping() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether HTML is wanted: by a browser, and not by a program.
fn takes_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

async fn health(State(app): State<App>) -> Response {
    let failure = app.mesh.failure();
    let (status, state) = match (&failure, app.is_stopping(), app.mesh.is_ready()) {
        (Some(_), _, _) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
        (None, true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (None, false, false) => (StatusCode::SERVICE_UNAVAILABLE, "joining"),
        (None, false, true) => (StatusCode::OK, "ready"),
    };
    let members: Vec<_> = app.mesh.members().into_iter().map(|member| member.name).collect();
    let stats = app.mesh.stats();
    let refused = stats.refusals.by_reason().into_iter().filter(|(_, count)| *count > 0);
    let refused: serde_json::Map<_, _> = refused.map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    let mut shown = json!({
        "node": app.mesh.name(),
        "state": state,
        "members": members,
        // What strangers sent to this node, by reasons: not a byte of it is among those that were decoded.
        "refused": refused,
        "bytes_decoded": stats.bytes_decoded,
        "log_lines_lost": app.lost_lines.load(Ordering::Relaxed),
    });
    if let Some(alone) = app.mesh.alone() {
        // It serves, so a balancer may send visitors; a person should look.
        shown["alone"] = json!(alone.tried.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    if app.mesh.is_insecure() {
        shown["insecure"] = true.into();
    }
    if let Some(failure) = failure {
        shown["failure"] = failure.to_string().into();
    }
    (status, Json(shown)).into_response()
}

impl App {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
