//! The layer inside of itself.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use sessionmesh::{Ack, Mesh};

use super::site::{Visitor, mesh, routes, send};
use crate::{Session, SessionCookie, SessionLayer, SessionOptions};

/// Stores something between two layers.
async fn between(session: Session, request: Request, next: Next) -> Response {
    session.insert("between", "here").unwrap();
    next.run(request).await
}

fn named(mesh: &Mesh, name: &'static str) -> SessionLayer {
    SessionLayer::new(mesh.clone()).cookie(SessionCookie::new(name).secure(false)).unwrap()
}

fn inner() -> Router {
    let write = post(async |session: Session| session.insert("inner", "here").unwrap());
    let options = get(async |session: Session| format!("{:?}", session.options()));
    Router::new().route("/inner", write).route("/options", options)
}

#[tokio::test]
async fn an_inner_layer_joins_the_session_of_the_outer_one() {
    let mesh = mesh().await;
    let layer = || SessionLayer::new(mesh.clone());
    let nested = Router::new().nest("/shop", inner().layer(layer()));
    let site = routes().merge(nested.layer(from_fn(between))).layer(layer());
    let mut visitor = Visitor::default();
    let answer = visitor.post(&site, "/shop/inner").await;
    assert_eq!((answer.set().len(), mesh.stats().sessions), (1, 1), "{answer:?}");
    for key in ["between", "inner"] {
        assert_eq!(visitor.get(&site, &format!("/read/{key}")).await, "here");
    }
    let id = visitor.id();
    let answer = visitor.post(&site, "/shop/inner").await;
    assert_eq!((answer.set().len(), visitor.id(), mesh.stats().sessions), (0, id, 1));
}

#[tokio::test]
async fn the_options_of_an_inner_layer_hold_inside_of_it() {
    let mesh = mesh().await;
    let options = SessionOptions::new().ack(Ack::Local);
    let inside = inner().layer(SessionLayer::new(mesh.clone()).options(options));
    let site = inside.layer(SessionLayer::new(mesh.clone()).options(SessionOptions::new().ack(Ack::Copies(1))));
    assert_eq!(send(&site, "GET", "/options", None).await.body, format!("{options:?}"));
}

#[tokio::test]
async fn layers_with_cookies_of_different_names_are_apart_and_each_finds_its_own() {
    let mesh = mesh().await;
    // The innermost is again the one of the outermost.
    let inside = inner().layer(named(&mesh, "site")).layer(from_fn(between)).layer(named(&mesh, "shop"));
    let site = routes().merge(inside).layer(named(&mesh, "site"));
    let mut visitor = Visitor::default();
    let answer = visitor.post(&site, "/inner").await;
    let mut names: Vec<_> = answer.set().iter().map(|set| set.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!((names, mesh.stats().sessions), (vec!["shop", "site"], 2));
    assert_eq!(visitor.get(&site, "/read/inner").await, "here");
    assert_eq!(visitor.get(&site, "/read/between").await, "none");
}

#[tokio::test]
async fn layers_of_different_nodes_are_apart() {
    let (one, other) = (mesh().await, mesh().await);
    let site = inner().layer(named(&one, "one")).layer(from_fn(between)).layer(named(&other, "other"));
    assert_eq!(send(&site, "POST", "/inner", None).await.set().len(), 2);
    assert_eq!((one.stats().sessions, other.stats().sessions), (1, 1));
}
