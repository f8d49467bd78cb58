//! Connections of visitors: so many that file descriptors are left for links to other nodes, which come first.

#![allow(clippy::disallowed_types, reason = "the application's HTTP is no traffic of the mesh")]

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// Half of all file descriptors, but at least and at most so many, are not for visitors: two for each other node, those
/// that the library keeps aside, sockets and files of the process.
const KEPT: (u64, u64) = (48, 1024);
/// Visitors that are always let in, however few descriptors there are, and the most.
const VISITORS: (u64, u64) = (8, 1 << 20);
/// A connection on which nothing happens for so long is closed. Longer than balancers keep theirs (nginx: 60 s), so that
/// they close first.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// While others wait, a connection may be closed as soon as it is idle for so long.
const IDLE_MIN: Duration = Duration::from_millis(250);
/// How often another idle connection is closed while somebody waits, and the pause after a connection that failed.
const PAUSE: Duration = Duration::from_millis(20);

/// How many visitors may be connected at once, if the process may open so many files; none: as many as it likes.
pub(super) fn visitors_max(open_files: Option<u64>) -> usize {
    let files = open_files.unwrap_or(u64::MAX);
    let visitors = files.saturating_sub((files / 2).clamp(KEPT.0, KEPT.1)).clamp(VISITORS.0, VISITORS.1);
    usize::try_from(visitors).expect("at most a million")
}

/// Lets visitors in.
#[derive(Debug)]
pub(super) struct Visitors {
    listener: TcpListener,
    room: Arc<Semaphore>,
    /// Wakes the connection that is idle for longest, to be closed.
    crowd: Arc<Notify>,
}

impl Visitors {
    /// At most `max` at once.
    pub(super) fn new(listener: TcpListener, max: usize) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(max)), crowd: Arc::default() }
    }

    async fn has_room(&self) -> OwnedSemaphorePermit {
        loop {
            let room = timeout(PAUSE, self.room.clone().acquire_owned()).await;
            match room {
                Ok(room) => return room.expect("it is never closed"),
                Err(_) => self.crowd.notify_one(),
            }
        }
    }
}

impl axum::serve::Listener for Visitors {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        loop {
            // Accepted first, so that nobody idle is closed while nobody waits.
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    // Fails only for a connection that is already gone.
                    let _ = stream.set_nodelay(true);
                    let room = self.has_room().await;
                    let crowd = self.crowd.clone();
                    return (Visitor { stream, crowd, asked: false, idle: None, _room: room }, from);
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection of a visitor could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection. It reads as ended when it has been idle for too long.
pub(super) struct Visitor {
    stream: TcpStream,
    crowd: Arc<Notify>,
    /// Something was read, and nothing answered yet.
    asked: bool,
    idle: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _room: OwnedSemaphorePermit,
}

/// Waits until the connection is to be closed. One that `asked` for something is not closed for others.
async fn idle(crowd: Arc<Notify>, asked: bool) {
    let start = Instant::now();
    let others = async {
        if asked {
            return pending().await;
        }
        loop {
            crowd.notified().await;
            if start.elapsed() >= IDLE_MIN {
                return;
            }
        }
    };
    let _ = timeout(IDLE_MAX, others).await;
}

impl AsyncRead for Visitor {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut me.stream).poll_read(cx, buffer);
        if read.is_ready() {
            me.asked |= buffer.filled().len() > before;
            me.idle = None;
            return read;
        }
        let (crowd, asked) = (&me.crowd, me.asked);
        me.idle.get_or_insert_with(|| Box::pin(idle(crowd.clone(), asked))).as_mut().poll(cx).map(Ok)
    }
}

impl Visitor {
    /// What is answered is not idle, and whoever has an answer may be silent for a while.
    fn writing(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        let me = self.get_mut();
        me.asked = false;
        me.idle = None;
        Pin::new(&mut me.stream)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn visitors(max: usize) -> (Visitors, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        (Visitors::new(listener, max), at)
    }

    #[test]
    fn visitors_get_what_links_do_not_need() {
        assert_eq!(visitors_max(Some(1024)), 512);
        assert_eq!(visitors_max(Some(64)), 16);
        assert_eq!(visitors_max(Some(20)), 8);
        assert_eq!(visitors_max(Some(1 << 20)), (1 << 20) - 1024);
        assert_eq!(visitors_max(None), 1 << 20);
    }

    #[tokio::test]
    async fn who_is_idle_for_longest_makes_room_for_who_waits_and_who_asked_does_not() {
        let (mut visitors, at) = visitors(2).await;
        let mut asking = TcpStream::connect(at).await.unwrap();
        let (mut asked, _) = visitors.accept().await;
        asking.write_all(b"GET").await.unwrap();
        asked.read_exact(&mut [0; 3]).await.unwrap();
        let _silent = TcpStream::connect(at).await.unwrap();
        let (mut idle, _) = visitors.accept().await;
        let _waiting = TcpStream::connect(at).await.unwrap();
        let serving = async {
            let mut asked_buffer = [0; 1];
            tokio::select! {
                ended = idle.read_u8() => assert!(ended.is_err(), "it reads as ended"),
                _ = asked.read(&mut asked_buffer) => panic!("who waits for an answer is not sent away"),
            }
            drop(idle);
            // The other one is read on, as a server does.
            let _ = timeout(IDLE_MIN * 2, asked.read(&mut asked_buffer)).await.unwrap_err();
        };
        let (_, third) = tokio::join!(serving, timeout(PATIENCE, visitors.accept()));
        third.expect("there is room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_happens_is_closed_in_the_end() {
        let (mut visitors, at) = visitors(2).await;
        let _silent = TcpStream::connect(at).await.unwrap();
        let (mut idle, _) = visitors.accept().await;
        let start = Instant::now();
        assert!(idle.read_u8().await.is_err());
        assert!(start.elapsed() >= IDLE_MAX, "{:?}", start.elapsed());
    }
}
