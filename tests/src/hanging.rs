//! A node that is there, gossips and takes connections, but neither hears nor answers anything.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network, TokioNetwork};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The network of a node that hangs when told to: what arrives on a connection is swallowed, what is sent goes nowhere.
/// Connections are still accepted, and gossip goes on.
#[derive(Debug, Default)]
pub struct Hanging {
    real: TokioNetwork,
    /// Whether it hangs.
    pub hangs: Arc<AtomicBool>,
}

impl Network for Hanging {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move { Ok(Swallowing::over(self.real.connect(to).await?, &self.hangs)) })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = HangingListener { real: self.real.listen(at).await?, hangs: self.hangs.clone() };
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        self.real.datagrams(bind)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { self.real.resolve(&host).await })
    }
}

struct HangingListener {
    real: Box<dyn Listener>,
    hangs: Arc<AtomicBool>,
}

impl Listener for HangingListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.real.accept().await?;
            Ok((Swallowing::over(stream, &self.hangs), from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real.local_addr()
    }
}

/// A connection that has ever swallowed something is of no more use, and breaks when its node hangs no longer.
struct Swallowing {
    real: Box<dyn ByteStream>,
    hangs: Arc<AtomicBool>,
    swallowed: bool,
}

impl Swallowing {
    fn over(real: Box<dyn ByteStream>, hangs: &Arc<AtomicBool>) -> Box<dyn ByteStream> {
        Box::new(Self { real, hangs: hangs.clone(), swallowed: false })
    }

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
