//! The memory of what people use instead.

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{BYTES, at_rest, note, pid_of};
use crate::http::connection;
use crate::http::peers::{Redis, Sites};
use crate::http::site::Variant;
use crate::report::Figures;
use crate::share;

/// Connections over which sessions are made.
const CONNECTIONS: usize = 8;

/// tower-sessions' MemoryStore, in a process of axum.
pub(super) async fn memory_store(figures: &mut Figures, sites: &Sites, count: usize) -> anyhow::Result<()> {
    // The connections and what serves them are there before.
    fill(sites, CONNECTIONS).await?;
    let pid = pid_of(sites.pid())?;
    let before = at_rest(pid).await?;
    fill(sites, count).await?;
    note(figures, "memory-store", before, at_rest(pid).await?, count);
    Ok(())
}

/// Redis, filled by tower-sessions.
pub(super) async fn redis(figures: &mut Figures, redis: &Redis, count: usize) -> anyhow::Result<()> {
    let sites = Sites::start(Variant::Redis, 1, Some(redis)).await?;
    fill(&sites, CONNECTIONS).await?;
    let pid = pid_of(redis.pid())?;
    let (before, used) = (at_rest(pid).await?, used_memory(redis.port()).await?);
    fill(&sites, count).await?;
    note(figures, "redis/resident", before, at_rest(pid).await?, count);
    note(figures, "redis/used", used, used_memory(redis.port()).await?, count);
    Ok(())
}

/// Makes so many sessions.
async fn fill(sites: &Sites, count: usize) -> anyhow::Result<()> {
    let addr = sites.addr();
    let mut running = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mine = share::of(count, connection, CONNECTIONS);
        running.spawn(async move { connection::make_sessions(addr, BYTES, mine).await });
    }
    let mut made = 0;
    while let Some(cookies) = running.join_next().await {
        made += cookies??.len();
    }
    ensure!(made == count, "{made} of {count} sessions were made");
    Ok(())
}

/// What Redis itself says that it uses.
async fn used_memory(port: u16) -> anyhow::Result<u64> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    stream.write_all(b"INFO memory\r\n").await?;
    let mut head = String::new();
    stream.read_line(&mut head).await?;
    let length = head.trim_end().strip_prefix('$').and_then(|length| length.parse().ok());
    let mut text = vec![0; length.with_context(|| format!("Redis answers {head:?}"))?];
    stream.read_exact(&mut text).await?;
    used(std::str::from_utf8(&text)?).context("Redis does not tell its used_memory")
}

fn used(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("used_memory:"))?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_memory_is_found() {
        let info = "# Memory\r\nused_memory_human:1M\r\nused_memory:1048576\r\nused_memory_rss:7\r\n";
        assert_eq!(used(info), Some(1 << 20));
        assert_eq!(used("# Memory\r\n"), None);
    }
}
