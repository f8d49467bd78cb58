//! From a request to its answer.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessionmesh::{Health, SessionId, UserError};
use tracing::info;

use crate::access::{self, Caller, Denied};
use crate::events::{STREAMS_MAX, Wanted};
use crate::{Admin, Body, Request, page, show};

/// What goes wrong with a request. The text says what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// A word for programs.
    error: &'static str,
    text: String,
}

type Answer = Result<Response<Body>, Problem>;

/// A session, by its id as the cookie has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSession {
    id: String,
    /// Whether to show what is in it.
    #[serde(default)]
    reveal: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfUser {
    user: String,
}

/// The paths, with the method of each.
pub(crate) const PATHS: &[(&str, Method)] = &[
    ("/livez", Method::GET),
    ("/readyz", Method::GET),
    ("/metrics", Method::GET),
    ("/openapi.json", Method::GET),
    ("/v1/health", Method::GET),
    ("/v1/members", Method::GET),
    ("/v1/slots", Method::GET),
    ("/v1/stats", Method::GET),
    ("/v1/config", Method::GET),
    ("/v1/events", Method::GET),
    ("/v1/sessions/find", Method::POST),
    ("/v1/sessions/end", Method::POST),
    ("/v1/users/find", Method::POST),
    ("/v1/users/end", Method::POST),
    ("/v1/drain", Method::POST),
];

impl Admin {
    /// Answers a request. Its path is the one below where this is mounted: `/v1/members`.
    pub async fn answer(&self, request: &Request) -> Response<Body> {
        let mut response = match self.try_answer(request).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        response
    }

    async fn try_answer(&self, request: &Request) -> Answer {
        let path = request.parts.uri.path();
        if matches!(request.parts.method, Method::GET | Method::HEAD)
            && let Some(file) = page::page_file(path)
        {
            return Ok(file.map(Body::Whole));
        }
        let Some((path, method)) = PATHS.iter().find(|(known, _)| *known == path) else {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no_such_path",
                "there is nothing here; see /openapi.json",
            ));
        };
        let reads = *method == Method::GET && request.parts.method == Method::HEAD;
        if request.parts.method != *method && !reads {
            return Ok(wrong_method(method));
        }
        // Probes have no token.
        match *path {
            "/livez" => return Ok(probe(&self.0.mesh.health(), Health::is_live)),
            "/readyz" => return Ok(probe(&self.0.mesh.health_with_progress().await, Health::is_ready)),
            _ => {}
        }
        let Request { parts, from, .. } = request;
        let caller = access::check(&parts.headers, &parts.uri, *from, self.0.token.as_deref())?;
        match *path {
            "/metrics" => self.metrics_text(),
            "/openapi.json" => Ok(answer("application/json", Bytes::from_static(OPENAPI.as_bytes()))),
            "/v1/health" => Ok(json_answer(&show::health(&self.0.mesh).await)),
            "/v1/members" => Ok(json_answer(&show::members(&self.0.mesh).await)),
            "/v1/slots" => Ok(json_answer(&show::slots(&self.0.mesh))),
            "/v1/stats" => Ok(json_answer(&show::stats(&self.0.mesh))),
            "/v1/config" => Ok(json_answer(&show::config(&self.0.mesh))),
            "/v1/events" if reads => Ok(answer("text/event-stream", Bytes::new())),
            "/v1/events" => self.events(Wanted::of(parts.uri.query())),
            "/v1/drain" => self.begin_drain(caller),
            _ => self.of_sessions(path, request, caller).await,
        }
    }

    fn metrics_text(&self) -> Answer {
        let Some(render) = &self.0.metrics else {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no_metrics",
                "this program has installed no recorder of metrics",
            ));
        };
        self.0.mesh.publish_metrics();
        Ok(answer("text/plain; version=0.0.4; charset=utf-8", Bytes::from(render())))
    }

    fn events(&self, wanted: Wanted) -> Answer {
        let Some(stream) = self.0.open.stream(&self.0.mesh, wanted) else {
            let text = format!("{STREAMS_MAX} streams of events are open already; close one");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", text));
        };
        let mut response = answer("text/event-stream", Bytes::new());
        *response.body_mut() = Body::Events(stream);
        // Proxies would wait until they have much.
        response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        Ok(response)
    }

    fn begin_drain(&self, caller: Caller) -> Answer {
        let Some(drain) = &self.0.drain else {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no_drain",
                "this program cannot be drained from here; stop it",
            ));
        };
        info!(by = %caller, "asked to hand over and stop");
        drain();
        let mut accepted = json_answer(&json!({ "state": "leaving" }));
        *accepted.status_mut() = StatusCode::ACCEPTED;
        Ok(accepted)
    }

    async fn of_sessions(&self, path: &str, request: &Request, caller: Caller) -> Answer {
        match path {
            "/v1/sessions/find" => {
                let OfSession { id, reveal } = read(&request.body)?;
                self.find(session_id(&id)?, reveal, caller).await
            }
            "/v1/sessions/end" => {
                let OfSession { id, .. } = read(&request.body)?;
                self.end(session_id(&id)?, caller).await
            }
            "/v1/users/find" => {
                let OfUser { user } = read(&request.body)?;
                let found = self.0.mesh.sessions_of(&user).await.map_err(of_user)?;
                Ok(json_answer(&show::user(&user, &found)))
            }
            _ => {
                let OfUser { user } = read(&request.body)?;
                let ended = self.0.mesh.invalidate_all(&user).await.map_err(of_user)?;
                info!(by = %caller, user, sessions = ended.ended, "ended all sessions of a user");
                Ok(json_answer(&json!({ "ended": ended.ended, "unconfirmed": ended.unconfirmed.len() })))
            }
        }
    }

    async fn find(&self, id: SessionId, reveal: bool, caller: Caller) -> Answer {
        let mesh = &self.0.mesh;
        if reveal && !self.0.reveal {
            let text = "this node does not show what is in sessions; `reveal` must be allowed where it is started";
            return Err(Problem::new(StatusCode::FORBIDDEN, "reveal_not_allowed", text));
        }
        let mut shown = show::session(mesh, id, &mesh.copies(id).await);
        if reveal {
            info!(by = %caller, session = %id, "showed what is in a session");
            let session = mesh.peek(id).await.map_err(|error| Problem::unsure(&error))?;
            shown["values"] = session.map_or(Value::Null, |session| show::values(&session));
        }
        Ok(json_answer(&shown))
    }

    async fn end(&self, id: SessionId, caller: Caller) -> Answer {
        let found = self.0.mesh.peek(id).await.map_err(|error| Problem::unsure(&error))?;
        let Some(session) = found else {
            let text = "there is no such session, or it has ended; nothing was changed";
            return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_session", text));
        };
        let ended = session.invalidate().await;
        info!(by = %caller, session = %id, ?ended, "ended a session");
        match ended {
            Ok(_) => Ok(json_answer(&json!({ "ended": true, "confirmed": true }))),
            Err(error) if error.was_made() => Ok(json_answer(&json!({ "ended": true, "confirmed": false }))),
            Err(error) => Err(Problem::unsure(&error)),
        }
    }
}

