//! A connection that a stranger has opened.

use std::io;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use sessionmesh::fuzzing::{Door, frames_of, refusal};
use sessionmesh::network::ByteStream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::stranger::Stranger;
use crate::{Outcome, Target, memory, public_secret};

/// What accepts connections: with a secret nobody gets in by saying something that was not made for this connection, who
/// does not speak TLS is told nothing, no more is read and written than a handshake takes, and memory is bounded; without a secret,
/// or beside nodes that have none, the connection says what a stranger said who does not begin TLS. The first byte says at which door, the second
/// one how many bytes come at a time.
pub const TARGET: Target = Target { name: "link_accept", check, seeds };

/// What may come before something was proved; and the bytes that are looked at first.
pub(super) const READ_MAX: usize = 4_096 + HEAD_BYTES;
const HEAD_BYTES: usize = 3;
const TLS: [u8; 2] = [0x16, 0x03];
/// What a handshake takes of memory on one side, the buffers of TLS included.
pub(super) const MEMORY_BYTES_MAX: usize = 64 << 10;
/// A listener says less than this to anybody.
const WRITTEN_MAX: usize = 2_048;

pub(super) static DOORS: LazyLock<[Door; 3]> = LazyLock::new(|| {
    let secrets = [public_secret()];
    [Door::new(&secrets, false), Door::new(&secrets, true), Door::new(&[], true)]
});

fn check(bytes: &[u8]) -> Outcome {
    let &[door, at_a_time, ref said @ ..] = bytes else { return Outcome::Refused };
    let which = usize::from(door) % DOORS.len();
    let door = &DOORS[which];
    let stranger = Stranger::new(said, at_a_time);
    let boxed: Box<dyn ByteStream> = Box::new(stranger.clone());
    let allowed = MEMORY_BYTES_MAX + said.len();
    let accepted =
        memory::within(allowed, || door.accept(boxed)).expect("it never waits for a stranger who has closed");
    let begins_tls = said.starts_with(&TLS);
    let is_plain = which != 0 && said.len() >= HEAD_BYTES && !begins_tls;
    match accepted {
        Ok(stream) => {
            assert!(is_plain, "a stranger got in");
            assert_eq!(all_of(stream), said, "the connection says what the stranger said");
            Outcome::Read
        }
        Err(error) => {
            assert!(!is_plain, "{error}");
            assert!(stranger.read() <= READ_MAX && stranger.written() <= WRITTEN_MAX);
            if said.len() >= HEAD_BYTES && !begins_tls {
                assert!(refusal(&error).is_some() && stranger.written() == 0, "who speaks no TLS is told nothing");
            }
            // An alert is shorter: so much is said to who sent a hello with a key that fits.
            Outcome::of(stranger.written() > 64)
        }
    }
}

/// All that a connection says until it is closed.
fn all_of(mut stream: Box<dyn ByteStream>) -> Vec<u8> {
    let mut all = Vec::new();
    let read = pin!(stream.read_to_end(&mut all));
    assert!(matches!(read.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
    all
}

fn seeds() -> Vec<Vec<u8>> {
    let (dialler, _) = handshake();
    let hello = frames_of(&super::message::seeds()[7]);
    let with = |head: [u8; 2], said: &[u8]| [&head[..], said].concat();
    vec![
        with([0, 0], &dialler),
        with([1, 50], &dialler),
        with([1, 1], &hello),
        with([2, 0], &hello),
        with([0, 0], b"GET / HTTP/1.1\r\n\r\n"),
    ]
}

/// What the two sides of a handshake say: the dialler, and the listener.
pub(super) fn handshake() -> (Vec<u8>, Vec<u8>) {
    let (dialled, accepted) = tokio::io::duplex(64 << 10);
    let (by_dialler, by_listener) = (Recorded::new(accepted), Recorded::new(dialled));
    let (from_dialler, from_listener) = (by_dialler.heard.clone(), by_listener.heard.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let [door, ..] = &*DOORS;
    runtime.block_on(door.meet(Box::new(by_listener), door, Box::new(by_dialler))).expect("they have one secret");
    let taken = |heard: &std::sync::Mutex<Vec<u8>>| heard.lock().expect("nobody panicked").clone();
    (taken(&from_dialler), taken(&from_listener))
}

/// Records what is read.
struct Recorded {
    stream: tokio::io::DuplexStream,
    heard: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Recorded {
    fn new(stream: tokio::io::DuplexStream) -> Self {
        Self { stream, heard: std::sync::Arc::default() }
    }
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard.lock().expect("nobody panicked").extend_from_slice(&buffer.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
