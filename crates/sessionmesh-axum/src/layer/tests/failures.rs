//! What the visitor sees when something fails.

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use std::time::Duration;

use sessionmesh::{CommitError, LoadError, Mesh, SessionId};

use super::site::{NAME, Visitor, mesh, mesh_with, routes, send, send_request, site};
use crate::{ErrorKind, RequestHead, Session, SessionError, SessionLayer};

/// A node that has left cannot tell whose session is whose.
async fn after_leaving(mesh: &Mesh) {
    mesh.leave(Duration::from_secs(5)).await.unwrap();
}

fn unknown() -> String {
    format!("{NAME}={}", SessionId::from_bytes([7; 16]).encode())
}

#[tokio::test]
async fn who_cannot_be_looked_up_is_asked_to_come_again_and_keeps_the_cookie() {
    let mesh = mesh().await;
    let site = site(&mesh);
    after_leaving(&mesh).await;
    let answer = send(&site, "GET", "/read/user", Some(&unknown())).await;
    assert!(answer.asks_to_come_again() && answer.set().is_empty(), "{answer:?}");
    assert!(!answer.body.contains('#'), "what is wrong inside is for the log: {answer:?}");
    assert_eq!(send(&site, "GET", "/quiet", Some(&unknown())).await.status, StatusCode::OK);
    assert_eq!(send(&site, "GET", "/read/user", None).await.status, StatusCode::OK, "nobody to look up");
}

#[tokio::test]
async fn one_cookie_that_cannot_be_told_hides_behind_no_other() {
    let mesh = mesh().await;
    let site = site(&mesh);
    after_leaving(&mesh).await;
    let answer = send(&site, "GET", "/read/user", Some(&format!("{}; {NAME}=x", unknown()))).await;
    assert!(answer.asks_to_come_again());
}

#[tokio::test]
async fn a_request_that_was_told_once_that_it_cannot_be_told_is_not_told_again() {
    let mesh = mesh().await;
    let both = post(async |one: Result<Session, SessionError>, other: Result<Session, SessionError>| {
        let (one, other) = (one.unwrap_err(), other.unwrap_err());
        let same = match (one.kind(), other.kind()) {
            (ErrorKind::CannotTell(one), ErrorKind::CannotTell(other)) => std::sync::Arc::ptr_eq(one, other),
            _ => false,
        };
        same.to_string()
    });
    let site = routes().route("/both", both).layer(SessionLayer::new(mesh.clone()));
    after_leaving(&mesh).await;
    assert_eq!(send(&site, "POST", "/both", Some(&unknown())).await.body, "true");
}

#[tokio::test]
async fn a_site_has_an_error_page_of_its_own() {
    let mesh = mesh().await;
    let page = |error: &SessionError, asked: &RequestHead| -> Response {
        let kind = match error.kind() {
            ErrorKind::CannotTell(error) => match **error {
                LoadError::CannotTell { .. } => "cannot tell",
                _ => "other",
            },
            ErrorKind::Commit(_) => "commit",
            _ => "other",
        };
        let form = if asked.accepts_html() { "html" } else { "text" };
        (error.status(), format!("{kind} {form} {} {}", asked.method, asked.uri)).into_response()
    };
    let site = routes().layer(SessionLayer::new(mesh.clone()).error_page(page));
    after_leaving(&mesh).await;
    let request = Request::builder().uri("/read/user").header("cookie", unknown()).header(ACCEPT, "text/html,*/*");
    let answer = send_request(&site, request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "cannot tell html GET /read/user")
    );
    assert!(answer.set().is_empty());
    let answer = send(&site, "POST", "/write/color/blue", None).await;
    assert_eq!(answer.body, "commit text POST /write/color/blue", "also for a commit that fails");
}

#[tokio::test]
async fn a_node_that_has_left_sends_changes_elsewhere() {
    let mesh = mesh().await;
    let site = site(&mesh);
    after_leaving(&mesh).await;
    let answer = send(&site, "POST", "/write/color/blue", None).await;
    assert!(answer.asks_to_come_again() && answer.set().is_empty(), "{answer:?}");
}

