//! Requests over kept connections, one at a time on each.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Requests as they go onto the wire, taken in turns.
#[derive(Clone, Debug)]
pub(crate) struct Requests(pub(crate) Vec<Vec<u8>>);

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) addr: SocketAddr,
    pub(crate) connections: u16,
    pub(crate) window: Duration,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) total: u64,
    pub(crate) failed: u64,
    pub(crate) elapsed: Duration,
    /// Of each request, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
}

impl Done {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.total as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// Sends for as long as the window, and waits for the last answers.
    pub(crate) async fn run(&self, requests: &Requests) -> anyhow::Result<Done> {
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Connection::open(self.addr).await?);
        }
        let began = Instant::now();
        let end = began + self.window;
        let mut running = JoinSet::new();
        for (number, mut connection) in connections.into_iter().enumerate() {
            // Each begins elsewhere in the list.
            let first = number * requests.0.len() / usize::from(self.connections);
            let requests: Vec<_> = requests.0[first..].iter().chain(&requests.0[..first]).cloned().collect();
            running.spawn(async move {
                let mut done = Done::default();
                for request in requests.iter().cycle() {
                    let sent = Instant::now();
                    if sent >= end {
                        break;
                    }
                    let answer = connection.ask(request).await?;
                    done.total += 1;
                    done.failed += u64::from(answer.status != 200);
                    done.latencies_us.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                anyhow::Ok(done)
            });
        }
        let mut all = Done::default();
        while let Some(done) = running.join_next().await {
            let done = done??;
            all.total += done.total;
            all.failed += done.failed;
            all.latencies_us.extend(done.latencies_us);
        }
        all.elapsed = began.elapsed();
        Ok(all)
    }
}

/// Asks for `path` so often, and returns the cookies that were set, as a browser would send them back.
pub(crate) async fn cookies(addr: SocketAddr, path: &str, times: usize) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::open(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes();
    let mut cookies = Vec::new();
    for _ in 0..times {
        let answer = connection.ask(&request).await?;
        cookies.push(answer.cookie.with_context(|| format!("status {} sets no cookie", answer.status))?);
    }
    Ok(cookies)
}

struct Answer {
    status: u16,
    cookie: Option<String>,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4_096) })
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
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
            return Ok(Answer { status: head.code.unwrap_or(0), cookie });
        }
    }
}
