//! What every site does with sessions.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;

use super::site::{NAME, Visitor, mesh, mesh_with, routes, send, site};
use crate::{Session, SessionLayer};

#[tokio::test]
async fn a_request_that_asks_for_no_session_loads_none_and_gets_no_cookie() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let before = mesh.stats();
    let answer = visitor.ask(&site, "GET", "/quiet").await;
    assert_eq!((answer.body.as_str(), answer.set().len(), answer.cache().len()), ("nothing", 0, 0));
    assert_eq!(mesh.stats(), before);
}

#[tokio::test]
async fn a_visitor_who_only_looks_gets_no_session() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    for (method, path) in [("GET", "/look"), ("GET", "/read/color"), ("POST", "/remove/color"), ("POST", "/logout")] {
        let answer = visitor.ask(&site, method, path).await;
        assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 0), "{path}");
    }
    assert_eq!(mesh.stats().sessions, 0);
}

#[tokio::test]
async fn what_is_written_is_read_by_the_next_request() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    let answer = visitor.post(&site, "/write/color/blue").await;
    assert_eq!(answer.set().len(), 1);
    assert!(answer.set()[0].ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"), "{answer:?}");
    let id = visitor.id().unwrap();

    let answer = visitor.ask(&site, "GET", "/read/color").await;
    assert_eq!((answer.body.as_str(), answer.set().len()), ("blue", 0), "the cookie is not sent again");
    visitor.post(&site, "/write/size/big").await;
    assert_eq!(visitor.get(&site, "/read/color").await, "blue");
    assert_eq!((visitor.get(&site, "/read/size").await.as_str(), visitor.id()), ("big", Some(id)));
    assert_eq!(Visitor::default().get(&site, "/read/color").await, "none", "another visitor sees nothing");
}

#[tokio::test]
async fn the_last_value_can_be_removed_and_the_session_goes_on() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let id = visitor.id();
    let answer = visitor.post(&site, "/remove/color").await;
    assert!(answer.set().is_empty());
    assert_eq!(visitor.get(&site, "/read/color").await, "none");
    visitor.post(&site, "/write/color/red").await;
    assert_eq!((visitor.get(&site, "/read/color").await.as_str(), visitor.id()), ("red", id));
}

#[tokio::test]
async fn a_request_without_changes_commits_nothing() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let commits = mesh.stats().commits;
    for (method, path) in [("GET", "/read/color"), ("GET", "/look"), ("POST", "/remove/nothing-there")] {
        visitor.ask(&site, method, path).await;
    }
    assert_eq!(mesh.stats().commits, commits);
}

#[tokio::test]
async fn a_login_changes_the_id_and_keeps_the_content() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/cart/tea").await;
    let mut planted = visitor.clone();
    visitor.post(&site, "/login/ada").await;
    assert_ne!(visitor.id(), planted.id());
    assert_eq!(visitor.get(&site, "/read/user").await, "ada");
    assert_eq!(visitor.get(&site, "/read/cart").await, "tea");
    assert_eq!(planted.get(&site, "/read/user").await, "none", "the old id opens nothing");
    assert_eq!(planted.get(&site, "/read/cart").await, "none");

    let mut stranger = Visitor::default();
    stranger.post(&site, "/login/bob").await;
    assert_eq!(stranger.get(&site, "/read/user").await, "bob", "a login makes a session where there is none");
}

#[tokio::test]
async fn a_logout_ends_the_session_and_takes_the_cookie_back() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/login/ada").await;
    let stolen = visitor.cookie();
    let answer = visitor.post(&site, "/logout").await;
    assert_eq!(answer.set(), [format!("{NAME}=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0")]);
    assert_eq!(answer.cache(), ["no-store"]);
    assert_eq!(send(&site, "GET", "/read/user", stolen.as_deref()).await.body, "none");
    let again = send(&site, "POST", "/logout", stolen.as_deref()).await;
    assert_eq!((again.status, again.set().len()), (StatusCode::OK, 1), "a cookie of an ended session goes, too");
}

