//! A node that is there, gossips and takes connections, but neither hears nor answers anything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use sessionmesh::network::ByteStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TestNetwork;

impl TestNetwork {
    /// The node hangs while this is set: what arrives on a connection is swallowed, what is sent goes nowhere. Connections
    /// are still accepted, and gossip goes on.
    #[must_use]
    pub fn hanging(self, hangs: Arc<AtomicBool>) -> Self {
        self.wrapping(move |real| Box::new(Swallowing { real, hangs: hangs.clone(), swallowed: false }))
    }
}

/// A connection that has ever swallowed something is of no more use, and breaks when its node hangs no longer.
struct Swallowing {
    real: Box<dyn ByteStream>,
    hangs: Arc<AtomicBool>,
    swallowed: bool,
}

impl Swallowing {
    fn state(&mut self) -> io::Result<bool> {
        let hangs = self.hangs.load(Ordering::Acquire);
        if self.swallowed && !hangs {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.swallowed |= hangs;
        Ok(hangs)
    }
}

impl AsyncRead for Swallowing {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.state()? {
                return Pin::new(&mut self.real).poll_read(cx, buf);
            }
            let mut space = [0; 4096];
            let mut away = ReadBuf::new(&mut space);
            match Pin::new(&mut self.real).poll_read(cx, &mut away)? {
                Poll::Ready(()) if away.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for Swallowing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.state()? { Poll::Ready(Ok(buf.len())) } else { Pin::new(&mut self.real).poll_write(cx, buf) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.real).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.real).poll_shutdown(cx)
    }
}
