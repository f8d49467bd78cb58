//! The admin API through real servers: a `Router` of axum and a scope of actix-web, each where an application mounts it.

#![allow(clippy::disallowed_types, reason = "HTTP is no traffic of the mesh")]

use std::net::SocketAddr;

use actix_web::{App, HttpServer};
use axum::Router;
use http::StatusCode;
use serde_json::{Value, json};
use sessionmesh::Mode;
use sessionmesh::network::{Network as _, TokioNetwork};
use sessionmesh_admin::{Admin, BODY_BYTES_MAX, Token};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, create_sessions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

const TOKEN: &str = "a-token-of-this-test-only";

/// Where both serve the API of one node, under `/ops`.
async fn both_servers(admin: Admin) -> [(&'static str, SocketAddr); 2] {
    let router = Router::<()>::new().nest("/ops", sessionmesh_admin::axum::router(&admin));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let axum_at = listener.local_addr().expect("it listens");
    let served = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>());
    tokio::spawn(async move { served.await });
    let app = move || App::new().service(sessionmesh_admin::actix::scope("/ops", admin.clone()));
    let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").expect("a port is free");
    let actix_at = server.addrs()[0];
    tokio::spawn(server.run());
    [("axum", axum_at), ("actix-web", actix_at)]
}

/// One request over a connection of its own, and what comes back until it closes or `until` was read.
async fn exchange(
    at: SocketAddr,
    head: &str,
    headers: &[(&str, &str)],
    body: &str,
    until: &str,
) -> (StatusCode, String) {
    let mut stream = TokioNetwork.connect(at).await.expect("it listens");
    let mut text = format!("{head} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    let host = [("host", "localhost:7777")];
    let given = headers.iter().any(|(name, _)| *name == "host");
    for (name, value) in headers.iter().chain(host.iter().filter(|_| !given)) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    stream.write_all(text.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        loop {
            // Who refuses a body may close before all of it was read.
            let read = stream.read(&mut part).await.unwrap_or_default();
            answer.extend_from_slice(&part[..read]);
            if read == 0 || (!until.is_empty() && String::from_utf8_lossy(&answer).contains(until)) {
                return;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("it answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{head}: {answer:?}")), answer)
}

/// What is in the answer to a request that must succeed.
async fn shown(at: SocketAddr, head: &str, body: &str) -> Value {
    let (status, answer) = exchange(at, head, &[], body, "").await;
    assert_eq!(status, StatusCode::OK, "{head}: {answer}");
    let json = answer.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(json.unwrap_or_else(|| panic!("{head}: {answer}"))).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_answer_alike() {
    let cluster = Cluster::start(2, Mode::AllToAll).await;
    let id = create_sessions(&cluster[0], 1).await[0];
    cluster.settled().await;
    let admin = Admin::new(cluster[0].clone()).token(Token::new(TOKEN.to_owned()).expect("long enough"));
    let of_session = json!({ "id": id.encode() }).to_string();
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    for (server, at) in both_servers(admin).await {
        // What is served, below the path where it is mounted.
        assert_eq!(shown(at, "GET /ops/v1/health", "").await["state"], "ready", "{server}");
        assert_eq!(shown(at, "GET /ops/v1/members", "").await["members"][1]["name"], "n1", "{server}");
        let found = shown(at, "POST /ops/v1/sessions/find", &of_session).await;
        assert_eq!(
            (&found["copies_equal"], found["owners"].as_array().map(Vec::len)),
            (&json!(true), Some(2)),
            "{server}"
        );
        let (status, answer) = exchange(at, "GET /ops/page", &[], "", "").await;
        assert!(status.is_success() && answer.contains("<html"), "{server}: {answer}");
        let events = "GET /ops/v1/events?figures=true";
        let (status, answer) = exchange(at, events, &[("accept", "text/event-stream")], "", "\ndata: ").await;
        assert!(status.is_success() && answer.contains("event: figures"), "{server}: {answer}");
        // What is refused, and with what.
        let token = format!("Bearer {TOKEN}");
        let foreign = ("host", "shop.example");
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let refusals: [(&str, Headers<'_>, &str, u16); 7] = [
            ("GET /ops/v1/nothing", &[], "", 404),
            ("DELETE /ops/v1/members", &[], "", 405),
            ("POST /ops/v1/sessions/find", &[], "not JSON", 400),
            ("POST /ops/v1/sessions/find", &[], &large, 413),
            ("GET /ops/v1/members", &[foreign], "", 403),
            ("GET /ops/v1/members", &[foreign, ("authorization", "Bearer wrong")], "", 401),
            ("GET /ops/v1/members", &[("origin", "http://shop.example")], "", 403),
        ];
        for (head, headers, body, wanted) in refusals {
            let (status, answer) = exchange(at, head, headers, body, "").await;
            assert_eq!(status.as_u16(), wanted, "{server}, {head} {headers:?}: {answer}");
        }
        let (status, answer) = exchange(at, "GET /ops/v1/members", &[foreign, ("authorization", &token)], "", "").await;
        assert_eq!(status, StatusCode::OK, "{server}: {answer}");
        let (status, answer) = exchange(at, "HEAD /ops/v1/members", &[], "", "").await;
        assert!(status.is_success() && answer.ends_with("\r\n\r\n"), "{server}: {answer}");
    }
    assert!(cluster[0].load(id).await.expect("calm").is_some(), "nothing was changed");
}
