//! Real sockets on which not everything passes: names that are not answered, addresses that are silent, datagrams that
//! are dropped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network, TokioNetwork};
use tokio::time::sleep;

/// What becomes of a look-up.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These addresses, after a while.
    After(Duration, Vec<SocketAddr>),
    /// None, for ever.
    Never,
}

type Resolver = dyn Fn(&str) -> Answer + Send + Sync;
type Datagram = dyn Fn(usize, SocketAddr) -> bool + Send + Sync;
type Connection = dyn Fn(SocketAddr) -> bool + Send + Sync;

/// The network of one node, with what is wrong with it. Clones share it.
#[derive(Clone)]
pub struct PoorNetwork {
    resolver: Arc<Resolver>,
    datagram: Arc<Datagram>,
    connection: Arc<Connection>,
}

impl fmt::Debug for PoorNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoorNetwork").finish_non_exhaustive()
    }
}

impl Default for PoorNetwork {
    /// Nothing is wrong, but names are never answered.
    fn default() -> Self {
        Self { resolver: Arc::new(|_| Answer::Never), datagram: Arc::new(|_, _| true), connection: Arc::new(|_| true) }
    }
}

impl PoorNetwork {
    /// Names, with their ports, are answered like this.
    #[must_use]
    pub fn resolving(mut self, resolver: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Only datagrams of so many bytes to such an address leave this node.
    #[must_use]
    pub fn sending(mut self, passes: impl Fn(usize, SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.datagram = Arc::new(passes);
        self
    }

    /// Only such addresses answer when they are dialled.
    #[must_use]
    pub fn reaching(mut self, answers: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.connection = Arc::new(answers);
        self
    }
}

impl Network for PoorNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            if !(self.connection)(to) {
                std::future::pending::<()>().await;
            }
            TokioNetwork.connect(to).await
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        TokioNetwork.listen(at)
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let socket = TokioNetwork.datagrams(bind).await?;
            Ok(Box::new(Sieve { socket, passes: self.datagram.clone() }) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let answer = (self.resolver)(host);
        Box::pin(async move {
            match answer {
                Answer::After(time, addrs) => {
                    sleep(time).await;
                    Ok(addrs)
                }
                Answer::Never => std::future::pending().await,
            }
        })
    }
}

struct Sieve {
    socket: Box<dyn Datagrams>,
    passes: Arc<Datagram>,
}

impl fmt::Debug for Sieve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl Datagrams for Sieve {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        if (self.passes)(bytes.len(), to) { self.socket.send_to(bytes, to) } else { Box::pin(async { Ok(()) }) }
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        self.socket.recv_from(buffer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
