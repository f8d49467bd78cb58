use std::net::SocketAddr;
use std::time::Duration;

use sessionmesh::Discovery;

use super::*;
use crate::demo::http::{Answer, ask};
use crate::node::port::Port;

/// A node that is alone, and where its application listens.
async fn site() -> (Mesh, SocketAddr) {
    let mesh = Mesh::builder()
        .name("web-1")
        .discovery(Discovery::seeds(["127.0.0.1:1"]))
        .discovery_window(Duration::ZERO)
        .start()
        .await
        .unwrap();
    mesh.ready().await;
    let (listener, at) = Port::take(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().open().unwrap();
    let app = App { mesh: mesh.clone(), stopping: Arc::default() };
    tokio::spawn(async { axum::serve(listener, router(app)).await });
    (mesh, at)
}

async fn log_in(at: SocketAddr, cookie: Option<&str>) -> Answer {
    ask(at, "POST", "/login", cookie, Some(&json!({ "user": "ada" }))).await.unwrap()
}

async fn get(at: SocketAddr, path: &str, cookie: &str) -> Answer {
    ask(at, "GET", path, Some(cookie), None).await.unwrap()
}

#[tokio::test]
async fn a_visitor_logs_in_visits_and_logs_out() {
    let (_mesh, at) = site().await;
    let answer = log_in(at, None).await;
    let set = answer.headers[SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("SESSIONID=") && set.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{set}");
    let cookie = answer.cookie().unwrap();
    for visits in 1..=2 {
        let answer = get(at, "/session", &cookie).await;
        assert_eq!((answer.status, &answer.body["visits"]), (StatusCode::OK, &json!(visits)));
        assert_eq!((&answer.body["user"], &answer.body["served_by"]), (&json!("ada"), &json!("web-1")));
    }
    let answer = ask(at, "POST", "/logout", Some(&cookie), None).await.unwrap();
    assert_eq!((answer.status, answer.cookie().as_deref()), (StatusCode::OK, Some("SESSIONID=")));
    assert_eq!(get(at, "/session", &cookie).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_second_login_gives_another_id_and_keeps_the_content() {
    let (_mesh, at) = site().await;
    let before = log_in(at, None).await.cookie().unwrap();
    get(at, "/session", &before).await;
    let after = log_in(at, Some(&before)).await.cookie().unwrap();
    assert_ne!(before, after);
    assert_eq!(get(at, "/session", &before).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(at, "/session", &after).await.body["visits"], 2);
}

#[tokio::test]
async fn a_malformed_cookie_is_none() {
    let (_mesh, at) = site().await;
    let answer = get(at, "/session", "SESSIONID=../../etc/passwd").await;
    assert_eq!((answer.status, answer.cookie()), (StatusCode::UNAUTHORIZED, None));
    assert_eq!(log_in(at, Some("SESSIONID=x")).await.status, StatusCode::OK);
    let nobody = ask(at, "POST", "/login", None, Some(&json!({ "user": "" }))).await.unwrap();
    assert_eq!(nobody.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn who_cannot_be_looked_up_is_asked_to_come_again_and_keeps_the_cookie() {
    let problem = LoadError::CannotTell { id: sessionmesh::SessionId::from_bytes([1; 16]), why: "a test" };
    let response = Problem::from(problem).into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert!(!response.headers().contains_key(SET_COOKIE));
}

#[tokio::test]
async fn the_page_is_html_for_browsers_and_text_for_others() {
    let (mesh, at) = site().await;
    let cookie = log_in(at, None).await.cookie().unwrap();
    let answer = get(at, "/", &cookie).await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let browser = [("accept", "text/html,*/*;q=0.8")]
        .map(|(name, value)| (name.parse::<axum::http::HeaderName>().unwrap(), HeaderValue::from_static(value)));
    let page = page::show(&mesh, None, &browser.into_iter().collect());
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
}

#[tokio::test]
async fn a_node_that_stops_is_not_healthy() {
    let (mesh, at) = site().await;
    let answer = get(at, "/healthz", "").await;
    assert_eq!((answer.status, &answer.body["state"]), (StatusCode::OK, &json!("ready")));
    assert_eq!(answer.body["members"], json!(["web-1"]));
    let app = App { mesh, stopping: Arc::new(AtomicBool::new(true)) };
    assert_eq!(health(State(app.clone())).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(finish(State(app), Response::default()).await.headers()[CONNECTION], "close");
}

#[tokio::test]
async fn what_a_node_that_has_left_refuses_is_for_another_node_and_what_was_made_is_a_success() {
    let (mesh, _) = site().await;
    let app = App { mesh, stopping: Arc::default() };
    assert!(matches!(app.made(Err::<(), _>(CommitError::Left)), Err(Problem::Later(_))));
    assert!(matches!(app.made(Err::<(), _>(CommitError::TimedOut { copies: 0 })), Ok(None)));
}
