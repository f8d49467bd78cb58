//! The cookie for balancers.

use std::time::Duration;

use axum::Router;

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