#[tokio::test]
async fn fewer_copies_than_wanted_are_a_success_unless_the_site_says_otherwise() {
    // `strict`, and nobody else there.
    let mesh = mesh_with(|builder| builder.strict(true)).await;
    let easy = site(&mesh);
    let mut visitor = Visitor::default();
    let answer = visitor.post(&easy, "/write/color/blue").await;
    assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 1));
    assert_eq!(visitor.get(&easy, "/read/color").await, "blue");

    let careful = routes().layer(SessionLayer::new(mesh.clone()).refuse_fewer_copies(true));
    let answer = visitor.post(&careful, "/write/color/red").await;
    assert!(answer.asks_to_come_again());
    assert_eq!(visitor.get(&careful, "/read/color").await, "red", "the change was made all the same");
    let mut other = Visitor::default();
    let answer = other.post(&careful, "/write/color/blue").await;
    assert!(answer.asks_to_come_again() && other.id().is_some(), "a session that was made is told");
}

#[tokio::test]
async fn a_login_whose_renewal_failed_is_none() {
    let mesh = mesh_with(|builder| builder.strict(true)).await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let id = visitor.id();
    let answer = visitor.post(&site, "/login/ada").await;
    assert!(answer.asks_to_come_again() && answer.set().is_empty(), "{answer:?}");
    let told = routes().layer(
        SessionLayer::new(mesh).error_page(|error: &SessionError, _: &RequestHead| error.to_string().into_response()),
    );
    let told = visitor.post(&told, "/login/ada").await.body;
    assert!(told.contains("nothing was changed") && !told.contains("was made"), "one of the two: {told}");
    assert_eq!(visitor.get(&site, "/read/user").await, "none");
    assert_eq!((visitor.get(&site, "/read/color").await.as_str(), visitor.id()), ("blue", id));
}

#[tokio::test]
async fn what_exceeds_a_limit_is_an_error_of_the_server_and_changes_nothing() {
    let mesh = mesh_with(|builder| builder.max_value_bytes(8_u32)).await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    for path in ["/write/color/ultramarine", "/login/bartholomew"] {
        let answer = visitor.post(&site, path).await;
        assert_eq!((answer.status, answer.set().len()), (StatusCode::INTERNAL_SERVER_ERROR, 0), "{path}");
        assert!(!answer.body.contains("max_value_bytes"), "that is for the log");
    }
    assert_eq!(visitor.get(&site, "/read/color").await, "blue");
}

#[tokio::test]
async fn a_full_node_makes_no_more_sessions() {
    let mesh = mesh_with(|builder| builder.max_sessions(1_u64)).await;
    let site = site(&mesh);
    let mut first = Visitor::default();
    first.post(&site, "/write/color/blue").await;
    let answer = send(&site, "POST", "/write/color/red", None).await;
    assert!(answer.asks_to_come_again() && answer.set().is_empty());
    first.post(&site, "/write/color/green").await;
    assert_eq!(first.get(&site, "/read/color").await, "green");
}

#[tokio::test]
async fn a_commit_by_hand_says_what_failed_and_is_tried_again_at_the_end() {
    let mesh = mesh_with(|builder| builder.max_value_bytes(8_u32)).await;
    let route = post(async |session: Session| {
        session.insert("color", "ultramarine").unwrap();
        let error = session.commit().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Commit(error) if matches!(**error, CommitError::Limit(_))));
        session.insert("color", "blue").unwrap();
    });
    let site = routes().route("/try", route).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    assert_eq!(visitor.post(&site, "/try").await.status, StatusCode::OK);
    assert_eq!(visitor.get(&site, "/read/color").await, "blue");
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_of_the_server() {
    let mesh = mesh().await;
    let route = post(async |session: Session| session.get::<u32>("color").map(|_| ()));
    let site = routes().route("/number", route).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    assert_eq!(visitor.post(&site, "/number").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn without_the_layer_there_is_no_session() {
    let bare: Router = routes();
    assert_eq!(send(&bare, "GET", "/look", None).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
