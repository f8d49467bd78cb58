//! Where encryption of links plugs in.

use std::fmt;
use std::io;

use crate::network::{BoxFuture, ByteStream};

/// Which end of a connection this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRole {
    /// It opened the connection.
    Dialler,
    /// It accepted the connection.
    Listener,
}

/// Wraps each connection before any byte of the protocol is sent or decoded.
pub trait ConnectionSeal: fmt::Debug + Send + Sync + 'static {
    /// Does its own handshake on `stream` and returns a stream that carries the protocol.
    ///
    /// # Errors
    ///
    /// The other side could not prove that it belongs to the cluster, or the connection broke. It is then closed.
    fn wrap(&self, stream: Box<dyn ByteStream>, role: ConnectionRole)
    -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>>;
}

/// No wrapping: for loopback and networks in which every machine is trusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainConnections;

impl ConnectionSeal for PlainConnections {
    fn wrap(
        &self,
        stream: Box<dyn ByteStream>,
        _role: ConnectionRole,
    ) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move { Ok(stream) })
    }
}
