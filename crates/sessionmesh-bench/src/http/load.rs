//! Requests over kept connections, one at a time on each.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::Connection;

/// How long the last answers of a window may take.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

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
    /// How one of those failed.
    pub(crate) failure: Option<String>,
    pub(crate) elapsed: Duration,
    /// Of each request that succeeded, in microseconds.
    pub(crate) latencies_us: Vec<u32>,
}

impl Done {
    /// Requests per second that succeeded.
    pub(crate) fn rate(&self) -> f64 {
        (self.total - self.failed) as f64 / self.elapsed.as_secs_f64()
    }

    fn fail(&mut self, failure: String) {
        self.failed += 1;
        self.failure.get_or_insert(failure);
    }
}

impl Load {
    /// Sends for as long as the window, and waits for the last answers.
    pub(crate) async fn run(&self, requests: &Requests) -> anyhow::Result<Done> {
        let until = self.window + ENDS_WITHIN;
        timeout(until, self.send(requests)).await.with_context(|| format!("some answers take longer than {until:?}"))?
    }

    async fn send(&self, requests: &Requests) -> anyhow::Result<Done> {
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Connection::open(self.addr).await?);
        }
        let began = Instant::now();
        let mut running = JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            // Each begins elsewhere in the list.
            let first = number * requests.0.len() / usize::from(self.connections);
            let requests: Vec<_> = requests.0[first..].iter().chain(&requests.0[..first]).cloned().collect();
            running.spawn(one_by_one(self.addr, connection, requests, began + self.window));
        }
        let mut all = Done::default();
        while let Some(done) = running.join_next().await {
            let done = done??;
            all.total += done.total;
            all.failed += done.failed;
            all.failure = all.failure.or(done.failure);
            all.latencies_us.extend(done.latencies_us);
        }
        all.elapsed = began.elapsed();
        Ok(all)
    }
}

async fn one_by_one(
    addr: SocketAddr,
    mut connection: Connection,
    requests: Vec<Vec<u8>>,
    end: Instant,
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    for request in requests.iter().cycle() {
        let sent = Instant::now();
        if sent >= end {
            break;
        }
        done.total += 1;
        match connection.ask(request).await {
            Ok(answer) if answer.status == 200 => {
                done.latencies_us.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(answer) => done.fail(format!("status {}", answer.status)),
            Err(error) => {
                done.fail(format!("{error:#}"));
                connection = Connection::open(addr).await?;
            }
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::request::request;

    #[tokio::test]
    async fn only_what_succeeded_counts() -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let app =
            Router::new().route("/good", get(|| async { "ok 1" })).route("/bad", get(|| async { StatusCode::GONE }));
        let server = tokio::spawn(axum::serve(listener, app).into_future());
        let requests = Requests(vec![request("/good", None), request("/bad", None)]);
        let load = Load { addr, connections: 2, window: Duration::from_millis(50) };
        let done = load.run(&requests).await?;
        server.abort();
        assert!(done.failed > 0 && done.failed < done.total, "{} of {} failed", done.failed, done.total);
        assert_eq!(done.latencies_us.len() as u64, done.total - done.failed);
        assert_eq!(done.failure.as_deref(), Some("status 410"));
        Ok(())
    }
}
