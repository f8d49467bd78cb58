//! The network interface: everything that the mesh asks of a network, and its implementation by real sockets.
//!
//! All traffic of a node goes through one [`Network`]. [`TokioNetwork`] is the default; a simulation supplies its own.
//! An implementation translates calls. It never retries, times out, logs or decides: that is the caller's work.

mod tokio;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use ::tokio::io::{AsyncRead, AsyncWrite};

pub use self::tokio::TokioNetwork;

/// A boxed future, so that [`Network`] stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A reliable, ordered stream of bytes in both directions, such as a TCP connection. It implements the I/O traits of
/// tokio 1, the runtime of a [`Mesh`](crate::Mesh).
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A socket that accepts connections.
pub trait Listener: Send + Sync {
    /// Waits for the next connection and returns it with the address of the other side.
    ///
    /// Dropping the future loses no connection.
    ///
    /// # Errors
    /// The error of the system for this one attempt (for instance: out of file descriptors). The listener stays usable.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>>;

    /// The address that was bound; its port is never 0.
    ///
    /// # Errors
    /// The error of the system if it cannot tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A datagram socket: whole messages that may be lost, doubled, reordered, or come from strangers.
pub trait Datagrams: fmt::Debug + Send + Sync {
    /// Sends `bytes` as one datagram. At most 65,507 bytes fit over IPv4.
    ///
    /// # Errors
    /// The error of the system for this datagram (too long, no route, an earlier one refused). The socket stays usable.
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>>;

    /// Waits for the next datagram, writes it to the start of `buffer` and returns its length in bytes and its sender.
    ///
    /// Bytes that do not fit `buffer` are cut off. Dropping the future loses no datagram.
    ///
    /// # Errors
    /// The unchanged error of the system, even a passing one such as a refused earlier send. The socket stays usable.
    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>>;

    /// The address that was bound; its port is never 0.
    ///
    /// # Errors
    /// The error of the system if it cannot tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// What a datagram socket is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramBind {
    /// One address of this host, not shared with other processes. Port 0 lets the system choose.
    Unicast(SocketAddr),
    /// A multicast group, shared with other processes of this host.
    Multicast(MulticastBind),
}

/// A multicast group and how to take part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MulticastBind {
    /// The group's address, 224.0.0.0 to 239.255.255.255.
    pub group: Ipv4Addr,
    /// The group's UDP port.
    pub port: u16,
    /// The address of the local interface that sends and joins; [`Ipv4Addr::UNSPECIFIED`] leaves the choice to the system.
    pub interface: Ipv4Addr,
    /// How many hops a datagram lives, 0 to 255: 0 stays on this host, 1 on the local network.
    pub ttl: u32,
    /// Whether sockets of this host, including this one, hear what is sent here. Needed for several nodes on one host.
    pub loopback: bool,
}

/// Everything that the mesh asks of a network. Implementations translate; they decide nothing.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Connects to `to`. There is no time limit here: the caller sets one by dropping the future.
    ///
    /// # Errors
    /// The error of the system: refused, unreachable, reset.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>>;

    /// Listens at `at`; port 0 lets the system choose. An address whose last owner has died is free at once.
    ///
    /// # Errors
    /// The error of the system: in use, not an address of this host, not permitted.
    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;

    /// Opens a datagram socket.
    ///
    /// # Errors
    /// The error of the system: in use, not an address of this host, no such interface, multicast not supported.
    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>>;

    /// Looks up `host`, written `name:port`, and returns all its addresses in the order of the answer.
    ///
    /// # Errors
    /// The error of the resolver: no such name, no answer, no port given.
    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>>;
}
