//! The port for visitors: taken early, opened late.

#![allow(clippy::disallowed_types, reason = "the application's HTTP is no traffic of the mesh")]

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// So many connections wait to be accepted, as with the standard library's listeners.
const BACKLOG: u32 = 1024;

/// A port that is this node's, and refuses connections until there is somebody to serve them. So a balancer that tries
/// a node that is just starting goes on to the next one at once, instead of waiting in a queue.
#[derive(Debug)]
pub(super) struct Port {
    at: SocketAddr,
    socket: TcpSocket,
}

impl Port {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// It cannot be had; what to do.
    pub(super) fn take(at: SocketAddr) -> Result<Self, String> {
        let open = || {
            let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A port on which connections of an earlier process are just ending is free. Windows means more by it.
            #[cfg(not(windows))]
            socket.set_reuseaddr(true)?;
            socket.bind(at)?;
            Ok(socket)
        };
        open().map(|socket| Self { at, socket }).map_err(|error| refused(at, &error))
    }

    /// Lets connections in. Where, if any free port was asked for.
    ///
    /// # Errors
    ///
    /// It cannot be had; what to do.
    pub(super) fn open(self) -> Result<(TcpListener, SocketAddr), String> {
        let Self { at, socket } = self;
        let open = || {
            let listener = socket.listen(BACKLOG)?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        open().map_err(|error| refused(at, &error))
    }
}

fn refused(at: SocketAddr, error: &io::Error) -> String {
    format!("cannot listen for HTTP at {at}: {error}; choose another `http` address")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[tokio::test]
    async fn it_refuses_connections_until_it_is_opened() {
        let port = Port::take(ANY.parse().unwrap()).unwrap();
        let at = port.socket.local_addr().unwrap();
        let refusal = TcpStream::connect(at).await.unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::ConnectionRefused);
        let (_listener, bound) = port.open().unwrap();
        assert_eq!(bound, at);
        TcpStream::connect(at).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_that_is_in_use_is_refused_early() {
        let (_listener, at) = Port::take(ANY.parse().unwrap()).unwrap().open().unwrap();
        let error = Port::take(at).unwrap_err();
        assert!(error.starts_with(&format!("cannot listen for HTTP at {at}: ")), "{error}");
    }
}
