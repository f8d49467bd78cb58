//! Somebody through whom everything goes that two nodes say to each other: he records it, and changes what he likes.
//!
//! Each node tells others an address at which the relay listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sessionmesh::network::{ByteStream, DatagramBind, Datagrams, Listener, Network as _, TokioNetwork};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// A connection whose bytes were changed, and that goes on for so long, does not mind: the silence of the other side is noticed
/// after a second.
const UNNOTICED: Duration = Duration::from_millis(2_500);
/// Datagrams that are kept.
const DATAGRAMS_MAX: usize = 2_000;

/// Who says something on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Listener,
}

/// One byte that is changed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flip {
    pub(crate) of: Side,
    pub(crate) at: usize,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders {
    pub(crate) flip: Option<Flip>,
    /// It is cut when the dialler has said more than so many bytes.
    pub(crate) cut_after: Option<usize>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    EndedBy(Side),
    /// As it was ordered.
    Cut,
    /// It went on although something else arrived than was said.
    WentOn,
}

/// A connection that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    /// Which node was dialled.
    pub(crate) to: usize,
    /// What the dialler and the listener said, as they said it.
    pub(crate) said: [Vec<u8>; 2],
    /// The same in turns.
    pub(crate) turns: Vec<(Side, usize)>,
    /// Whether the byte came that was to be changed.
    pub(crate) flipped: bool,
    pub(crate) fate: Fate,
    pub(crate) orders: Orders,
}

/// Decides what becomes of each connection, and is told what came of it.
pub(crate) trait Plan: Send {
    fn orders(&mut self) -> Orders;
    fn passed(&mut self, passed: Passed);
}

/// A datagram, and the node that it was for.
pub(crate) type Datagram = (usize, Vec<u8>);

/// Listens in front of two nodes that have not started yet.
pub(crate) struct Relay {
    fronts: [SocketAddr; 2],
    nodes: [SocketAddr; 2],
    sockets: Arc<[Box<dyn Datagrams>; 2]>,
    datagrams: Arc<Mutex<Vec<Datagram>>>,
    cut: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start(plan: Arc<Mutex<dyn Plan>>) -> Self {
        let (first, second) = (front(2).await, front(3).await);
        let fronts = [first.at, second.at];
        let nodes = fronts.map(|at| SocketAddr::from((Ipv4Addr::LOCALHOST, at.port())));
        let sockets = Arc::new([first.socket, second.socket]);
        let (datagrams, mut tasks) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
        let (cut, is_cut) = watch::channel(());
        for (to, listener) in [first.listener, second.listener].into_iter().enumerate() {
            tasks.spawn(connections(listener, to, nodes[to], plan.clone(), is_cut.clone()));
            tasks.spawn(messages(sockets.clone(), to, nodes, datagrams.clone()));
        }
        Self { fronts, nodes, sockets, datagrams, cut, _tasks: tasks }
    }

    /// Where the nodes are to listen.
    pub(crate) const fn nodes(&self) -> [SocketAddr; 2] {
        self.nodes
    }

    /// What they are to tell others.
    pub(crate) const fn fronts(&self) -> [SocketAddr; 2] {
        self.fronts
    }

    /// Cuts all connections that there are.
    pub(crate) fn cut_all(&self) {
        self.cut.send_replace(());
    }

    /// The datagrams so far.
    pub(crate) fn datagrams(&self) -> Vec<Datagram> {
        lock(&self.datagrams).clone()
    }

    /// Sends a datagram to a node from where the other one's come from.
    pub(crate) async fn send(&self, to: usize, datagram: &[u8]) {
        self.sockets[1 - to].send_to(datagram, self.nodes[to]).await.expect("loopback takes it");
    }
}

struct Front {
    at: SocketAddr,
    listener: Box<dyn Listener>,
    socket: Box<dyn Datagrams>,
}

