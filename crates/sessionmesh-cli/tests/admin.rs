//! The admin address of a node, as operators and Prometheus use it: a real process and real HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside the functions that clippy knows as tests")]

use std::process::Stdio;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use sessionmesh::network::{Network as _, TokioNetwork};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-this-test-only";

fn node(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionmesh"));
    command.args(["node", "--notice", "0s"]).args(args);
    command
        .env("SESSIONMESH_NAME", "web-1")
        .env("SESSIONMESH_HTTP", "127.0.0.1:0")
        .env("SESSIONMESH_SEEDS", "127.0.0.1:1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts it, and gives the line that says that it is ready.
async fn started(mut command: Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("it becomes ready").unwrap().expect("it says so");
    (child, line)
}

/// Starts it, and says where operators reach it.
async fn ready(command: Command) -> (Child, String) {
    let (child, line) = started(command).await;
    let (_, admin) = line.split_once(", admin http://").unwrap_or_else(|| panic!("it says where: {line}"));
    (child, admin.to_owned())
}

async fn ask(at: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, String) {
    let stream = TokioNetwork.connect(at.parse().unwrap()).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", at);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let answer = timeout(PATIENCE, sender.send_request(request)).await.expect("it answers").unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The cookie and the id of a visitor who logs in.
async fn log_in(http: &str, user: &str) -> String {
    let body = format!("{{\"user\":\"{user}\"}}");
    let stream = TokioNetwork.connect(http.parse().unwrap()).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/login").header("host", http).header("content-type", "application/json");
    let answer = sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    cookie.split(['=', ';']).nth(1).unwrap().to_owned()
}

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// What the program answers an operator.
async fn say(at: &str, args: &[&str], stdin: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionmesh"));
    command.args(args).env("SESSIONMESH_ADMIN", at);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// It goes well, and says each of `words`; with `--json` it says JSON.
async fn says(at: &str, args: &[&str], words: &[&str]) -> serde_json::Value {
    let Said { code, stdout, stderr } = say(at, args, "").await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
    assert!(words.iter().all(|word| stdout.contains(word)), "{args:?} says {words:?}:\n{stdout}");
    assert!(!stdout.contains('\u{1b}'), "no colours without a terminal");
    let Said { code, stdout, .. } = say(at, &[args, &["--json"]].concat(), "").await;
    assert_eq!(code, Some(0), "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test]
async fn operators_see_and_end_sessions_from_the_command_line() {
    let mut command = node(&["--admin", "127.0.0.1:0"]);
    command.env("SESSIONMESH_USER_ATTRIBUTE", "user");
    let (mut child, line) = started(command).await;
    let (_, at) = line.split_once(", admin http://").unwrap();
    let (_, http) = line.split_once("is ready: http://").unwrap();
    let http = http.split(',').next().unwrap();
    let id = log_in(http, "ada").await;

    let shown = says(at, &["status"], &["web-1 of cluster", "ready", "1 as primary, 0 as replica", "alone: "]).await;
    assert_eq!((&shown["health"]["state"], &shown["stats"]["sessions"]["all"]), (&"ready".into(), &1.into()));
    let shown = says(at, &["members"], &["name", "web-1", "ready", "4,096", "(this node)"]).await;
    assert_eq!(shown["members"].as_array().unwrap().len(), 1);
    let shown =
        says(at, &["session", &id], &["all copies are equal", "web-1", "primary", "live", "1 attribute,"]).await;
    assert_eq!(shown["copies"][0]["state"], "live");
    let shown = says(at, &["user", "ada"], &["ada has 1 session", "idle for"]).await;
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 1);

    // The id from stdin, where nobody sees it; then there is no such session any more.
    let Said { code, stdout, .. } = say(at, &["end", "-"], &format!("{id}\n")).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "ended 1 session\n"));
    let Said { code, stderr, .. } = say(at, &["end", &id], "").await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no such session"), "{stderr}");
    assert_eq!(say(at, &["session", &id], "").await.code, Some(1), "only its tombstone is there");
    assert_eq!(say(at, &["user", "ada"], "").await.code, Some(1));
    log_in(http, "bob").await;
    log_in(http, "bob").await;
    let Said { code, stdout, .. } = say(at, &["end", "--user", "bob", "--json"], "").await;
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"ended\":2,\"unconfirmed\":0}\n"));

    for (args, word) in [
        (&["session", "abc"][..], "`id` is no session id"),
        (&["session", &id, "--reveal"][..], "`reveal` must be allowed"),
        (&["end"][..], "required"),
        (&["end", &id, "--user", "ada"][..], "cannot be used with"),
        (&["status", "--admin", "nowhere"][..], "invalid"),
    ] {
        let Said { code, stderr, .. } = say(at, args, "").await;
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(word), "{args:?} says {word}: {stderr}");
    }
    let Said { code, stdout, .. } = say(at, &["drain"], "").await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("hands over and stops"), "{stdout}");
    let status = timeout(PATIENCE, child.wait()).await.expect("it stops").unwrap();
    assert_eq!(status.code(), Some(0), "its sessions had ended");
    let Said { code, stderr, .. } = say(at, &["status"], "").await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("is the node started with `--admin"), "{stderr}");
}

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
