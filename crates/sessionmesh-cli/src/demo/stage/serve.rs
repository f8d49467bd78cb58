//! HTTP of the demo's page: its files, the admin API of the first node that runs, and the buttons.

#![allow(clippy::disallowed_types, reason = "the operators' HTTP is no traffic of the mesh")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, Request, State as Shared};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use futures::stream::{Stream, unfold};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, interval};

use super::{Act, Load, Shown, What};
use crate::http_client;

/// The largest body of a question to a node.
const BODY_BYTES_MAX: usize = sessionmesh_admin::BODY_BYTES_MAX;
/// How often pages are told of the visitors.
const TICK: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct Parts {
    wish: mpsc::Sender<Act>,
    shown: watch::Receiver<Vec<Shown>>,
    load: Arc<Load>,
}

/// Serves until the program ends. Where.
pub(super) async fn serve(
    at: SocketAddr,
    wish: mpsc::Sender<Act>,
    shown: watch::Receiver<Vec<Shown>>,
    load: Arc<Load>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(at).await?;
    let at = listener.local_addr()?;
    let app = Router::new()
        .route("/", get(async || Redirect::temporary("/page")))
        .route("/page", get(page))
        .route("/page/{file}", get(page))
        .route("/v1/{*path}", any(through_a_node))
        .route("/stage", get(look))
        .route("/stage/events", get(events))
        .route("/stage/load", post(switch))
        .route("/stage/{what}", post(act))
        .layer(from_fn(this_machine_only))
        .with_state(Parts { wish, shown, load });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(at)
}

/// As the admin address of a node: no page of anybody else may press buttons here.
async fn this_machine_only(request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| from.ip());
    match sessionmesh_admin::is_this_machine(request.headers(), request.uri(), from) {
        Ok(()) => next.run(request).await,
        Err(why) => {
            (StatusCode::FORBIDDEN, Json(json!({ "error": "denied", "text": why.to_string() }))).into_response()
        }
    }
}

async fn page(request: Request) -> Response {
    let path = request.uri().path();
    sessionmesh_admin::page_file(path)
        .map_or_else(|| StatusCode::NOT_FOUND.into_response(), |file| file.map(Body::from))
}

fn shown(parts: &Parts) -> Value {
    json!({ "nodes": *parts.shown.borrow(), "load": parts.load.shown() })
}

async fn look(Shared(parts): Shared<Parts>) -> Json<Value> {
    Json(shown(&parts))
}

async fn events(Shared(parts): Shared<Parts>) -> Response {
    let stream = Body::from_stream(told(parts));
    ([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))], stream).into_response()
}

fn told(parts: Parts) -> impl Stream<Item = Result<String, Infallible>> {
    unfold((parts, interval(TICK)), |(mut parts, mut ticks)| async move {
        tokio::select! {
            changed = parts.shown.changed() => changed.ok()?,
            _ = ticks.tick() => {}
        }
        let text = format!("event: stage\ndata: {}\n\n", shown(&parts));
        Some((Ok(text), (parts, ticks)))
    })
}

#[derive(Deserialize)]
struct Switch {
    on: bool,
}

async fn switch(Shared(parts): Shared<Parts>, Json(Switch { on }): Json<Switch>) -> Json<Value> {
    parts.load.switch(on);
    Json(shown(&parts))
}

#[derive(Deserialize)]
struct Of {
    node: String,
}

async fn act(Shared(parts): Shared<Parts>, Path(what): Path<What>, Json(Of { node }): Json<Of>) -> Response {
    let (done, outcome) = oneshot::channel();
    let sent = parts.wish.send(Act { node, what, done }).await;
    let outcome = match sent {
        Ok(()) => outcome.await.unwrap_or_else(|_| Err("the demo ends".to_owned())),
        Err(_) => Err("the demo ends".to_owned()),
    };
    match outcome {
        Ok(()) => Json(shown(&parts)).into_response(),
        Err(text) => (StatusCode::CONFLICT, Json(json!({ "error": "not_done", "text": text }))).into_response(),
    }
}

/// Asks the first node that runs, and passes its answer on as it comes.
async fn through_a_node(Shared(parts): Shared<Parts>, request: Request) -> Response {
    let runs = |node: &&Shown| matches!(node.state, super::State::Running | super::State::Draining);
    let admin = parts.shown.borrow().iter().filter(runs).find_map(|node| node.admin);
    let Some(admin) = admin else {
        return (StatusCode::BAD_GATEWAY, Json(json!({ "error": "no_node", "text": "no node runs" }))).into_response();
    };
    passed_on(admin, request).await.unwrap_or_else(|error| {
        let text = format!("{admin} does not answer: {error}");
        (StatusCode::BAD_GATEWAY, Json(json!({ "error": "no_answer", "text": text }))).into_response()
    })
}

async fn passed_on(admin: SocketAddr, request: Request) -> Result<Response, http_client::Trouble> {
    let (mut parts, body) = request.into_parts();
    let body = Full::<Bytes>::new(to_bytes(body, BODY_BYTES_MAX).await?);
    // It asks in its own name.
    parts.headers.clear();
    parts.headers.insert(HOST, HeaderValue::from_str(&admin.to_string())?);
    let answer = http_client::sent(admin, Request::from_parts(parts, body)).await?;
    Ok(answer.map(Body::new))
}
