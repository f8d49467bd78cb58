//! A network that overhears gossip.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network, TokioNetwork};

/// The real network, with a copy of each datagram that comes, so that the test has gossip to change.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Network for Listening {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        TokioNetwork.connect(to)
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        TokioNetwork.listen(at)
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let real = TokioNetwork.datagrams(bind).await?;
            Ok(Box::new(Copying { real, copies: self.datagrams.clone() }) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { TokioNetwork.resolve(&host).await })
    }
}

#[derive(Debug)]
struct Copying {
    real: Box<dyn Datagrams>,
    copies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Datagrams for Copying {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        self.real.send_to(bytes, to)
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (bytes, from) = self.real.recv_from(buffer).await?;
            let mut copies = self.copies.lock().expect("no panic");
            if copies.len() < 200 {
                copies.push(buffer[..bytes].to_vec());
            }
            Ok((bytes, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real.local_addr()
    }
}
