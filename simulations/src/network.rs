//! turmoil's network behind the library's seam.
//!
//! turmoil never retransmits TCP, so its own loss must stay off. Datagrams are lost and doubled here instead.

use std::fmt;
use std::hash::Hasher as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use crate::record::Recorder;
use crate::record::wire::{Datagram, RecordedStream};

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

/// What happens to datagrams, in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct DatagramFaults {
    /// Lost.
    pub lost: u32,
    /// Delivered twice.
    pub doubled: u32,
}

/// The network of one life of one host.
///
/// A recorded one sees the life of its node: it is made at the start, and dropped when the node has died or stopped.
#[derive(Debug)]
pub struct SimNetwork {
    faults: DatagramFaults,
    seed: u64,
    trace: Trace,
    recorder: Recorder,
    node: usize,
}

impl SimNetwork {
    /// The network of a host that starts now; must be used on it.
    #[must_use]
    pub fn new(faults: DatagramFaults, seed: u64, trace: Trace) -> Self {
        Self { faults, seed, trace, recorder: Recorder::off(), node: 0 }
    }

    /// The same network; what passes over it is recorded. Must be called on its host, which is that of `node`.
    #[must_use]
    pub fn recorded(mut self, recorder: Recorder, node: usize) -> Self {
        recorder.born(node);
        (self.recorder, self.node) = (recorder, node);
        self
    }

    /// This node's address, where other nodes see it.
    fn address(&self, port: u16) -> SocketAddr {
        let ip = if self.recorder.is_on() { turmoil::lookup(format!("n{}", self.node)) } else { here(port).ip() };
        (ip, port).into()
    }
}

impl Drop for SimNetwork {
    fn drop(&mut self) {
        self.recorder.died(self.node);
    }
}

/// turmoil binds only this address; what others are told is a separate setting.
fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

impl Network for SimNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            self.trace.note(format!("connected {:?} {to}", stream.local_addr()).as_bytes());
            wrap(stream, &self.recorder, RecordedStream::dialled)
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(here(at.port())).await?;
            Ok(Box::new(Ear { listener, recorder: self.recorder.clone() }) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
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
            let (faults, trace, recorder) = (self.faults, self.trace.clone(), self.recorder.clone());
            let address = self.address(port);
            Ok(Box::new(Mouth { socket, faults, dice, trace, recorder, address }) as Box<dyn Datagrams>)
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

/// Without a recorder there is nothing between the mesh and turmoil.
fn wrap(
    stream: TcpStream,
    recorder: &Recorder,
    recorded: impl FnOnce(TcpStream, &Recorder) -> io::Result<RecordedStream>,
) -> io::Result<Box<dyn ByteStream>> {
    if recorder.is_on() { Ok(Box::new(recorded(stream, recorder)?)) } else { Ok(Box::new(stream)) }
}

struct Ear {
    listener: TcpListener,
    recorder: Recorder,
}

impl Listener for Ear {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            Ok((wrap(stream, &self.recorder, RecordedStream::accepted)?, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Mouth {
    socket: UdpSocket,
    faults: DatagramFaults,
    dice: Mutex<StdRng>,
    trace: Trace,
    recorder: Recorder,
    address: SocketAddr,
}

impl fmt::Debug for Mouth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mouth").finish_non_exhaustive()
    }
}

impl Datagrams for Mouth {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let fate = self.dice.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..1000);
            self.trace.note(bytes);
            let times = match fate {
                fate if fate < self.faults.lost => 0,
                fate if fate - self.faults.lost < self.faults.doubled => 2,
                _ => 1,
            };
            self.recorder.datagram_sent(&Datagram { from: self.address, to, bytes }, times);
            for _ in 0..times {
                self.socket.send_to(bytes, to).await?;
            }
            Ok(())
        })
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (length, from) = self.socket.recv_from(buffer).await?;
            self.recorder.datagram_received(&Datagram { from, to: self.address, bytes: &buffer[..length] });
            Ok((length, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
