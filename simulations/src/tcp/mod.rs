//! Connections as systems make them, on simulated links.
//!
//! turmoil has TCP, too, but the reverse of the real one in what matters most here: what is sent into a cut is lost for good, a
//! dialler is told at once of a cut and never of a process that has died, and nothing is ever reset. So only its hosts, its clock
//! and its datagrams are used. What is the same here as on Linux, and was compared with it (`tests/side_by_side.rs`):
//!
//! - A machine without the process refuses who dials, after a round trip. Over a cut, or to a machine that is gone, nothing comes
//!   back, and the first packet is sent again after one second, two, four, and so on.
//! - A process that dies leaves its system behind, which goes on sending what it had taken, then the end; or resets the connection,
//!   if something had arrived that was not read. A machine that dies says nothing.
//! - What is sent into a cut waits in buffers of limited size, and is sent again after 200 ms, 400 ms and so on, so it arrives
//!   some time after the cut is over: in order, but perhaps after what was sent over a later connection.
//! - Whoever sends to a machine that does not know the connection any more is told so (a reset). If that is lost, too, the
//!   connection stays half open.
//!
//! Not the same: bandwidth, congestion and packets lost one by one are not played, and a system never gives up sending.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use crate::impairments::{Impairments, Passage};
use crate::scenario::{AtHeal, Streams};

mod connection;
mod stream;

use connection::{Connection, Side};
pub use stream::Stream;

type Shared = Arc<Mutex<Connection>>;

/// How long a system waits before it sends the first packet of a connection again; then twice as long, and so on.
const FIRST_DIAL_AGAIN: Duration = Duration::from_secs(1);
/// The first port that systems give to those who dial.
const FIRST_PORT: u16 = 32_768;
/// Of a hundred reads and writes, so many move only a piece, where they are to.
const PIECES: u32 = 10;

/// All connections of a run, shared by all hosts.
#[derive(Clone, Debug)]
pub struct Tcp {
    links: Impairments,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    settings: Streams,
    dice: StdRng,
    backlogs: BTreeMap<SocketAddr, Arc<Mutex<Backlog>>>,
    connections: BTreeMap<u64, Weak<Mutex<Connection>>>,
    next: u64,
    /// While all tasks of a host are ended, what they had open: it is closed in the order of its numbers, and not in that in which
    /// tokio ends tasks, which depends on what was played before.
    dying: Option<BTreeMap<(u64, Side), Shared>>,
}

