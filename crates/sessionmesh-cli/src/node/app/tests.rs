use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE as COOKIES, LOCATION, RETRY_AFTER, SET_COOKIE};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sessionmesh::Discovery;
use tower::ServiceExt as _;

use super::*;
use crate::http_client::{Answer, ask};
use crate::node::port::Port;

const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap()
}

async fn mesh() -> Mesh {
    let mesh = Mesh::builder()
        .name("web-1")
        .discovery(Discovery::seeds(["127.0.0.1:1"]))
        .discovery_window(Duration::ZERO)
        .start()
        .await
        .unwrap();
    mesh.ready().await;
    mesh
}

fn app(mesh: &Mesh) -> App {
    App { mesh: mesh.clone(), stopping: Arc::default(), lost_lines: Arc::default() }
}

/// A node that is alone, and where its application listens.
async fn site() -> (Mesh, SocketAddr) {
    let mesh = mesh().await;
    let (listener, at) = Port::take(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().open().unwrap();
    let router = router(app(&mesh), None).unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
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
    assert_eq!((&answer.body["user"], &answer.body["copies"]), (&json!("ada"), &json!(0)));
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

/// A browser, without a network.
struct Browser {
    router: Router,
    cookie: Option<String>,
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Browser {
    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let mut request = Request::builder().method(method).uri(path).header(ACCEPT, HTML);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIES, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        if let Some(set) = head.headers.get(SET_COOKIE) {
            self.cookie = set.to_str().unwrap().split(';').next().map(str::to_owned);
        }
        Page { status: head.status, headers: head.headers, text }
    }

    async fn shop(&mut self) -> String {
        let page = self.ask("GET", "/", &[], "").await;
        assert_eq!((page.status, text(&page.headers[CACHE_CONTROL])), (StatusCode::OK, "no-store"));
        page.text
    }

    async fn form(&mut self, path: &str, body: &str) -> Page {
        self.ask("POST", path, &[(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")], body).await
    }
}

#[tokio::test]
async fn a_browser_fills_its_cart_before_the_login_and_keeps_it() {
    let mesh = mesh().await;
    let mut browser = Browser { router: router(app(&mesh), None).unwrap(), cookie: None };
    let page = browser.shop().await;
    assert!(page.contains("Nothing in it yet") && page.contains("Log in") && page.contains("web-1"), "{page}");
    assert_eq!(mesh.stats().sessions, 0, "to look makes no session");
    for path in ["/cart/add", "/cart/add", "/cart/remove", "/cart/add"] {
        let page = browser.form(path, "article=assam").await;
        assert_eq!((page.status, text(&page.headers[LOCATION])), (StatusCode::SEE_OTHER, "/"));
    }
    let before = browser.cookie.clone();
    let page = browser.form("/login", "user=ada+%3Cb%3E").await;
    assert_eq!((page.status, text(&page.headers[LOCATION])), (StatusCode::SEE_OTHER, "/"));
    assert_ne!(browser.cookie, before);
    let page = browser.shop().await;
    assert!(page.contains("ada &lt;b&gt;") && page.contains("€ 12.80") && page.contains("holds a copy"), "{page}");
    let page = browser.form("/logout", "").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(browser.shop().await.contains("Nothing in it yet"));
    let unknown = browser.form("/cart/add", "article=coffee").await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
    assert!(unknown.text.contains("there is no such article."), "{}", unknown.text);
}

#[tokio::test]
async fn another_site_cannot_post_in_a_visitors_name() {
    let mesh = mesh().await;
    let mut browser = Browser { router: router(app(&mesh), None).unwrap(), cookie: None };
    browser.form("/login", "user=ada").await;
    let form = (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded");
    for headers in [[form, ("sec-fetch-site", "cross-site")], [form, ("origin", "http://elsewhere")]] {
        let page = browser.ask("POST", "/logout", &headers, "").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
    }
    assert!(browser.shop().await.contains("Good to see you"));
}

#[tokio::test]
async fn the_page_is_html_for_browsers_and_text_for_others() {
    let (mesh, at) = site().await;
    let cookie = log_in(at, None).await.cookie().unwrap();
    let answer = get(at, "/", &cookie).await;
    assert!(answer.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
    let mut browser = Browser { router: router(app(&mesh), None).unwrap(), cookie: Some(cookie) };
    let page = browser.ask("GET", "/", &[], "").await;
    assert!(page.headers[CONTENT_TYPE].to_str().unwrap().starts_with("text/html"));
    assert!(!page.text.contains("<script") && page.text.contains("Good to see you, <strong>ada</strong>"));
}

#[tokio::test]
async fn who_cannot_be_looked_up_is_asked_to_come_again_in_the_form_asked_for() {
    let mesh = mesh().await;
    let router = router(app(&mesh), Some("route".to_owned())).unwrap();
    let mut browser = Browser { router: router.clone(), cookie: None };
    browser.form("/cart/add", "article=assam").await;
    browser.cookie = Some(format!("{COOKIE}={}", sessionmesh::SessionId::from_bytes([7; 16]).encode()));
    let _ = mesh.leave(Duration::from_secs(5)).await;
    let page = browser.ask("GET", "/", &[], "").await;
    assert_eq!((page.status, text(&page.headers[RETRY_AFTER])), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert!(page.text.contains("One moment, please") && !page.headers.contains_key(SET_COOKIE), "{}", page.text);
    let page = browser.ask("GET", "/session", &[("accept", "*/*")], "").await;
    assert!(page.text.contains("One moment"), "a browser says both");
    let request = Request::builder().uri("/session").header(COOKIES, browser.cookie.unwrap()).body(Body::empty());
    let answer = router.oneshot(request.unwrap()).await.unwrap();
    assert_eq!((answer.status(), text(&answer.headers()[RETRY_AFTER])), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    let body: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert!(body["error"].as_str().unwrap().contains("cannot tell"), "{body}");
}

#[tokio::test]
async fn the_route_cookie_is_set_if_it_has_a_name() {
    let mesh = mesh().await;
    for (name, cookies) in [(None, 1), (Some("route".to_owned()), 2)] {
        let mut browser = Browser { router: router(app(&mesh), name).unwrap(), cookie: None };
        let page = browser.form("/login", "user=ada").await;
        let set: Vec<_> = page.headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(set.len(), cookies);
        assert!(set[1..].iter().all(|set| *set == "route=web-1; HttpOnly; SameSite=Lax; Path=/"), "{set:?}");
    }
    assert!(router(app(&mesh), Some(COOKIE.to_owned())).is_err());
}

#[tokio::test]
async fn a_node_that_stops_is_not_healthy() {
    let (mesh, at) = site().await;
    let answer = get(at, "/healthz", "").await;
    assert_eq!((answer.status, &answer.body["state"]), (StatusCode::OK, &json!("ready")));
    assert_eq!(answer.body["members"], json!(["web-1"]));
    assert_eq!((&answer.body["refused"], &answer.body["bytes_decoded"]), (&json!({}), &json!(0)));
    assert_eq!(answer.body["alone"], json!(["127.0.0.1:1: nobody listens there"]));
    let app = App { mesh, stopping: Arc::new(AtomicBool::new(true)), lost_lines: Arc::default() };
    let request = Request::builder().uri("/healthz").body(Body::empty()).unwrap();
    let answer = router(app, None).unwrap().oneshot(request).await.unwrap();
    assert_eq!((answer.status(), text(&answer.headers()[CONNECTION])), (StatusCode::SERVICE_UNAVAILABLE, "close"));
}
