//! The simulated network behind the library's seam: connections of [`tcp`](crate::tcp), datagrams of turmoil, whose fate is decided
//! here.

use std::fmt;
use std::hash::Hasher as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::Gate;
use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;
use turmoil::net::UdpSocket;

use crate::impairments::Impairments;
use crate::record::Recorder;
use crate::record::wire::{Datagram, RecordedStream, Side};
use crate::tcp::{self, Listening, Tcp};

/// A hash over everything that happened: two runs of one seed must have the same.
#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<Mutex<(std::hash::DefaultHasher, u64)>>);

impl Trace {
    /// Something happened.
    pub fn note(&self, what: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.write(what);
        inner.1 += 1;
    }

    /// The hash of all that happened so far, and how much that was.
    #[must_use]
    pub fn sum(&self) -> (u64, u64) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.0.finish(), inner.1)
    }
}

/// What the network of one life of one host needs.
#[derive(Debug)]
pub struct Host {
    /// Its number.
    pub node: usize,
    /// Where others see it.
    pub me: IpAddr,
    /// What becomes of messages.
    pub impairments: Impairments,
    /// All connections.
    pub tcp: Tcp,
    /// Shut while the host is frozen: gossip runs in a task that is not the library's.
    pub gate: Gate,
    /// For the fate of datagrams.
    pub seed: u64,
    /// Where all is noted.
    pub trace: Trace,
    /// What is told to those who want to look at the run.
    pub recorder: Recorder,
}

/// The network of one life of one host: it is made at the start, and dropped when the node has died or stopped.
#[derive(Debug)]
pub struct SimNetwork {
    host: Arc<Host>,
}

impl SimNetwork {
    /// For this host; must be made on it.
    #[must_use]
    pub fn new(host: Host) -> Self {
        host.recorder.born(host.node);
        Self { host: Arc::new(host) }
    }
}

impl Drop for SimNetwork {
    fn drop(&mut self) {
        self.host.recorder.died(self.host.node);
    }
}

/// turmoil binds only this address; what others are told is a separate setting.
fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

impl Network for SimNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let host = &self.host;
            host.trace.note(to.to_string().as_bytes());
            Ok(Stream::boxed(host.tcp.dial(host.me, to).await?, host, Side::Dialled))
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listening = self.host.tcp.listen((self.host.me, at.port()).into())?;
            Ok(Box::new(SimListener { listening, host: self.host.clone() }) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let beacons = matches!(bind, DatagramBind::Multicast(_));
            let socket = match bind {
                DatagramBind::Unicast(at) => UdpSocket::bind(here(at.port())).await?,
                DatagramBind::Multicast(group) => {
                    let socket = UdpSocket::bind(here(group.port)).await?;
                    socket.join_multicast_v4(group.group, Ipv4Addr::UNSPECIFIED)?;
                    socket.set_multicast_loop_v4(group.loopback)?;
                    socket
                }
            };
            let port = socket.local_addr()?.port();
            let dice = Mutex::new(StdRng::seed_from_u64(self.host.seed ^ u64::from(port)));
            let (socket, host) = (Arc::new(socket), self.host.clone());
            let address = (host.me, port).into();
            Ok(Box::new(SimDatagrams { socket, beacons, address, dice, host }) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let (name, port) = host.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
            let port: u16 = port.parse().map_err(io::Error::other)?;
            Ok(vec![(turmoil::lookup(name), port).into()])
        })
    }
}

/// A connection whose writes are noted.
struct Stream {
    inner: tcp::Stream,
    host: Arc<Host>,
}

impl Stream {
    fn boxed(inner: tcp::Stream, host: &Arc<Host>, side: Side) -> Box<dyn ByteStream> {
        let addresses = inner.addresses();
        let stream = Self { inner, host: host.clone() };
        if !host.recorder.is_on() {
            return Box::new(stream);
        }
        Box::new(RecordedStream::new(Box::new(stream), &host.recorder, side, addresses))
    }

    fn inner(&mut self) -> Pin<&mut tcp::Stream> {
        Pin::new(&mut self.inner)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    /// How much is noted, not what: see [`note`].
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.inner().poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = &written {
            self.host.trace.note(format!("{} wrote {length}", self.inner.number()).as_bytes());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

struct SimListener {
    listening: Listening,
    host: Arc<Host>,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let inner = self.listening.accept().await;
            let (_, from) = inner.addresses();
            Ok((Stream::boxed(inner, &self.host, Side::Listened), from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.listening.address())
    }
}

struct SimDatagrams {
    socket: Arc<UdpSocket>,
    beacons: bool,
    /// Where others see it.
    address: SocketAddr,
    dice: Mutex<StdRng>,
    host: Arc<Host>,
}

impl fmt::Debug for SimDatagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDatagrams").finish_non_exhaustive()
    }
}

/// Notes a datagram. The bytes of one that is sealed differ from run to run, since the library of ciphers asks the system past
/// the seed; how many there are does not.
fn note(trace: &Trace, bytes: &[u8]) {
    if bytes.starts_with(b"SMs1") {
        trace.note(format!("sealed {}", bytes.len()).as_bytes());
    } else {
        trace.note(bytes);
    }
}

/// The longest that a datagram is held back.
const DELAY_MS_MAX: u64 = 800;

impl Datagrams for SimDatagrams {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let host = &self.host;
            host.gate.pass().await;
            let fate = host.impairments.fate(self.beacons, bytes.len());
            let (dice, delay_ms) = {
                let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
                (dice.random_range(0..1000), dice.random_range(1..DELAY_MS_MAX))
            };
            note(&host.trace, bytes);
            let (doubled, delayed) = (fate.lost + fate.doubled, fate.lost + fate.doubled + fate.delayed);
            let (times, delay_ms) = match dice {
                dice if dice < fate.lost => (0, 0),
                dice if dice < doubled => (2, 0),
                dice if dice < delayed => (1, delay_ms),
                _ => (1, 0),
            };
            host.recorder.datagram_sent(&Datagram { from: self.address, to, bytes }, times);
            if delay_ms > 0 {
                // What is under way keeps no port open. It is lost if its sender is gone when it should arrive.
                let (socket, bytes) = (Arc::downgrade(&self.socket), bytes.to_vec());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(delay_ms)).await;
                    if let Some(socket) = socket.upgrade() {
                        let _ = socket.send_to(&bytes, to).await;
                    }
                });
                return Ok(());
            }
            for _ in 0..times {
                self.socket.send_to(bytes, to).await?;
            }
            Ok(())
        })
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (length, from) = self.socket.recv_from(buffer).await?;
            self.host.gate.pass().await;
            self.host.recorder.datagram_received(&Datagram { from, to: self.address, bytes: &buffer[..length] });
            Ok((length, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
