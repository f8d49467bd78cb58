//! A connection whose other side has proved nothing yet: it gets little memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::network::ByteStream;

/// So many bytes tell TLS from what this protocol says in clear: a TLS handshake begins with these, and as the length of a
/// frame they would be far more than a first message may have.
const HEAD_BYTES: usize = 3;
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

/// Reads at most so many bytes until [`Opening::is_proven`] is called. What was looked at ahead is read again.
#[derive(Debug)]
pub(super) struct Opening<S> {
    stream: S,
    /// What was looked at and not yet read.
    head: Vec<u8>,
    /// How many bytes may still be read; none: all.
    left: Option<usize>,
}

impl Opening<Box<dyn ByteStream>> {
    /// Of a connection that may send so many bytes before it has proved anything.
    pub(super) const fn new(stream: Box<dyn ByteStream>, bytes: usize) -> Self {
        Self { stream, head: Vec::new(), left: Some(bytes) }
    }

    /// Whether the other side begins a TLS handshake.
    pub(super) async fn is_tls(&mut self) -> io::Result<bool> {
        let mut head = [0; HEAD_BYTES];
        self.stream.read_exact(&mut head).await?;
        self.head = head.to_vec();
        Ok(head.starts_with(&TLS_HANDSHAKE))
    }

    /// Who the other side is was proved: it may send as much as it likes.
    pub(super) const fn is_proven(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.head.is_empty() {
            let bytes = this.head.len().min(buffer.remaining());
            buffer.put_slice(&this.head[..bytes]);
            this.head.drain(..bytes);
            return Poll::Ready(Ok(()));
        }
        let Some(left) = this.left else {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        };
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, super::Refusal::TooLong)));
        }
        let room = buffer.remaining().min(left);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        let polled = Pin::new(&mut this.stream).poll_read(context, &mut part);
        let bytes = part.filled().len();
        buffer.advance(bytes);
        this.left = Some(left - bytes);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
