//! The example application: what a site with logins needs of its sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONNECTION, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use sessionmesh::{CommitError, CreateError, LoadError, Mesh, Session, ValueError};

use super::{cookie, page};

/// The longest user name, in bytes.
const USER_BYTES_MAX: usize = 64;

/// What every request needs.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) mesh: Mesh,
    /// Set when the node is about to stop, for the balancer to see.
    pub(crate) stopping: Arc<AtomicBool>,
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/session", get(visit))
        .route("/logout", post(logout))
        .route("/healthz", get(health))
        .layer(axum::middleware::map_response_with_state(app.clone(), finish))
        .with_state(app)
}

/// No cache may keep what belongs to one visitor, and a node that stops wants no further request on this connection.
async fn finish(State(app): State<App>, mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if app.is_stopping() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn home(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let session = app.session(&headers).await?;
    Ok(page::show(&app.mesh, session.as_ref(), &headers))
}

#[derive(Debug, Deserialize)]
struct Login {
    user: String,
}

async fn login(State(app): State<App>, headers: HeaderMap, Json(login): Json<Login>) -> Result<Response, Problem> {
    if login.user.is_empty() || login.user.len() > USER_BYTES_MAX {
        return Err(Problem::Refused("a user name has 1 to 64 bytes"));
    }
    let before = app.session(&headers).await?;
    let (session, outcome) = match before {
        Some(session) => {
            session.insert("user", &login.user)?;
            // Another id than before the login, so that nobody who planted the old one is logged in too.
            let old = session.id();
            let outcome = session.renew_id().await;
            if outcome.is_err() && session.id() == old {
                return Err(Problem::Later("the session's id could not be renewed".to_owned()));
            }
            (session, outcome)
        }
        None => {
            let session = app.mesh.create().await?;
            session.insert("user", &login.user)?;
            let outcome = session.commit().await;
            (session, outcome)
        }
    };
    let copies = app.made(outcome.map(|commit| commit.copies))?;
    let answer = json!({
        "user": login.user,
        "session": session.id().to_string(),
        "served_by": app.mesh.name(),
        "owners": app.mesh.owners(session.id()),
        "copies": copies,
    });
    Ok(([(SET_COOKIE, cookie::give(session.id()))], Json(answer)).into_response())
}

async fn visit(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let session = app.session(&headers).await?.ok_or(Problem::NotLoggedIn)?;
    let held_here = app.mesh.holds(session.id());
    let counted = session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0).saturating_add(1))).await;
    let counted = match app.made(counted) {
        // It ended between the two steps.
        Err(Problem::Commit(CommitError::Ended | CommitError::Unknown)) => return Err(Problem::NotLoggedIn),
        counted => counted?,
    };
    let visits = match counted {
        Some(visits) => visits,
        None => session.get("visits")?,
    };
    let answer = json!({
        "user": session.get::<String>("user")?,
        "visits": visits,
        "session": session.id().to_string(),
        "created": session.created_ms().and_then(page::moment),
        "served_by": app.mesh.name(),
        "held_here": held_here,
        "owners": app.mesh.owners(session.id()),
    });
    Ok(Json(answer).into_response())
}

async fn logout(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(session) = app.session(&headers).await? {
        app.made(session.invalidate().await)?;
    }
    let answer = json!({ "user": null, "served_by": app.mesh.name() });
    Ok(([(SET_COOKIE, cookie::take_back())], Json(answer)).into_response())
}

async fn health(State(app): State<App>) -> Response {
    let (status, state) = match (app.is_stopping(), app.mesh.is_ready()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "joining"),
        (false, true) => (StatusCode::OK, "ready"),
    };
    let members: Vec<_> = app.mesh.members().into_iter().map(|member| member.name).collect();
    (status, Json(json!({ "node": app.mesh.name(), "state": state, "members": members }))).into_response()
}

impl App {
    /// The visitor's session.
    async fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, LoadError> {
        match cookie::read(headers) {
            Some(id) => self.mesh.load(id).await,
            None => Ok(None),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A change that was made is a success for the visitor, also when it has fewer copies than configured; the log has
    /// it. None stands for a result that went with the error. A node that has left changes nothing any more: another
    /// node can.
    fn made<T>(&self, outcome: Result<T, CommitError>) -> Result<Option<T>, Problem> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error @ CommitError::Left) => Err(Problem::Later(error.to_string())),
            Err(
                error @ (CommitError::TimedOut { .. } | CommitError::NoOtherNode | CommitError::TooFewCopies { .. }),
            ) => {
                tracing::warn!(%error, "fewer copies than asked for");
                Ok(None)
            }
            Err(error) => Err(Problem::Commit(error)),
        }
    }
}

/// Why a request fails. None of these takes the visitor's cookie away.
#[derive(Debug)]
enum Problem {
    NotLoggedIn,
    Refused(&'static str),
    /// It may work in a moment.
    Later(String),
    Commit(CommitError),
    Value(ValueError),
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<ValueError> for Problem {
    fn from(error: ValueError) -> Self {
        Self::Value(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::NotLoggedIn => (StatusCode::UNAUTHORIZED, "not logged in".to_owned()),
            Self::Refused(why) => (StatusCode::BAD_REQUEST, why.to_owned()),
            Self::Later(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
            Self::Commit(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Self::Value(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
