//! Nodes of the program, and HTTP to them.

use std::process::Stdio;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sessionmesh::network::{Network as _, TokioNetwork};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const TOKEN: &str = "a-token-of-this-test-only";

pub(crate) fn node(args: &[&str]) -> Command {
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
pub(crate) async fn started(mut command: Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("it becomes ready").unwrap().expect("it says so");
    (child, line)
}

/// Starts it, and says where operators reach it.
pub(crate) async fn ready(command: Command) -> (Child, String) {
    let (child, line) = started(command).await;
    let (_, admin) = line.split_once(", admin http://").unwrap_or_else(|| panic!("it says where: {line}"));
    (child, admin.to_owned())
}

pub(crate) async fn ask(
    at: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", at);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = send(at, request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await;
    (answer.status(), text(answer).await)
}

/// The cookie and the id of a visitor who logs in.
pub(crate) async fn log_in(http: &str, user: &str) -> String {
    let (status, cookie, body) = try_log_in(http, user).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    cookie.unwrap()
}

/// What is answered to a visitor who tries to log in: also the cookie, if one is set.
pub(crate) async fn try_log_in(http: &str, user: &str) -> (StatusCode, Option<String>, String) {
    let body = format!("{{\"user\":\"{user}\"}}");
    let request = Request::post("/login").header("host", http).header("content-type", "application/json");
    let answer = send(http, request.body(Full::new(Bytes::from(body))).unwrap()).await;
    let cookie = answer.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap());
    let cookie = cookie.map(|cookie| cookie.split(['=', ';']).nth(1).unwrap().to_owned());
    (answer.status(), cookie, text(answer).await)
}

async fn send(at: &str, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TokioNetwork.connect(at.parse().unwrap()).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    timeout(PATIENCE, sender.send_request(request)).await.expect("it answers").unwrap()
}

async fn text(answer: Response<Incoming>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
