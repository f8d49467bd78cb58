//! One HTTP request to a node, as a browser, a balancer or an operator would send it.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, HeaderName, SET_COOKIE};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sessionmesh::network::{Network as _, TokioNetwork};
use tokio::time::timeout;

/// How long a visitor would wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body; null if it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// The cookie that was set, without its attributes.
    pub(crate) fn cookie(&self) -> Option<String> {
        let set = self.headers.get(SET_COOKIE)?.to_str().ok()?;
        set.split(';').next().map(str::to_owned)
    }
}

/// Why no answer came.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Sends `method path` with the visitor's cookie and, if there is one, a JSON body.
///
/// # Errors
///
/// No answer: the connection was refused or broke, or it took too long.
pub(crate) async fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    cookie: Option<&str>,
    body: Option<&Value>,
) -> Result<Answer, String> {
    ask_with(to, method, path, cookie.map(|cookie| (COOKIE, cookie)), body).await
}

/// [`ask`] with any header in place of a cookie.
///
/// # Errors
///
/// As [`ask`].
pub(crate) async fn ask_with(
    to: SocketAddr,
    method: &str,
    path: &str,
    header: Option<(HeaderName, &str)>,
    body: Option<&Value>,
) -> Result<Answer, String> {
    let exchange = async {
        let response = sent(to, request_for(to, method, path, header, body)?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok::<_, Trouble>(Answer { status: head.status, headers: head.headers, body })
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("no answer from {to}: {error}")),
        Err(_) => Err(format!("no answer from {to} within {}", humantime::format_duration(PATIENCE))),
    }
}

/// Reads an answer that has no end, as it comes, and gives each line of it to `each`. Returns when it ends, or
/// breaks.
///
/// # Errors
///
/// No answer, or another one than 200: what it says.
pub(crate) async fn follow(
    to: SocketAddr,
    path: &str,
    header: Option<(HeaderName, &str)>,
    mut each: impl FnMut(&str),
) -> Result<(), Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal::NoAnswer(format!("no answer from {to}: {error}"));
    let request = request_for(to, "GET", path, header, None).map_err(|error| failed(&error))?;
    let opening = timeout(PATIENCE, sent(to, request)).await;
    let response = opening.map_err(|late| failed(&late))?.map_err(|error| failed(&error))?;
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        let body = body.collect().await.map_err(|error| failed(&error))?.to_bytes();
        return Err(Refusal::Answered(head.status, serde_json::from_slice(&body).unwrap_or_default()));
    }
    let mut line = Vec::new();
    while let Some(frame) = body.frame().await {
        // A process that stops may break the connection.
        let Ok(frame) = frame else { break };
        let Some(bytes) = frame.into_data().ok() else { continue };
        for byte in bytes {
            if byte == b'\n' {
                each(&String::from_utf8_lossy(&line));
                line.clear();
            } else if line.len() < LINE_BYTES_MAX {
                line.push(byte);
            }
        }
    }
    Ok(())
}

/// What is longer of a line is cut off.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Why nothing could be followed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There was no answer.
    NoAnswer(String),
    /// There was another one than wanted.
    Answered(StatusCode, Value),
}

fn request_for(
    to: SocketAddr,
    method: &str,
    path: &str,
    header: Option<(HeaderName, &str)>,
    body: Option<&Value>,
) -> hyper::http::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, to.to_string());
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(Full::from(body.map(Value::to_string).unwrap_or_default()))
}

/// Sends a request over a connection of its own, and gives the answer as soon as its head is there.
///
/// # Errors
///
/// The connection was refused or broke.
pub(crate) async fn sent(to: SocketAddr, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Trouble> {
    let stream = TokioNetwork.connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender and the answer, and its errors come back through them.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
