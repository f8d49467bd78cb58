//! One request of a visitor, on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, COOKIE, HOST, SET_COOKIE};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An answer, and the cookie that it sets.
    Answer { status: u16, cookie: Option<String>, body: String },
    /// It was certainly not sent: why.
    NotSent(String),
    /// It was sent, and there was no answer: why.
    Lost(String),
}

/// Sends a request, and waits for the whole answer.
pub(crate) async fn ask(to: SocketAddr, method: Method, path: &str, cookie: Option<&str>, within: Duration) -> Reply {
    // The half of it, so that there is time for another node.
    let stream = match timeout(within / 2, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Reply::NotSent(error.to_string()),
        Err(_) => return Reply::NotSent("no connection".to_owned()),
    };
    match timeout(within, exchange(stream, to, method, path, cookie)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply::Lost(error.to_string()),
        Err(_) => Reply::Lost("no answer".to_owned()),
    }
}

async fn exchange(
    stream: TcpStream,
    to: SocketAddr,
    method: Method,
    path: &str,
    cookie: Option<&str>,
) -> anyhow::Result<Reply> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(HOST, to.to_string());
    request = request.header(CONNECTION, "close");
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await;
    let answer = answer.inspect_err(|_| connection.abort())?;
    let status = answer.status().as_u16();
    let set = |value: &hyper::header::HeaderValue| Some(value.to_str().ok()?.split(';').next()?.to_owned());
    let cookie = answer.headers().get_all(SET_COOKIE).iter().find_map(set);
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(Reply::Answer { status, cookie, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The value of `name=value` among words.
pub(crate) fn word<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    body.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}
