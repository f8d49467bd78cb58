//! A network in the memory of the process: connections are pipes, datagrams are queues, and both wake their reader at once, on
//! whichever thread it runs.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// The port of every node.
const PORT: u16 = 7400;
/// Where others see a connection from.
const DIALLED_FROM: u16 = 40_000;
/// Bytes that a connection holds before its writer waits: so few that writers do wait.
const PIPE_BYTES: usize = 16 * 1024;
/// Datagrams that wait for their reader. Beyond that they are lost, as in a system.
const DATAGRAMS_MAX: usize = 512;

type Dialled = (DuplexStream, SocketAddr);
type Datagram = (Vec<u8>, SocketAddr);

/// What the nodes of one cluster are connected by. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    listeners: BTreeMap<SocketAddr, mpsc::UnboundedSender<Dialled>>,
    sockets: BTreeMap<SocketAddr, mpsc::Sender<Datagram>>,
    /// By group: who listens there.
    groups: BTreeMap<SocketAddr, Vec<mpsc::Sender<Datagram>>>,
}

impl Wire {
    /// The network as a life of this node sees it.
    pub(super) fn of(&self, node: usize) -> WireNetwork {
        WireNetwork { wire: self.clone(), me: addr(node).ip() }
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a node is reached.
pub(super) fn addr(node: usize) -> SocketAddr {
    let number = u8::try_from(node + 1).expect("there are a few nodes");
    (Ipv4Addr::new(10, 0, 0, number), PORT).into()
}

/// The network of one node.
#[derive(Debug)]
pub(super) struct WireNetwork {
    wire: Wire,
    me: IpAddr,
}

impl Network for WireNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let (mine, theirs) = duplex(PIPE_BYTES);
            let listener = self.wire.ends().listeners.get(&to).cloned();
            let accepted = listener.map(|listener| listener.send((theirs, (self.me, DIALLED_FROM).into())));
            match accepted {
                Some(Ok(())) => Ok(Box::new(mine) as Box<dyn ByteStream>),
                _ => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (listener, dialled) = mpsc::unbounded_channel();
            let mut ends = self.wire.ends();
            if ends.listeners.get(&at).is_some_and(|before| !before.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            ends.listeners.insert(at, listener);
            Ok(Box::new(WireListener { at, dialled: AsyncMutex::new(dialled) }) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let (socket, waiting) = mpsc::channel(DATAGRAMS_MAX);
            let mut ends = self.wire.ends();
            let at = match bind {
                DatagramBind::Unicast(at) => {
                    if ends.sockets.get(&at).is_some_and(|before| !before.is_closed()) {
                        return Err(io::ErrorKind::AddrInUse.into());
                    }
                    ends.sockets.insert(at, socket);
                    at
                }
                DatagramBind::Multicast(group) => {
                    ends.groups.entry((group.group, group.port).into()).or_default().push(socket);
                    (self.me, group.port).into()
                }
            };
            Ok(Box::new(WireDatagrams { at, wire: self.wire.clone(), waiting: AsyncMutex::new(waiting) })
                as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let named =
            host.strip_prefix('n').and_then(|name| name.split_once(':')).and_then(|(node, _)| node.parse().ok());
        let found = named.map(|node| vec![addr(node)]).or_else(|| host.parse().ok().map(|addr| vec![addr]));
        Box::pin(async move { found.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

struct WireListener {
    at: SocketAddr,
    dialled: AsyncMutex<mpsc::UnboundedReceiver<Dialled>>,
}

impl Listener for WireListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            match self.dialled.lock().await.recv().await {
                Some((stream, from)) => Ok((Box::new(stream) as Box<dyn ByteStream>, from)),
                // Another life of this node listens here.
                None => std::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

#[derive(Debug)]
struct WireDatagrams {
    at: SocketAddr,
    wire: Wire,
    waiting: AsyncMutex<mpsc::Receiver<Datagram>>,
}

impl Datagrams for WireDatagrams {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut ends = self.wire.ends();
            // Who is not there, or has no room, gets nothing.
            if let Some(group) = ends.groups.get_mut(&to) {
                group.retain(|member| !member.is_closed());
                for member in group {
                    let _ = member.try_send((bytes.to_vec(), self.at));
                }
            } else if let Some(socket) = ends.sockets.get(&to) {
                let _ = socket.try_send((bytes.to_vec(), self.at));
            }
            Ok(())
        })
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let Some((bytes, from)) = self.waiting.lock().await.recv().await else {
                return std::future::pending().await;
            };
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            Ok((length, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}
