//! What it answers, and whom.

use hyper::StatusCode;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::node::{PATIENCE, TOKEN, ask, node, ready};

#[tokio::test]
async fn it_serves_probes_metrics_and_the_api_and_drains() {
    let (mut child, at) = ready(node(&["--admin", "127.0.0.1:0"])).await;
    for path in ["/livez", "/readyz"] {
        let (status, text) = ask(&at, "GET", path, &[], "").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(text.starts_with("ready: no other node was found"), "it names what a person should know: {text}");
    }
    let (status, text) = ask(&at, "GET", "/metrics", &[], "").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "# TYPE sessionmesh_ready gauge",
        "sessionmesh_ready{node=\"web-1\"} 1",
        "# TYPE sessionmesh_commits_total counter",
    ] {
        assert!(text.contains(line), "{line} is in\n{text}");
    }
    assert!(text.contains("sessionmesh_join_duration_seconds_bucket{node=\"web-1\",le=\"+Inf\"} 1"), "{text}");
    let (status, text) = ask(&at, "GET", "/page", &[("host", "web-1.example")], "").await;
    assert!(status == StatusCode::OK && text.contains("page/page.js"), "the page itself holds no data: {text}");
    assert_eq!(ask(&at, "GET", "/page/page.js", &[], "").await.0, StatusCode::OK);
    assert_eq!(ask(&at, "GET", "/", &[], "").await.0, StatusCode::TEMPORARY_REDIRECT);
    let (status, text) = ask(&at, "GET", "/v1/members", &[], "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\"name\":\"web-1\""), "{text}");
    let (status, _) = ask(&at, "GET", "/v1/members", &[("host", "evil.example")], "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, text) = ask(&at, "POST", "/v1/sessions/find", &[], &" ".repeat(100_000)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{text}");
    let (status, text) = ask(&at, "POST", "/v1/drain", &[], "").await;
    assert_eq!((status, text.as_str()), (StatusCode::ACCEPTED, "{\"state\":\"leaving\"}\n"));
    let status = timeout(PATIENCE, child.wait()).await.expect("it stops").unwrap();
    assert_eq!(status.code(), Some(0), "it held nothing");
}

#[tokio::test]
async fn with_a_token_it_answers_those_who_have_it() {
    let mut command = node(&["--admin", "0.0.0.0:0"]);
    command.env("SESSIONMESH_ADMIN_TOKEN", TOKEN);
    let (_child, at) = ready(command).await;
    let at = at.replace("0.0.0.0", "127.0.0.1");
    let elsewhere = ("host", "web-1.example:7777");
    let (status, _) = ask(&at, "GET", "/metrics", &[elsewhere], "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let right = format!("Bearer {TOKEN}");
    let (status, _) = ask(&at, "GET", "/metrics", &[elsewhere, ("authorization", &right)], "").await;
    assert_eq!(status, StatusCode::OK);
    let (status, text) = ask(&at, "GET", "/metrics", &[elsewhere, ("authorization", "Bearer wrong")], "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(!text.contains(TOKEN), "{text}");
}

#[tokio::test]
async fn an_address_that_anybody_could_ask_and_a_weak_token_are_refused() {
    let refused = async |mut command: Command| {
        let mut child = command.spawn().unwrap();
        let mut text = String::new();
        let mut stderr = child.stderr.take().unwrap();
        timeout(PATIENCE, stderr.read_to_string(&mut text)).await.expect("it ends").unwrap();
        let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(2), "{text}");
        text
    };
    let text = refused(node(&["--admin", "0.0.0.0:0"])).await;
    assert!(text.contains("there is no `admin_token`"), "{text}");
    let mut weak = node(&["--admin", "127.0.0.1:0"]);
    weak.env("SESSIONMESH_ADMIN_TOKEN", "swordfish");
    let text = refused(weak).await;
    assert!(text.contains("`admin_token`: a token needs 22") && !text.contains("swordfish"), "{text}");
}
