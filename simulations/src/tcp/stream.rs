//! One end of a connection, as tokio's traits have it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::MutexGuard;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection::{Connection, Read, Side, Written};
use super::{Shared, Tcp, now};

/// One end of a connection.
#[derive(Debug)]
pub struct Stream {
    pub(super) connection: Shared,
    pub(super) number: u64,
    pub(super) side: Side,
    pub(super) tcp: Tcp,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(connection: Shared, number: u64, side: Side, tcp: &Tcp) -> Self {
        Self { connection, number, side, tcp: tcp.clone(), read_timer: None, write_timer: None }
    }

    /// The number of its connection: they are counted over the whole run.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The address of this end, and of the other one.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let connection = self.connection();
        (connection.address(self.side), connection.address(self.side.other()))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        super::lock(&self.connection)
    }

    /// Whether nothing passes now and later goes on: the task is woken then.
    fn wait_while_held(&self, cx: &Context<'_>) {
        let (here, there) = self.addresses();
        self.tcp.links().holds_streams(here.ip(), there.ip(), cx.waker());
    }
}

/// Has the task woken at `at`. Whether that is now.
fn set(timer: &mut Option<Pin<Box<Sleep>>>, at: Option<Duration>, cx: &mut Context<'_>) -> bool {
    *timer = at.map(|at| Box::pin(sleep(at.saturating_sub(now()))));
    timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let most = self.tcp.piece(buffer.remaining());
            let (side, links) = (self.side, self.tcp.links().clone());
            let read = {
                let mut connection = self.connection();
                let read = connection.read(side, most, now(), &links, |bytes| buffer.put_slice(bytes));
                if matches!(read, Read::Wait(_)) {
                    connection.wake_reader_by(side, cx.waker());
                }
                read
            };
            match read {
                Read::Bytes(_) => return Poll::Ready(Ok(())),
                Read::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Read::Wait(at) => {
                    self.wait_while_held(cx);
                    if !set(&mut self.read_timer, at, cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let bytes = &bytes[..self.tcp.piece(bytes.len())];
            let (side, links) = (self.side, self.tcp.links().clone());
            let written = {
                let mut connection = self.connection();
                let written = connection.write(side, bytes, now(), &links);
                if matches!(written, Written::Wait(_)) {
                    connection.wake_writer_by(side, cx.waker());
                }
                written
            };
            match written {
                Written::Bytes(length) => return Poll::Ready(Ok(length)),
                Written::Closed => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Written::Wait(at) => {
                    if !set(&mut self.write_timer, at, cx) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection().finish(self.side, now(), self.tcp.links());
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.tcp.clone().close(self);
    }
}
