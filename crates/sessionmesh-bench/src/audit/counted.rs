//! The real network, counting what is written to streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::ensure;
use sessionmesh::network::ByteStream;
use sessionmesh_testkit::network::TestNetwork;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

/// A write is large from here on. On idle links only an audit is: it names 4096 slots with a digest of 8 bytes each,
/// where a ping takes some tens of bytes.
const LARGE_BYTES: usize = 8 << 10;

/// What was written to all streams of a network.
#[derive(Debug, Default)]
pub(super) struct Written {
    bytes: AtomicU64,
    large: AtomicU64,
}

impl Written {
    /// Bytes, and large writes.
    pub(super) fn now(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.large.load(Ordering::Relaxed))
    }

    /// Waits until there were so many large writes more.
    pub(super) async fn wait_for_large(&self, more: u64, patience: Duration) -> anyhow::Result<()> {
        let (until, enough) = (Instant::now() + patience, self.now().1 + more);
        while self.now().1 < enough {
            ensure!(Instant::now() < until, "no large write within {patience:?}");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// The network of the operating system, with a count.
pub(super) fn network(written: &Arc<Written>) -> TestNetwork {
    let written = written.clone();
    TestNetwork::default().wrapping(move |stream| Stream::counted(stream, &written))
}

struct Stream<S> {
    stream: S,
    written: Arc<Written>,
    /// What is left of a write of which the system took only a part.
    left: usize,
}

impl<S: ByteStream + 'static> Stream<S> {
    fn counted(stream: S, written: &Arc<Written>) -> Box<dyn ByteStream> {
        Box::new(Self { stream, written: written.clone(), left: 0 })
    }
}

impl<S: ByteStream> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: ByteStream> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.written.bytes.fetch_add(taken as u64, Ordering::Relaxed);
        if self.left == 0 && bytes.len() >= LARGE_BYTES {
            self.written.large.fetch_add(1, Ordering::Relaxed);
        }
        self.left = bytes.len() - taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_large_write_counts_once_though_it_goes_in_parts() {
        // The pipe takes 1000 bytes at a time.
        let (near, mut far) = tokio::io::duplex(1_000);
        let written = Arc::new(Written::default());
        let mut stream = Stream::counted(near, &written);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        stream.write_all(&[0; 3 * LARGE_BYTES]).await.unwrap();
        stream.write_all(&[0; 10]).await.unwrap();
        stream.write_all(&[0; LARGE_BYTES]).await.unwrap();
        drop(stream);
        let bytes = 4 * LARGE_BYTES + 10;
        assert_eq!(reader.await.unwrap(), bytes);
        assert_eq!(written.now(), (bytes as u64, 2));
    }
}
