//! What the machine can do at best: as many bytes as a commit takes, to and fro over TCP, and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::latencies::Latencies;

/// What a commit of 256 bytes sends, and what its answer does, in bytes.
const SENT: usize = 476;
const ANSWERED: usize = 42;
/// How long the echo waits for the one who pings.
const PATIENCE: Duration = Duration::from_secs(20);

/// Round trips within this process.
pub(super) async fn run(window: Duration) -> anyhow::Result<Latencies> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let echo = tokio::spawn(echo(listener));
    let latencies = ping(addr, window).await?;
    echo.await??;
    Ok(latencies)
}

/// Answers the first who connects, for as long as the connection stands.
pub(crate) async fn echo(listener: TcpListener) -> anyhow::Result<()> {
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.context("nobody pings")??;
    stream.set_nodelay(true)?;
    let mut buffer = [0; SENT];
    while stream.read_exact(&mut buffer).await.is_ok() {
        stream.write_all(&buffer[..ANSWERED]).await?;
    }
    Ok(())
}

/// Round trips to an [`echo`], in a task of their own, as commits are made in one.
pub(crate) async fn ping(addr: SocketAddr, window: Duration) -> anyhow::Result<Latencies> {
    let ping = async move {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut nanoseconds = Vec::new();
        let until = Instant::now() + window;
        let mut buffer = [0; SENT];
        loop {
            let began = Instant::now();
            if began >= until {
                return anyhow::Ok(Latencies::of(nanoseconds));
            }
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer[..ANSWERED]).await?;
            nanoseconds.push(u32::try_from(began.elapsed().as_nanos())?);
        }
    };
    tokio::spawn(ping).await?
}
