//! A network inside this process: no kernel in between, and every byte counted.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

/// Bytes of a stream that wait for their reader, in each direction, as in a socket's buffers.
const STREAM_BYTES_MAX: usize = 256 << 10;
/// Datagrams that wait for their reader; what comes then is lost, as with a socket.
const DATAGRAMS_MAX: usize = 1 << 10;
/// Connections that nobody accepted yet; what comes then is refused.
const BACKLOG_MAX: usize = 1 << 10;
/// The first port that is given away; each is given once.
const FIRST_PORT: u16 = 1_024;

/// The far end of a stream, and who dialled.
type Connection = (DuplexStream, SocketAddr);
/// What was sent, and by whom.
type Datagram = (Box<[u8]>, SocketAddr);

/// All addresses of this network are ports of 127.0.0.1. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryNetwork(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ports: Mutex<Ports>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Ports {
    given: u16,
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Connection>>,
    sockets: BTreeMap<SocketAddr, mpsc::Sender<Datagram>>,
}

#[derive(Debug, Default)]
struct Counters {
    stream_bytes: AtomicU64,
    datagrams: AtomicU64,
    datagram_bytes: AtomicU64,
    datagrams_lost: AtomicU64,
}

/// What was written since the network was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Bytes written to all streams.
    pub(crate) stream_bytes: u64,
    /// Datagrams sent.
    pub(crate) datagrams: u64,
    /// Bytes in them.
    pub(crate) datagram_bytes: u64,
    /// Datagrams that found their receiver's queue full.
    pub(crate) datagrams_lost: u64,
}

impl Traffic {
    /// What was written from `earlier` on.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            stream_bytes: self.stream_bytes - earlier.stream_bytes,
            datagrams: self.datagrams - earlier.datagrams,
            datagram_bytes: self.datagram_bytes - earlier.datagram_bytes,
            datagrams_lost: self.datagrams_lost - earlier.datagrams_lost,
        }
    }
}

impl MemoryNetwork {
    /// All that was written so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let counters = &self.0.counters;
        Traffic {
            stream_bytes: counters.stream_bytes.load(Ordering::Relaxed),
            datagrams: counters.datagrams.load(Ordering::Relaxed),
            datagram_bytes: counters.datagram_bytes.load(Ordering::Relaxed),
            datagrams_lost: counters.datagrams_lost.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ports {
    /// `wanted`, or a port that nobody had before if it names none.
    fn address(&mut self, wanted: SocketAddr) -> io::Result<SocketAddr> {
        if wanted.port() != 0 {
            return Ok(wanted);
        }
        self.given = if self.given == 0 { FIRST_PORT } else { self.given };
        let port = self.given;
        self.given = port.checked_add(1).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok((Ipv4Addr::LOCALHOST, port).into())
    }
}

impl Network for MemoryNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let mut ports = self.0.ports();
            // Nobody connects to it, so its number need not be told from others.
            let from = (Ipv4Addr::LOCALHOST, 0).into();
            let listener = ports.listeners.get_mut(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
            let (near, far) = tokio::io::duplex(STREAM_BYTES_MAX);
            listener.try_send((far, from)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(Counted { stream: near, shared: self.0.clone() }) as Box<dyn ByteStream>)
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut ports = self.0.ports();
            let at = ports.address(at)?;
            if ports.listeners.contains_key(&at) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (sender, backlog) = mpsc::channel(BACKLOG_MAX);
            ports.listeners.insert(at, sender);
            let backlog = tokio::sync::Mutex::new(backlog);
            Ok(Box::new(Ear { at, backlog, shared: self.0.clone() }) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let DatagramBind::Unicast(at) = bind else { return Err(io::ErrorKind::Unsupported.into()) };
            let mut ports = self.0.ports();
            let at = ports.address(at)?;
            if ports.sockets.contains_key(&at) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (sender, queue) = mpsc::channel(DATAGRAMS_MAX);
            ports.sockets.insert(at, sender);
            let queue = tokio::sync::Mutex::new(queue);
            Ok(Box::new(Mailbox { at, queue, shared: self.0.clone() }) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let address = host.parse().map_err(|_| io::Error::from(io::ErrorKind::NotFound));
        Box::pin(async move { Ok(vec![address?]) })
    }
}

/// A stream that counts what is written to it.
struct Counted {
    stream: DuplexStream,
    shared: Arc<Shared>,
}

impl Counted {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.shared.counters.stream_bytes.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct Ear {
    at: SocketAddr,
    backlog: tokio::sync::Mutex<mpsc::Receiver<Connection>>,
    shared: Arc<Shared>,
}

impl Listener for Ear {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let next = self.backlog.lock().await.recv().await;
            let (stream, from) = next.ok_or(io::ErrorKind::NotConnected)?;
            Ok((Box::new(Counted { stream, shared: self.shared.clone() }) as Box<dyn ByteStream>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.shared.ports().listeners.remove(&self.at);
    }
}

#[derive(Debug)]
struct Mailbox {
    at: SocketAddr,
    queue: tokio::sync::Mutex<mpsc::Receiver<Datagram>>,
    shared: Arc<Shared>,
}

impl Datagrams for Mailbox {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let counters = &self.shared.counters;
            counters.datagrams.fetch_add(1, Ordering::Relaxed);
            counters.datagram_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            let receiver = self.shared.ports().sockets.get(&to).cloned();
            // To an address where nobody is, a datagram goes unnoticed.
            if receiver.is_some_and(|receiver| receiver.try_send((bytes.into(), self.at)).is_err()) {
                counters.datagrams_lost.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let next = self.queue.lock().await.recv().await;
            let (bytes, from) = next.ok_or(io::ErrorKind::NotConnected)?;
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            Ok((length, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.shared.ports().sockets.remove(&self.at);
    }
}

#[cfg(test)]
mod tests;
