//! turmoil's network behind the library's seam.
//!
//! turmoil never retransmits TCP, so its own loss must stay off. What becomes of datagrams is decided here instead.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
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
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use crate::air::Air;

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

/// The network of one life of one host.
#[derive(Debug)]
pub struct SimNetwork {
    me: IpAddr,
    air: Air,
    /// Shut while the host is frozen: gossip runs in a task that is not the library's.
    gate: Gate,
    /// For the fate of datagrams.
    seed: u64,
    trace: Trace,
    morgue: Arc<Morgue>,
}

impl SimNetwork {
    /// For the host at `me`.
    #[must_use]
    pub fn new(me: IpAddr, air: Air, gate: Gate, seed: u64, trace: Trace) -> Self {
        Self { me, air, gate, seed, trace, morgue: Arc::default() }
    }

    fn stream(&self, inner: TcpStream, peer: IpAddr) -> Box<dyn ByteStream> {
        Box::new(Stream::new(inner, self.me, peer, &self.air, &self.morgue))
    }
}

/// Keeps the connections of a dying host until the last task has ended, and then closes them in the order in which they
/// were made. tokio ends tasks in an order that depends on their ids, which count all tasks of the process: what peers
/// get to see would depend on what was played before.
#[derive(Debug, Default)]
struct Morgue(Mutex<(u64, BTreeMap<u64, TcpStream>)>);

impl Morgue {
    fn next_number(&self) -> u64 {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        inner.0
    }

    fn keep(&self, number: u64, stream: TcpStream) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.insert(number, stream);
    }
}

/// turmoil binds only this address; what others are told is a separate setting.
fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

impl Network for SimNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            poll_fn(|cx| match self.air.holds_streams(self.me, to.ip(), cx.waker()) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            })
            .await;
            let stream = TcpStream::connect(to).await?;
            self.trace.note(format!("connected {:?} {to}", stream.local_addr()).as_bytes());
            Ok(self.stream(stream, to.ip()))
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(here(at.port())).await?;
            Ok(Box::new(Ear { listener, me: self.me, air: self.air.clone(), morgue: self.morgue.clone() })
                as Box<dyn Listener>)
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
            let dice = Mutex::new(StdRng::seed_from_u64(self.seed ^ u64::from(port)));
            let socket = Arc::new(socket);
            let (air, gate, trace) = (self.air.clone(), self.gate.clone(), self.trace.clone());
            Ok(Box::new(Mouth { socket, beacons, air, gate, dice, trace }) as Box<dyn Datagrams>)
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

/// A connection that stands still while the air holds it: what arrives waits.
struct Stream {
    /// Taken only by the drop.
    inner: Option<TcpStream>,
    number: u64,
    me: IpAddr,
    peer: IpAddr,
    air: Air,
    morgue: Arc<Morgue>,
}

impl Stream {
    fn new(inner: TcpStream, me: IpAddr, peer: IpAddr, air: &Air, morgue: &Arc<Morgue>) -> Self {
        let (air, morgue) = (air.clone(), morgue.clone());
        Self { inner: Some(inner), number: morgue.next_number(), me, peer, air, morgue }
    }

    fn inner(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.inner.as_mut().expect("it is there until the drop"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take_if(|_| self.air.is_dying()) {
            self.morgue.keep(self.number, inner);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.air.holds_streams(self.me, self.peer, cx.waker()) {
            return Poll::Pending;
        }
        self.inner().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

struct Ear {
    listener: TcpListener,
    me: IpAddr,
    air: Air,
    morgue: Arc<Morgue>,
}

impl Listener for Ear {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (inner, from) = self.listener.accept().await?;
            let stream = Stream::new(inner, self.me, from.ip(), &self.air, &self.morgue);
            Ok((Box::new(stream) as Box<dyn ByteStream>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Mouth {
    socket: Arc<UdpSocket>,
    beacons: bool,
    air: Air,
    gate: Gate,
    dice: Mutex<StdRng>,
    trace: Trace,
}

impl fmt::Debug for Mouth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mouth").finish_non_exhaustive()
    }
}

/// The longest that a datagram is held back.
const DELAY_MS_MAX: u64 = 800;

impl Datagrams for Mouth {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.gate.pass().await;
            let fate = self.air.fate(self.beacons);
            let (dice, delay_ms) = {
                let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
                (dice.random_range(0..1000), dice.random_range(1..DELAY_MS_MAX))
            };
            self.trace.note(bytes);
            if dice < fate.lost {
                return Ok(());
            }
            if dice - fate.lost < fate.doubled {
                self.socket.send_to(bytes, to).await?;
            } else if dice - fate.lost - fate.doubled < fate.delayed {
                let (socket, bytes) = (self.socket.clone(), bytes.to_vec());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(delay_ms)).await;
                    let _ = socket.send_to(&bytes, to).await;
                });
                return Ok(());
            }
            self.socket.send_to(bytes, to).await.map(drop)
        })
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let received = self.socket.recv_from(buffer).await?;
            self.gate.pass().await;
            Ok(received)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
