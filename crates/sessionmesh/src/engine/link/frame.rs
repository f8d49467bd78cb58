//! Messages on a byte stream.
//!
//! A frame is a length (u32, little-endian, of what follows), a flag byte and up to [`FRAME_BYTES_MAX`] bytes. A
//! message that is larger goes in several frames, of which all but the last carry [`MORE`].

use std::io;
use std::time::Duration;

use sessionmesh_core::wire::codec::MESSAGE_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::room::Room;
use crate::engine::state::inbox::FREE_BYTES;

/// The largest frame, in bytes of payload.
pub(crate) const FRAME_BYTES_MAX: usize = 256 << 10;
const HEADER_BYTES: usize = 5;
const MORE: u8 = 1;

/// Appends `message` to `buffer` in as many frames as it takes.
pub(crate) fn append(buffer: &mut Vec<u8>, message: &[u8]) {
    let mut rest = message;
    loop {
        let (part, after) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
        rest = after;
        let bytes = u32::try_from(part.len() + 1).expect("a frame is far below 4 GiB");
        buffer.extend_from_slice(&bytes.to_le_bytes());
        buffer.push(if rest.is_empty() { 0 } else { MORE });
        buffer.extend_from_slice(part);
        if rest.is_empty() {
            return;
        }
    }
}

/// What `doing` comes to; an error if it takes longer than this.
pub(crate) async fn within<T>(longest: Duration, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(longest, doing).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Writes `message` and flushes it.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(message.len() + HEADER_BYTES);
    append(&mut buffer, message);
    stream.write_all(&buffer).await?;
    stream.flush().await
}

/// Reads messages. Its memory is bounded by the largest message and one frame, and that of all readers by their [`Room`].
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the unread bytes start.
    start: usize,
    message: Vec<u8>,
    limit: usize,
    room: Option<Room>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads messages of up to `limit` bytes, which are few.
    pub(crate) const fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, message: Vec::new(), limit, room: None }
    }

    /// Reads messages of all sizes, for which there is `room`.
    pub(crate) fn within(stream: R, room: Room) -> Self {
        Self { room: Some(room), ..Self::new(stream, MESSAGE_BYTES_MAX) }
    }

    /// The next message; `None` when the other side has closed the stream between two messages. Cancel safe: what was
    /// read stays in the reader.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(room) = &mut self.room
            && self.message.is_empty()
            && self.buffer.len() - self.start <= FREE_BYTES
        {
            room.give_back();
        }
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(Some(message));
            }
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let bytes = self.make_room().await?;
            if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
                self.buffer = Vec::new();
            }
            self.buffer.reserve(bytes);
            if (&mut self.stream).take(bytes as u64).read_buf(&mut self.buffer).await? == 0 {
                let clean = self.buffer.is_empty() && self.message.is_empty();
                return if clean { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Waits until there is room for the frame that has begun, and says how much may be read now.
    async fn make_room(&mut self) -> io::Result<usize> {
        let frame =
            self.buffer.first_chunk::<4>().map_or(0, |header| HEADER_BYTES + u32::from_le_bytes(*header) as usize);
        if frame <= FREE_BYTES && self.message.is_empty() {
            return Ok(FREE_BYTES);
        }
        if let Some(room) = &mut self.room {
            room.for_frame().await?;
            if !self.message.is_empty() {
                room.for_message().await?;
            }
        }
        Ok(frame.saturating_sub(self.buffer.len()).max(FREE_BYTES))
    }

    /// The next message, if all of it has been read already.
    pub(crate) fn buffered(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let unread = &self.buffer[self.start..];
            let Some((header, body)) = unread.split_first_chunk::<4>() else {
                return Ok(None);
            };
            let bytes = u32::from_le_bytes(*header) as usize;
            if bytes == 0 || bytes > FRAME_BYTES_MAX + 1 {
                return Err(malformed(format!("a frame of {bytes} bytes; allowed are 1 to {}", FRAME_BYTES_MAX + 1)));
            }
            if self.message.len() + bytes - 1 > self.limit {
                return Err(malformed(format!("a message of more than {} bytes", self.limit)));
            }
            let Some((frame, _)) = body.split_at_checked(bytes) else {
                return Ok(None);
            };
            let flags = frame[0];
            if flags > MORE {
                return Err(malformed(format!("unknown frame flags {flags}")));
            }
            self.message.extend_from_slice(&frame[1..]);
            self.start += 4 + bytes;
            if flags & MORE == 0 {
                return Ok(Some(std::mem::take(&mut self.message)));
            }
        }
    }
}

/// An empty buffer that has grown beyond this is given back.
const KEPT_BYTES: usize = 64 << 10;

fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read_all(bytes: &[u8], limit: usize) -> (Vec<Vec<u8>>, io::Result<()>) {
        let mut reader = FrameReader::new(bytes, limit);
        let mut messages = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(error) => return (messages, Err(error)),
            }
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn a_message_larger_than_a_frame_is_split_and_put_together_again() {
        let large: Vec<u8> = (0..FRAME_BYTES_MAX * 2 + 17).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut bytes = Vec::new();
        append(&mut bytes, b"small");
        append(&mut bytes, &large);
        append(&mut bytes, b"");
        let (messages, end) = block_on(read_all(&bytes, MESSAGE_BYTES_MAX));
        end.unwrap();
        assert_eq!(messages, [b"small".to_vec(), large, Vec::new()]);
    }

    #[test]
    fn a_frame_or_message_over_its_limit_is_refused_before_memory_is_taken() {
        let (_, end) = block_on(read_all(&[255, 255, 255, 255, 0, 1, 2], MESSAGE_BYTES_MAX));
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut bytes = Vec::new();
        append(&mut bytes, &[0; 1001]);
        let (_, end) = block_on(read_all(&bytes, 1000));
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_stream_that_ends_within_a_message_is_an_error() {
        let mut bytes = Vec::new();
        append(&mut bytes, b"whole");
        bytes.pop();
        let (messages, end) = block_on(read_all(&bytes, 1000));
        assert!(messages.is_empty());
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_messages_or_an_error(bytes: Vec<u8>) {
            let (messages, _) = block_on(read_all(&bytes, 1000));
            prop_assert!(messages.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        }
    }
}