impl Problem {
    fn new(status: StatusCode, error: &'static str, text: impl Into<String>) -> Self {
        Self { status, error, text: text.into() }
    }

    fn unsure(error: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "cannot_tell", error.to_string())
    }

    fn into_response(self) -> Response<Body> {
        let mut response = json_answer(&json!({ "error": self.error, "text": self.text }));
        *response.status_mut() = self.status;
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::new(denied.status(), "denied", denied.to_string())
    }
}

const OPENAPI: &str = include_str!("openapi.json");

fn of_user(error: UserError) -> Problem {
    match error {
        UserError::NoIndex => Problem::new(StatusCode::NOT_FOUND, "no_user_index", error.to_string()),
        UserError::TooMany { .. } => Problem::new(StatusCode::CONFLICT, "too_many", error.to_string()),
        error => Problem::unsure(&error),
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        // What was sent is not repeated: a session id may be in it.
        let text = match error.classify() {
            serde_json::error::Category::Data => "the body has not the fields that it must have; see /openapi.json",
            _ => "the body is not JSON",
        };
        Problem::new(StatusCode::BAD_REQUEST, "malformed", text)
    })
}

fn session_id(text: &str) -> Result<SessionId, Problem> {
    SessionId::decode(text)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "malformed", "`id` is no session id, as the cookie has it"))
}

fn wrong_method(allowed: &Method) -> Response<Body> {
    let text = format!("only {allowed} is possible here");
    let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", text).into_response();
    let allowed = if *allowed == Method::GET { "GET, HEAD" } else { "POST" };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn probe(health: &Health, is_well: impl Fn(&Health) -> bool) -> Response<Body> {
    let mut response = answer("text/plain; charset=utf-8", Bytes::from(format!("{health}\n")));
    if !is_well(health) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn json_answer(value: &Value) -> Response<Body> {
    let mut text = value.to_string();
    text.push('\n');
    answer("application/json", Bytes::from(text))
}

fn answer(kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
