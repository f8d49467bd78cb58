//! A connection whose other side says what an input says, whatever it hears.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Says these bytes, so many at a time, and then closes. Counts what is read of it and written to it.
#[derive(Clone, Debug)]
pub struct Stranger {
    bytes: Vec<u8>,
    at_a_time: usize,
    read: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Stranger {
    /// One that says these bytes, `at_a_time` at once, or all.
    #[must_use]
    pub fn new(bytes: &[u8], at_a_time: u8) -> Self {
        let at_a_time = if at_a_time == 0 { usize::MAX } else { usize::from(at_a_time) };
        Self { bytes: bytes.to_vec(), at_a_time, read: Arc::default(), written: Arc::default() }
    }

    /// How many of its bytes were read.
    #[must_use]
    pub fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// How many bytes were written to it.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

impl AsyncRead for Stranger {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let at = self.read();
        let count = buffer.remaining().min(self.at_a_time).min(self.bytes.len() - at);
        buffer.put_slice(&self.bytes[at..at + count]);
        self.read.store(at + count, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stranger {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.fetch_add(bytes.len(), Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
