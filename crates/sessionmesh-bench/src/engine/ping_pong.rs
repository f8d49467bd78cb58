//! What the machine can do at best: as many bytes as a commit takes, to and fro over TCP, and nothing else.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What a commit of 256 bytes sends, and what its answer does, in bytes.
const SENT: usize = 476;
const ANSWERED: usize = 42;

/// The median time of a round trip, in nanoseconds.
pub(crate) async fn run(window: Duration) -> anyhow::Result<Option<f64>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut buffer = [0; SENT];
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer[..ANSWERED]).await?;
        }
        anyhow::Ok(())
    });
    let ping = tokio::spawn(async move {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut latencies = Vec::new();
        let until = Instant::now() + window;
        let mut buffer = [0; SENT];
        loop {
            let began = Instant::now();
            if began >= until {
                return anyhow::Ok(latencies);
            }
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer[..ANSWERED]).await?;
            latencies.push(u32::try_from(began.elapsed().as_nanos())?);
        }
    });
    let mut latencies = ping.await??;
    echo.await??;
    latencies.sort_unstable();
    Ok(latencies.get(latencies.len() / 2).map(|&median| f64::from(median)))
}
