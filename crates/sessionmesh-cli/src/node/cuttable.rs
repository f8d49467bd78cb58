//! A network that can be cut off, for the demo: what is sent goes nowhere and nothing arrives, as with a pulled cable.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network, TokioNetwork};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

/// How often who wants to connect looks whether the cable is plugged in again.
const LOOK: Duration = Duration::from_millis(20);

/// The cable. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Cable(Arc<AtomicBool>);

impl Cable {
    /// Pulls it, or plugs it in again.
    pub(super) fn pull(&self, pulled: bool) {
        self.0.store(pulled, Ordering::Release);
    }

    /// Whether it is pulled.
    pub(super) fn is_pulled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits until it is plugged in.
    pub(super) async fn plugged_in(&self) {
        while self.is_pulled() {
            sleep(LOOK).await;
        }
    }

    fn wrap(&self, real: Box<dyn ByteStream>) -> Box<dyn ByteStream> {
        Box::new(Stream { real, cable: self.clone(), has_lost: false })
    }
}

/// The real network, on that cable.
#[derive(Debug)]
pub(super) struct Cuttable(pub(super) Cable);

impl Network for Cuttable {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            self.0.plugged_in().await;
            Ok(self.0.wrap(TokioNetwork.connect(to).await?))
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let real = TokioNetwork.listen(at).await?;
            Ok(Box::new(OnCable { real, cable: self.0.clone() }) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let real = TokioNetwork.datagrams(bind).await?;
            Ok(Box::new(OnCable { real, cable: self.0.clone() }) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { TokioNetwork.resolve(&host).await })
    }
}

#[derive(Debug)]
struct OnCable<T> {
    real: T,
    cable: Cable,
}

impl Listener for OnCable<Box<dyn Listener>> {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.real.accept().await?;
            Ok((self.cable.wrap(stream), from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real.local_addr()
    }
}

impl Datagrams for OnCable<Box<dyn Datagrams>> {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        if self.cable.is_pulled() {
            return Box::pin(async { Ok(()) });
        }
        self.real.send_to(bytes, to)
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            loop {
                let received = self.real.recv_from(buffer).await?;
                if !self.cable.is_pulled() {
                    return Ok(received);
                }
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real.local_addr()
    }
}

/// A connection that has ever lost something is of no more use, and breaks when the cable is plugged in again.
struct Stream {
    real: Box<dyn ByteStream>,
    cable: Cable,
    has_lost: bool,
}

impl Stream {
    fn loses(&mut self) -> io::Result<bool> {
        let pulled = self.cable.is_pulled();
        if self.has_lost && !pulled {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.has_lost |= pulled;
        Ok(pulled)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.loses()? {
                return Pin::new(&mut self.real).poll_read(context, buffer);
            }
            let mut space = [0; 4096];
            let mut away = ReadBuf::new(&mut space);
            match Pin::new(&mut self.real).poll_read(context, &mut away)? {
                Poll::Ready(()) if away.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.loses()? { Poll::Ready(Ok(bytes.len())) } else { Pin::new(&mut self.real).poll_write(context, bytes) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.real).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.real).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_while_it_is_pulled_is_lost_and_then_everything_works_again() {
        let cable = Cable::default();
        let network = Cuttable(cable.clone());
        let listener = TokioNetwork.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut ours = network.connect(at).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        ours.write_all(b"a").await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), b'a');
        cable.pull(true);
        ours.write_all(b"b").await.unwrap();
        assert!(timeout(Duration::from_millis(50), theirs.read_u8()).await.is_err(), "it went nowhere");
        assert!(timeout(Duration::from_millis(50), network.connect(at)).await.is_err());
        cable.pull(false);
        assert!(ours.write_all(b"c").await.is_err(), "it has lost something");
        network.connect(at).await.unwrap();
    }
}
