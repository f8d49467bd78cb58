//! The cookie for balancers.

use std::time::Duration;

use axum::Router;

use super::super::moves::Moves;
use super::site::{Visitor, mesh, routes, send};
use crate::{RouteCookie, SessionCookie, SessionLayer};

async fn site(route: RouteCookie) -> Router {
    let layer = SessionLayer::new(mesh().await).cookie(SessionCookie::new("sid").secure(false)).unwrap();
    routes().layer(layer.route_cookie(route).unwrap())
}

#[tokio::test]
async fn the_route_cookie_names_the_node_once_there_is_a_session() {
    let site = site(RouteCookie::new("route")).await;
    let mut visitor = Visitor::default();
    assert!(visitor.ask(&site, "GET", "/look").await.set().is_empty());
    let answer = visitor.post(&site, "/write/color/blue").await;
    assert_eq!(answer.set().len(), 2);
    assert_eq!(answer.set()[1], "route=web-1; HttpOnly; SameSite=Lax; Path=/");
    assert!(visitor.ask(&site, "GET", "/look").await.set().is_empty(), "the browser has it");
}

#[tokio::test]
async fn after_a_fail_over_the_route_cookie_names_the_node_that_answered() {
    let site = site(RouteCookie::new("route").max_age(Duration::from_secs(60))).await;
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    visitor.cookies.insert("route".to_owned(), "web-2".to_owned());
    let answer = visitor.ask(&site, "GET", "/look").await;
    assert_eq!(answer.set(), ["route=web-1; HttpOnly; SameSite=Lax; Path=/; Max-Age=60"]);
    assert_eq!(answer.cache(), ["no-store"]);
    assert_eq!(visitor.cookies["route"], "web-1");
    visitor.post(&site, "/logout").await;
    assert!(visitor.ask(&site, "GET", "/look").await.set().is_empty());
    assert!(send(&site, "GET", "/look", Some("route=web-2")).await.set().is_empty(), "nobody to route");
}

#[tokio::test]
async fn a_session_that_is_at_home_does_not_move() {
    let site = site(RouteCookie::new("route").moves_sessions(true)).await;
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let id = visitor.cookies["sid"].clone();
    for (method, path) in [("GET", "/look"), ("POST", "/write/color/red")] {
        visitor.cookies.insert("route".to_owned(), "web-2".to_owned());
        let answer = visitor.ask(&site, method, path).await;
        assert_eq!(answer.set(), ["route=web-1; HttpOnly; SameSite=Lax; Path=/"], "{method} {path}");
    }
    assert_eq!((visitor.get(&site, "/read/color").await.as_str(), &visitor.cookies["sid"]), ("red", &id));
    visitor.post(&site, "/logout").await;
    assert_eq!(send(&site, "GET", "/read/color", Some(&format!("sid={id}; route=web-2"))).await.body, "none");
}

#[tokio::test]
async fn of_two_requests_one_moves_a_session_and_who_hangs_up_stands_in_nobodys_way() {
    let mesh = mesh().await;
    let session = mesh.create().await.unwrap();
    session.commit().await.unwrap();
    let moves = Moves::default();
    let hung_up = moves.begin(session.id()).unwrap();
    assert!(moves.begin(session.id()).is_none());
    drop(hung_up);
    moves.move_home(&session).await;
    assert!(moves.begin(session.id()).is_some());
}
