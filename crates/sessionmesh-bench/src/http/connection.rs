//! A client's connection, with one request at a time.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::request::request;

/// A kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where in the buffer the last answer's body is.
    body: Range<usize>,
}

/// The head of an answer, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The cookie that was set, as a browser would send it back.
    pub(crate) cookie: Option<String>,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.with_context(|| format!("cannot connect to {addr}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4_096), body: 0..0 })
    }

    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed before the answer was complete");
            }
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut head = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(length) = head.parse(&self.buffer)? else { continue };
            let header = |name: &str| {
                let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.and_then(|header| std::str::from_utf8(header.value).ok())
            };
            let body: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if self.buffer.len() < length + body {
                continue;
            }
            let cookie = header("set-cookie").and_then(|cookie| cookie.split(';').next()).map(ToOwned::to_owned);
            self.body = length..length + body;
            return Ok(Answer { status: head.code.unwrap_or(0), cookie });
        }
    }

    /// The number in the last answer, `ok NUMBER` or `LENGTH NUMBER`: which value was written or read.
    pub(crate) fn number(&self) -> Option<u64> {
        std::str::from_utf8(&self.buffer[self.body.clone()]).ok()?.split(' ').nth(1)?.parse().ok()
    }
}

/// Makes so many sessions, and returns their cookies.
pub(crate) async fn make_sessions(addr: SocketAddr, bytes: usize, count: usize) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::open(addr).await?;
    let request = request(&format!("/new?n={bytes}"), None);
    let mut cookies = Vec::new();
    for _ in 0..count {
        let answer = connection.ask(&request).await?;
        ensure!(answer.status == 200, "a new session is answered with status {}", answer.status);
        cookies.push(answer.cookie.context("a new session sets no cookie")?);
    }
    Ok(cookies)
}