#[tokio::test]
async fn what_is_stored_after_a_logout_makes_a_new_session() {
    let mesh = mesh().await;
    let again = post(|session: Session| async move {
        session.insert("dropped", "with the session").unwrap();
        session.invalidate().await.unwrap();
        assert!(!session.exists() && session.keys().is_empty());
        session.insert("note", "you have logged out").unwrap();
        assert!(session.is_new());
    });
    let site = routes().route("/again", again).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    visitor.post(&site, "/login/ada").await;
    let before = visitor.id();
    let answer = visitor.post(&site, "/again").await;
    assert_eq!(answer.set().len(), 1, "one cookie: the new one");
    assert!(visitor.id().is_some() && visitor.id() != before);
    assert_eq!(visitor.get(&site, "/read/user").await, "none");
    assert_eq!(visitor.get(&site, "/read/dropped").await, "none");
    assert_eq!(visitor.get(&site, "/read/note").await, "you have logged out");
}

#[tokio::test]
async fn the_request_sees_its_own_changes() {
    let mesh = mesh().await;
    let own = post(|session: Session, again: Session| async move {
        assert!(!session.is_new() && !session.exists());
        session.insert("b", &[1, 2]).unwrap();
        session.insert("a", "x").unwrap();
        assert!(again.is_new(), "all extractors are one session");
        assert_eq!(again.get::<Vec<u8>>("b").unwrap(), Some(vec![1, 2]));
        assert_eq!(again.keys().iter().map(|key| &**key).collect::<Vec<_>>(), ["a", "b"]);
        again.remove("a");
        assert_eq!(session.get::<String>("a").unwrap(), None);
        let doubled = session.update("b", |list: Option<Vec<u8>>| list.map(|list| [list.clone(), list].concat()));
        assert_eq!(doubled.unwrap().unwrap().len(), 4);
        assert_eq!(session.keys().len(), 1);
        assert_eq!(session.id(), None, "it has its id from the commit");
        session.commit().await.unwrap();
        assert_eq!(session.id(), again.id());
        assert!(session.exists() && !session.is_new());
    });
    let site = Router::new().route("/own", own).layer(SessionLayer::new(mesh.clone()));
    let answer = Visitor::default().post(&site, "/own").await;
    assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn each_session_can_have_an_idle_limit_of_its_own() {
    let mesh = mesh_with(|builder| builder.max_inactive(Duration::from_secs(60))).await;
    let set = post(|session: Session| async move {
        assert_eq!(session.max_inactive(), Duration::from_secs(60));
        session.set_max_inactive(Duration::from_secs(7));
    });
    let show = get(|session: Session| async move { format!("{:?}", session.max_inactive()) });
    let site = routes().route("/limit", set.merge(show)).layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    visitor.post(&site, "/limit").await;
    assert_eq!((mesh.stats().sessions, visitor.id()), (0, None), "a limit alone makes no session");
    visitor.post(&site, "/write/color/blue").await;
    visitor.post(&site, "/limit").await;
    assert_eq!(visitor.get(&site, "/limit").await, "7s");
}

#[tokio::test]
async fn ignored_requests_have_no_session() {
    let mesh = mesh().await;
    let layer = SessionLayer::new(mesh.clone()).ignore_paths(["/assets", "/static/"]);
    let show = || {
        get(async |session: Option<axum::Extension<std::sync::Arc<super::super::visit::Visit>>>| {
            session.is_some().to_string()
        })
    };
    let site = Router::new().fallback_service(show()).route("/look", get(|_: Session| async {}));
    let site = site.layer(layer.ignore(|uri| uri.query() == Some("bare")));
    for (path, given) in [
        ("/assets", "false"),
        ("/assets/a.css", "false"),
        ("/static/a.css", "false"),
        ("/page?bare", "false"),
        ("/assets-of-ours", "true"),
        ("/static", "true"),
        ("/", "true"),
    ] {
        assert_eq!(send(&site, "GET", path, None).await.body, given, "{path}");
    }
    assert_eq!(send(&site, "GET", "/look?bare", None).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