/// At a port that is free there and for the node behind it, for connections and for datagrams.
async fn front(host: u8) -> Front {
    loop {
        let listener = TokioNetwork.listen((Ipv4Addr::new(127, 0, 0, host), 0).into()).await.expect("a free port");
        let at = listener.local_addr().expect("it listens");
        let behind = SocketAddr::from((Ipv4Addr::LOCALHOST, at.port()));
        let node = (TokioNetwork.listen(behind).await, TokioNetwork.datagrams(DatagramBind::Unicast(behind)).await);
        if let (Ok(socket), (Ok(_), Ok(_))) = (TokioNetwork.datagrams(DatagramBind::Unicast(at)).await, node) {
            return Front { at, listener, socket };
        }
    }
}

async fn messages(
    sockets: Arc<[Box<dyn Datagrams>; 2]>,
    to: usize,
    nodes: [SocketAddr; 2],
    datagrams: Arc<Mutex<Vec<Datagram>>>,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        // An error tells that an earlier one did not arrive.
        let Ok((length, from)) = sockets[to].recv_from(&mut buffer).await else { continue };
        if from != nodes[1 - to] {
            continue;
        }
        {
            let mut kept = lock(&datagrams);
            if kept.len() < DATAGRAMS_MAX {
                kept.push((to, buffer[..length].to_vec()));
            }
        }
        let _ = sockets[1 - to].send_to(&buffer[..length], nodes[to]).await;
    }
}

async fn connections(
    listener: Box<dyn Listener>,
    to: usize,
    node: SocketAddr,
    plan: Arc<Mutex<dyn Plan>>,
    is_cut: watch::Receiver<()>,
) {
    let mut passing = JoinSet::new();
    loop {
        let Ok((dialler, _)) = listener.accept().await else { continue };
        while passing.try_join_next().is_some() {}
        let (plan, mut is_cut) = (plan.clone(), is_cut.clone());
        is_cut.mark_unchanged();
        passing.spawn(async move {
            // A node that is not there yet is none that refuses.
            let Ok(listener) = TokioNetwork.connect(node).await else { return };
            let orders = lock(&plan).orders();
            let mut passed =
                Passed { to, said: Default::default(), turns: Vec::new(), flipped: false, fate: Fate::Cut, orders };
            passed.fate = tokio::select! {
                fate = pass(dialler, listener, &mut passed) => fate,
                _ = is_cut.changed() => Fate::Cut,
            };
            lock(&plan).passed(passed);
        });
    }
}

async fn pass(mut dialler: Box<dyn ByteStream>, mut listener: Box<dyn ByteStream>, passed: &mut Passed) -> Fate {
    let (mut from_dialler, mut from_listener) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut patience = None;
    loop {
        let waiting = async {
            match patience {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let (side, read) = tokio::select! {
            read = dialler.read(&mut from_dialler) => (Side::Dialler, read),
            read = listener.read(&mut from_listener) => (Side::Listener, read),
            () = waiting => return Fate::WentOn,
        };
        let Some(length) = read.ok().filter(|length| *length > 0) else { return Fate::EndedBy(side) };
        let (bytes, to, other) = match side {
            Side::Dialler => (&mut from_dialler[..length], &mut listener, Side::Listener),
            Side::Listener => (&mut from_listener[..length], &mut dialler, Side::Dialler),
        };
        if note(passed, side, bytes) {
            patience = Some(Instant::now() + UNNOTICED);
        }
        if send(to, bytes).await.is_err() {
            return Fate::EndedBy(other);
        }
        if passed.orders.cut_after.is_some_and(|limit| passed.said[0].len() > limit) {
            return Fate::Cut;
        }
    }
}

/// Notes what somebody said, and changes it if that was ordered. Whether it did.
fn note(passed: &mut Passed, side: Side, bytes: &mut [u8]) -> bool {
    let said = &mut passed.said[side as usize];
    let before = said.len();
    said.extend_from_slice(bytes);
    match passed.turns.last_mut() {
        Some((last, length)) if *last == side => *length += bytes.len(),
        _ => passed.turns.push((side, bytes.len())),
    }
    let flip = passed.orders.flip.filter(|flip| flip.of == side);
    let here = flip.and_then(|flip| flip.at.checked_sub(before)).and_then(|at| bytes.get_mut(at));
    let Some(byte) = here else { return false };
    *byte ^= 0x10;
    passed.flipped = true;
    true
}

async fn send(to: &mut Box<dyn ByteStream>, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}
