//! Replication lag: from the answer to a write on one node until a read on another one shows it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::connection::{Connection, make_sessions};
use super::peers::Sites;
use super::request::request;
use super::system::System;
use super::workload::BYTES;
use crate::report::Figures;

/// A write that is not seen after this long counts as never seen.
const NEVER: Duration = Duration::from_secs(2);
/// So long the other node is asked without a pause.
const AT_ONCE: Duration = Duration::from_millis(20);
/// Between two writes, so that they do not meet.
const PAUSE: Duration = Duration::from_millis(2);

/// When the writes of one round were seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lags {
    /// Of each write that was seen, in microseconds.
    seen_us: Vec<u64>,
    /// Writes that the first read showed.
    first: usize,
    never: usize,
}

impl Lags {
    fn note(&mut self, figures: &mut Figures, system: &System) {
        self.seen_us.sort_unstable();
        let samples = self.seen_us.len() + self.never;
        let name = |what: &str| format!("http/lag/{}/{what}", system.name);
        for (what, percent) in [("p50", 50), ("p99", 99)] {
            if let Some(us) = self.seen_us.get(self.seen_us.len() * percent / 100) {
                figures.add(name(what), "us", *us as f64);
            }
        }
        figures.add(name("samples"), "writes", samples as f64);
        figures.add(name("first"), "share", self.first as f64 / samples as f64);
        figures.add(name("never"), "share", self.never as f64 / samples as f64);
    }
}

/// Measures `samples` writes, each of a session of its own, and notes the figures.
pub(crate) async fn run(system: &System, sites: &Sites, samples: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let other = sites.other().context("there is no other node")?;
    let cookies = make_sessions(sites.addr(), BYTES, samples).await?;
    sites.rest().await?;
    // Lag matters to visitors who come to both nodes, so they have been there before.
    let mut connection = Connection::open(other).await?;
    for cookie in &cookies {
        connection.ask(&request("/read", Some(cookie))).await?;
    }
    sites.rest().await?;
    measure(sites.addr(), other, &cookies).await?.note(figures, system);
    Ok(())
}

async fn measure(writer: SocketAddr, reader: SocketAddr, cookies: &[String]) -> anyhow::Result<Lags> {
    let mut lags = Lags::default();
    let (mut writer, mut connection) = (Connection::open(writer).await?, Connection::open(reader).await?);
    let mut late = JoinSet::new();
    for cookie in cookies {
        let answer = writer.ask(&request(&format!("/write?n={BYTES}"), Some(cookie))).await?;
        let written = Instant::now();
        ensure!(answer.status == 200, "a write is answered with status {}", answer.status);
        let number = writer.number().context("a write does not tell its number")?;
        let read = request("/read", Some(cookie));
        let mut reads = 0;
        loop {
            reads += 1;
            if shows(&mut connection, &read, number).await? {
                lags.first += usize::from(reads == 1);
                lags.seen_us.push(u64::try_from(written.elapsed().as_micros())?);
                break;
            }
            if written.elapsed() >= AT_ONCE {
                // The next ones need not wait for it.
                late.spawn(wait(reader, read, number, written));
                break;
            }
        }
        sleep(PAUSE).await;
    }
    while let Some(seen) = late.join_next().await {
        match seen?? {
            Some(lag) => lags.seen_us.push(u64::try_from(lag.as_micros())?),
            None => lags.never += 1,
        }
    }
    Ok(lags)
}

/// Asks ever more rarely, so that the node stays nearly idle: each pause is a quarter of the time that has passed.
async fn wait(reader: SocketAddr, read: Vec<u8>, number: u64, written: Instant) -> anyhow::Result<Option<Duration>> {
    let mut connection = Connection::open(reader).await?;
    while written.elapsed() < NEVER {
        if shows(&mut connection, &read, number).await? {
            return Ok(Some(written.elapsed()));
        }
        sleep(written.elapsed() / 4).await;
    }
    Ok(shows(&mut connection, &read, number).await?.then(|| written.elapsed()))
}

async fn shows(connection: &mut Connection, read: &[u8], number: u64) -> anyhow::Result<bool> {
    let answer = connection.ask(read).await?;
    Ok(answer.status == 200 && connection.number() == Some(number))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    /// A replica that shows the first write at once, the second after a while, and the third never.
    #[tokio::test]
    async fn late_and_lost_writes_are_told_apart() -> anyhow::Result<()> {
        static WRITTEN: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
        async fn write() -> String {
            let mut written = WRITTEN.lock().unwrap();
            written.push(Instant::now());
            format!("ok {}", written.len())
        }
        async fn read(headers: axum::http::HeaderMap) -> String {
            let number = headers["cookie"].to_str().unwrap().trim_start_matches("id=").parse::<usize>().unwrap();
            let elapsed = WRITTEN.lock().unwrap()[number - 1].elapsed();
            let shown = number == 1 || number == 2 && elapsed > Duration::from_millis(300);
            format!("256 {}", if shown { number } else { 0 })
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let app = Router::new().route("/write", get(write)).route("/read", get(read));
        let server = tokio::spawn(axum::serve(listener, app).into_future());
        let lags = measure(addr, addr, &["id=1", "id=2", "id=3"].map(str::to_owned)).await?;
        server.abort();
        assert_eq!((lags.seen_us.len(), lags.first, lags.never), (2, 1, 1));
        assert!(lags.seen_us[1] >= 300_000, "{lags:?}");
        Ok(())
    }
}
