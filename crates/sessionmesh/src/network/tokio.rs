//! The real network: tokio's sockets.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one door to tokio's sockets and resolver; everything else goes through the Network trait"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, MulticastBind, Network};

/// Connections that wait to be accepted. Beyond it the system drops them, without a word to either side, and whoever dialled
/// tries again after a second: as many nodes as this may start at once. (tokio's own number is 128.)
const BACKLOG: u32 = 1_024;

/// The network of the operating system. Must be used inside a tokio runtime with its I/O driver enabled.
#[derive(Debug, Default, Clone, Copy)]
pub struct TokioNetwork;

impl Network for TokioNetwork {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // On Windows it would mean sharing the port with a living owner.
            #[cfg(not(windows))]
            socket.set_reuseaddr(true)?;
            socket.bind(at)?;
            Ok(Box::new(socket.listen(BACKLOG)?) as Box<dyn Listener>)
        })
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let socket = match bind {
                DatagramBind::Unicast(at) => UdpSocket::bind(at).await?,
                DatagramBind::Multicast(group) => UdpSocket::from_std(multicast(&group)?.into())?,
            };
            Ok(Box::new(socket) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host(host).await?.collect()) })
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = Self::accept(self).await?;
            // Fails only for a connection that is already gone; its reader will see that.
            let _ = stream.set_nodelay(true);
            Ok((Box::new(stream) as Box<dyn ByteStream>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

impl Datagrams for UdpSocket {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let to = match (to, Self::local_addr(self)?) {
                // A socket that is bound to `[::]` takes IPv4, too, but wants it written as IPv6.
                (SocketAddr::V4(v4), SocketAddr::V6(_)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
                _ => to,
            };
            Self::send_to(self, bytes, to).await.map(|_| ())
        })
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (length, from) = Self::recv_from(self, buffer).await?;
            Ok((length, (from.ip().to_canonical(), from.port()).into()))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// A socket in the group that shares its port with other processes of this host.
fn multicast(bind: &MulticastBind) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // Linux shares a multicast port by SO_REUSEADDR alone; SO_REUSEPORT there would exclude processes of other users.
    #[cfg(all(
        unix,
        not(any(target_os = "linux", target_os = "android", target_os = "solaris", target_os = "illumos"))
    ))]
    socket.set_reuse_port(true)?;
    // Linux filters by the bound address, which keeps unicast and other groups on this port out. Elsewhere
    // a group cannot be bound (Windows) or would not receive.
    let at = if cfg!(any(target_os = "linux", target_os = "android")) { bind.group } else { Ipv4Addr::UNSPECIFIED };
    socket.bind(&SocketAddr::from((at, bind.port)).into())?;
    socket.set_multicast_ttl_v4(bind.ttl)?;
    socket.set_multicast_loop_v4(bind.loopback)?;
    if !bind.interface.is_unspecified() {
        socket.set_multicast_if_v4(&bind.interface)?;
    }
    // Linux delivers what arrives on any interface on which any process of the host has joined, unless told otherwise.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4(&bind.group, &bind.interface)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