/// Connections that wait to be accepted.
#[derive(Debug, Default)]
struct Backlog {
    streams: VecDeque<Stream>,
    acceptor: Option<Waker>,
}

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listening {
    at: SocketAddr,
    backlog: Arc<Mutex<Backlog>>,
    tcp: Tcp,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Simulated time since the start, on the host that asks.
fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl Tcp {
    /// Connections on these links. `seed` decides what is random about them.
    #[must_use]
    pub fn new(links: Impairments, settings: Streams, seed: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed ^ 0x7c9_7c9);
        let (backlogs, connections) = (BTreeMap::new(), BTreeMap::new());
        let state = State { settings, dice, backlogs, connections, next: 0, dying: None };
        Self { links, state: Arc::new(Mutex::new(state)) }
    }

    fn links(&self) -> &Impairments {
        &self.links
    }

    /// How many of so many bytes are moved at once.
    fn piece(&self, most: usize) -> usize {
        let State { settings, dice, .. } = &mut *lock(&self.state);
        let is_piece = settings.pieces && most > 1 && dice.random_range(0..100) < PIECES;
        if is_piece { dice.random_range(1..most) } else { most }
    }

    /// Listens at `at`.
    ///
    /// # Errors
    ///
    /// Somebody does already.
    pub fn listen(&self, at: SocketAddr) -> io::Result<Listening> {
        let mut state = lock(&self.state);
        if state.backlogs.contains_key(&at) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let backlog = Arc::<Mutex<Backlog>>::default();
        state.backlogs.insert(at, backlog.clone());
        Ok(Listening { at, backlog, tcp: self.clone() })
    }

    /// Dials `to` from a host.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub async fn dial(&self, from: IpAddr, to: SocketAddr) -> io::Result<Stream> {
        let mut pause = FIRST_DIAL_AGAIN;
        loop {
            self.travel(from, to.ip()).await;
            let passage = |one, other| self.links.passage(one, other);
            if [passage(from, to.ip()), passage(to.ip(), from)].contains(&Passage::Cut) {
                sleep(pause).await;
                pause *= 2;
                continue;
            }
            let stream = self.knock(from, to);
            self.travel(to.ip(), from).await;
            return stream.ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
        }
    }

    /// A packet goes from the one to the other.
    async fn travel(&self, from: IpAddr, to: IpAddr) {
        sleep(self.links.latency(from, to)).await;
        poll_fn(|cx| if self.links.holds_streams(from, to, cx.waker()) { Poll::Pending } else { Poll::Ready(()) })
            .await;
    }

    /// The first packet has arrived: the system accepts it, if a process listens.
    fn knock(&self, from: IpAddr, to: SocketAddr) -> Option<Stream> {
        let (backlog, number, connection) = {
            let mut state = lock(&self.state);
            let backlog = state.backlogs.get(&to)?.clone();
            let number = state.next;
            state.next += 1;
            let ports = u64::from(u16::MAX - FIRST_PORT);
            let port = FIRST_PORT + u16::try_from(number % ports).unwrap_or_default();
            let connection = Connection::new((from, port).into(), to, state.settings.buffer_bytes);
            let connection = Arc::new(Mutex::new(connection));
            state.connections.insert(number, Arc::downgrade(&connection));
            (backlog, number, connection)
        };
        let stream = |side| Stream::new(connection.clone(), number, side, self);
        let mut backlog = lock(&backlog);
        backlog.streams.push_back(stream(Side::Listener));
        if let Some(acceptor) = backlog.acceptor.take() {
            acceptor.wake();
        }
        Some(stream(Side::Dialler))
    }

    /// Calls `end`, which ends all tasks of a host at once. Then closes what they had open.
    pub fn dying<T>(&self, now: Duration, end: impl FnOnce() -> T) -> T {
        lock(&self.state).dying = Some(BTreeMap::new());
        let ended = end();
        let dead = lock(&self.state).dying.take().unwrap_or_default();
        for ((_, side), connection) in dead {
            lock(&connection).close(side, now, &self.links);
        }
        ended
    }

    fn close(&self, stream: &Stream) {
        if let Some(dying) = &mut lock(&self.state).dying {
            dying.insert((stream.number, stream.side), stream.connection.clone());
            return;
        }
        lock(&stream.connection).close(stream.side, now(), &self.links);
    }

    /// The links will change: what has arrived until now stays.
    pub fn settle(&self, now: Duration) {
        self.for_all(|connection| connection.settle(now, &self.links));
    }

    /// The machine of this host has died, with all that its system had still to send.
    pub fn machine_died(&self, host: IpAddr) {
        self.for_all(|connection| connection.machine_died(host));
    }

    /// Something between the two, a firewall or a translator of addresses, forgets their connections, and says so to both.
    pub fn reset(&self, one: IpAddr, other: IpAddr, now: Duration) {
        self.for_all(|connection| {
            if connection.is_between(one, other) {
                connection.reset(now);
            }
        });
    }

    /// The links work again: some connections on which something was lost are told.
    pub fn heal(&self, now: Duration) {
        let at_heal = lock(&self.state).settings.at_heal;
        self.for_all(|connection| match at_heal {
            AtHeal::Resume => connection.resume(now),
            AtHeal::Reset if connection.stands_still() => connection.reset(now),
            AtHeal::Wait | AtHeal::Reset => {}
        });
    }

    fn for_all(&self, mut each: impl FnMut(&mut Connection)) {
        let connections: Vec<Shared> = {
            let mut state = lock(&self.state);
            state.connections.retain(|_, connection| connection.strong_count() > 0);
            state.connections.values().filter_map(Weak::upgrade).collect()
        };
        for connection in connections {
            each(&mut lock(&connection));
        }
    }
}

impl Listening {
    /// Waits for the next connection.
    pub async fn accept(&self) -> Stream {
        poll_fn(|cx| {
            let mut backlog = lock(&self.backlog);
            match backlog.streams.pop_front() {
                Some(stream) => Poll::Ready(stream),
                None => {
                    backlog.acceptor = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.tcp.state).backlogs.remove(&self.at);
        // Dropped when the lock is free: each stream closes itself.
        let waiting = std::mem::take(&mut lock(&self.backlog).streams);
        drop(waiting);
    }
}
