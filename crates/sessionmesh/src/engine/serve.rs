//! Incoming connections: what peers send and ask, and the answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use sessionmesh_core::codec;
use sessionmesh_core::message::{
    Answers, Hello, MAGIC, Message, Ping, Pong, Refused, VERSION_MAX, VERSION_MIN, Welcome,
};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::probe::{self, Path};
use sessionmesh_core::session::DIGEST_VERSION;
use sessionmesh_core::view::NodeHash;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::evidence::Evidence;
use super::frame::{self, FrameReader};
use super::inbox::Room;
use super::link::{HANDSHAKE_BYTES_MAX, HANDSHAKE_DEADLINES};
use super::node::Node;
use super::seldom::Seldom;
use super::{apply, audit, expire, read, roll_call};
use crate::lock::lock;
use crate::membership::Carried;
use crate::network::{ByteStream, Listener};
use crate::seal::Side;

/// Connections that may be open at once; more are closed at once. Each member needs one.
const CONNECTIONS_MAX: usize = 4096;
/// A connection on which nothing came for so many commit deadlines is closed.
const SILENT_DEADLINES: u32 = 20;
/// Between two warnings about refused nodes, in milliseconds.
const REFUSALS_TOLD_MS: u64 = 10_000;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Answers that wait to be written, in bytes; above it nothing more is read from that peer.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Who dialled.
struct Dialler {
    node: NodeHash,
    name: String,
    incarnation: u64,
    /// Where the connection comes from.
    ip: IpAddr,
}

/// Accepts connections until the node stops.
pub(crate) async fn accept(node: Arc<Node>, listener: Box<dyn Listener>) {
    let open = Arc::new(());
    let (mut too_many, mut failing) = (Seldom::default(), Seldom::default());
    node.spare.fill();
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) if Arc::strong_count(&open) <= CONNECTIONS_MAX => {
                node.spare.fill();
                node.life.spawn("connection", connection(node.clone(), stream, from.ip(), open.clone()));
            }
            Ok(_) => {
                if let Some(unsaid) = too_many.happened() {
                    warn!(CONNECTIONS_MAX, unsaid, "too many connections; one was closed at once");
                }
            }
            Err(error) if node.spare.gave_up_for(&error) => {}
            Err(error) => {
                // For example: out of file descriptors. The listener lives on.
                node.counters.accept_errors.fetch_add(1, Ordering::Relaxed);
                if let Some(unsaid) = failing.happened() {
                    warn!(%error, unsaid, "a connection could not be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection until it ends or the node stops. `open` counts it.
async fn connection(node: Arc<Node>, stream: Box<dyn ByteStream>, ip: IpAddr, open: Arc<()>) {
    let serving = async {
        // Before the handshake is over nothing of the node can have been changed, so a panic ends the connection alone.
        let greeted = AssertUnwindSafe(greet(&node, stream, ip)).catch_unwind().await;
        let Ok(Some((stream, from))) = greeted else { return };
        if let Err(error) = serve(&node, stream, from).await {
            debug!(%error, "an incoming connection ended");
        }
    };
    node.stop.run_until_cancelled(serving).await;
    drop(open);
}

/// Shakes hands, within some commit deadlines.
async fn greet(node: &Node, stream: Box<dyn ByteStream>, ip: IpAddr) -> Option<(Box<dyn ByteStream>, Dialler)> {
    let greet = async {
        let mut stream = node.seal.wrap(stream, Side::Listener).await?;
        let from = welcome(node, &mut stream, ip).await?;
        io::Result::Ok((stream, from))
    };
    let greeted = timeout(node.config.commit_deadline * HANDSHAKE_DEADLINES, greet).await;
    match greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(greeted) => Some(greeted),
        Err(error) => {
            debug!(%error, "an incoming connection ended before anybody had been greeted");
            None
        }
    }
}

async fn serve(node: &Arc<Node>, stream: Box<dyn ByteStream>, from: Dialler) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::within(read, Room::new(node.clone(), from.node));
    let (answers, mut waiting) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
    let room = Arc::new(tokio::sync::Semaphore::new(ANSWER_BYTES_MAX));
    let writing = async {
        while let Some(first) = waiting.recv().await {
            let mut buffer = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(message) = next {
                bytes += message.len().min(ANSWER_BYTES_MAX);
                frame::append(&mut buffer, &message);
                next = waiting.try_recv().ok();
            }
            write.write_all(&buffer).await?;
            write.flush().await?;
            room.add_permits(bytes);
        }
        Ok(())
    };
    tokio::select! {
        biased;
        ended = reading(node, &from, &mut reader, &answers, &room) => ended,
        ended = writing => ended,
    }
}

/// Answers the handshake: a welcome, or why not.
async fn welcome(node: &Node, stream: &mut Box<dyn ByteStream>, ip: IpAddr) -> io::Result<Dialler> {
    let bytes = {
        let mut reader = FrameReader::new(&mut *stream, HANDSHAKE_BYTES_MAX);
        reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?
    };
    let Message::Hello(hello) = codec::decode(&bytes).map_err(io::Error::other)? else {
        return Err(io::Error::other("the first message was no hello"));
    };
    if hello.magic != MAGIC {
        return Err(io::Error::other("not this protocol"));
    }
    if let Some(why) = refuse(node, &hello) {
        let refused = codec::encode(&Message::Refused(why)).map_err(io::Error::other)?;
        frame::write(stream, &refused).await?;
        return Err(node.refused(&refusal(&node.config.cluster, &hello, why)));
    }
    node.lamport.observe(hello.counter);
    let welcome = Message::Welcome(Welcome {
        version: hello.version_max.min(VERSION_MAX),
        name: &node.config.name,
        incarnation: node.incarnation,
        counter: node.lamport.now(),
    });
    frame::write(stream, &codec::encode(&welcome).map_err(io::Error::other)?).await?;
    let from = NodeHash::of(hello.name, hello.incarnation);
    if hello.expects != 0
        && node.topology.load().peer(from).is_none()
        && let Some(addr) = reachable(node, hello.addr, ip)
    {
        // If there is no room gossip will tell of it.
        let _ = node.strangers.try_send(addr);
    }
    Ok(Dialler { node: from, name: hello.name.to_owned(), incarnation: hello.incarnation, ip })
}

/// The address that a dialler from `ip` says it has, unless it is on another machine and says a loopback address: that
/// would be this machine's.
fn reachable(node: &Node, addr: &str, ip: IpAddr) -> Option<SocketAddr> {
    let addr: SocketAddr = addr.parse().ok()?;
    let ip = ip.to_canonical();
    let here = ip.is_loopback() || ip == node.advertise.ip().to_canonical();
    (here || !addr.ip().to_canonical().is_loopback()).then_some(addr)
}

fn refuse(node: &Node, hello: &Hello<'_>) -> Option<Refused> {
    if hello.cluster != node.config.cluster {
        return Some(Refused::Cluster);
    }
    if hello.version_min > VERSION_MAX || hello.version_max < VERSION_MIN {
        return Some(Refused::Version { min: VERSION_MIN, max: VERSION_MAX });
    }
    if hello.digest_version != DIGEST_VERSION {
        return Some(Refused::Digest { version: DIGEST_VERSION });
    }
    // Who only asks who is there takes no part.
    let later = later_life(node, hello.name, hello.incarnation).filter(|_| hello.expects != 0)?;
    Some(Refused::Stale { known: later })
}

/// What was refused, with what both sides say.
fn refusal(cluster: &str, hello: &Hello<'_>, why: Refused) -> String {
    let name = hello.name;
    match why {
        Refused::Cluster => format!("refused `{name}` of the cluster `{}`; this node's is `{cluster}`", hello.cluster),
        Refused::Version { min, max } => format!(
            "refused `{name}`, which speaks protocol versions {} to {}, this node {min} to {max}; update the older side",
            hello.version_min, hello.version_max
        ),
        Refused::Digest { version } => format!(
            "refused `{name}`, whose digests have version {}, this node's {version}; update the older side",
            hello.digest_version
        ),
        Refused::Stale { known } => format!("refused `{name}` of incarnation {}: {known} is known", hello.incarnation),
    }
}

impl Node {
    /// Whoever is refused comes again and again, and anybody can ask to be: people are told now and then only.
    fn refused(&self, why: &str) -> io::Error {
        let (now, told) = (self.now(), self.refusal_told.load(Ordering::Relaxed));
        let is_due = told == 0 || now.ms_since(Moment::from_ms(told)) >= REFUSALS_TOLD_MS;
        if is_due && self.refusal_told.compare_exchange(told, now.as_ms(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            warn!("{why}");
        }
        io::Error::other(why.to_owned())
    }
}

/// The later life of this name that this node sees, if it sees one.
fn later_life(node: &Node, name: &str, incarnation: u64) -> Option<u64> {
    let seen = node.topology.load().view.get(name)?.incarnation;
    (seen > incarnation).then_some(seen)
}

async fn reading<R: AsyncRead + Unpin>(
    node: &Arc<Node>,
    from: &Dialler,
    reader: &mut FrameReader<R>,
    answers: &tokio::sync::mpsc::Sender<Vec<u8>>,
    room: &tokio::sync::Semaphore,
) -> io::Result<()> {
    // The other side pings several times in each deadline.
    let silence = node.config.commit_deadline * SILENT_DEADLINES;
    while let Some(bytes) = timeout(silence, reader.next()).await.map_err(|_| io::ErrorKind::TimedOut)?? {
        let message = codec::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Some(answer) = handle(node, from, message)? else {
            continue;
        };
        let size = u32::try_from(answer.len().min(ANSWER_BYTES_MAX)).expect("at most 8 MiB");
        // The writer gives the room back. Both live in one task, so neither is ever gone before the other.
        room.acquire_many(size).await.map_err(io::Error::other)?.forget();
        if answers.send(answer).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Acts on one message, and encodes the answer if it has one.
fn handle(node: &Arc<Node>, dialler: &Dialler, message: Message<'_>) -> io::Result<Option<Vec<u8>>> {
    let from = dialler.node;
    let encoded = match message {
        Message::Batch(batch) => {
            let codes = apply::batch(node, from, &batch);
            let view = node.topology.load().hash().0;
            codec::encode(&Message::Answers(Answers { seq: batch.seq, counter: node.lamport.now(), view, codes }))
        }
        Message::Ping(ping) => match later_life(node, &dialler.name, dialler.incarnation) {
            None if is_one_way(node, from) => return Ok(None),
            None => codec::encode(&Message::Pong(pong(node, from, ping))),
            // It was frozen or cut off while another one of its name was started, and has kept its connection.
            Some(known) => codec::encode(&Message::Refused(Refused::Stale { known })),
        },
        Message::Ask(ask) => read::tell(node, &ask),
        Message::ExpireAsk(ask) => codec::encode(&Message::ExpireVotes(expire::vote(node, from, &ask))),
        Message::Audit(asked) => codec::encode(&Message::AuditDiffers(audit::compare(node, from, &asked))),
        Message::AskUser(ask) => codec::encode(&Message::ToldUser(roll_call::tell(node, from, &ask))),
        Message::Want(want) => {
            audit::send_wanted(node, from, &want);
            return Ok(None);
        }
        Message::Gossip(gossip) => {
            if let Some(addr) = reachable(node, gossip.addr, dialler.ip) {
                // What is too much is lost, as datagrams are.
                let _ = node.gossip.try_send(Carried { addr, bytes: gossip.bytes.to_vec() });
            }
            return Ok(None);
        }
        Message::Bye => {
            node.reports.said(Evidence::Left(from));
            return Ok(None);
        }
        _ => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that only listeners send"));
        }
    };
    encoded.map(Some).map_err(io::Error::other)
}

/// Whether this node has no file descriptor for a link to who has one to it. It cannot send what it owes, and so never lets the
/// other one trust its copies. If it is silent, it is left out there, too.
fn is_one_way(node: &Node, from: NodeHash) -> bool {
    let topology = node.topology.load();
    node.spare.is_wanting(node.now()) && topology.peer(from).is_some_and(|peer| !peer.is_connected())
}

fn pong(node: &Node, from: NodeHash, ping: Ping) -> Pong {
    node.lamport.observe(ping.counter);
    let topology = node.topology.load();
    let (mut granted, mut clear) = (false, false);
    if let Some(peer) = topology.peer(from) {
        clear = lock(&peer.outbox).is_clear();
        granted = node.mark_caught_up(&topology, peer)
            && lock(&peer.liveness).grant(clear, topology.hash(), &node.timing, node.now());
        probe::reached_if(Path::LeaseWithheldOwed, || !granted && lock(&peer.outbox).owed() > 0);
        if ping.leaving {
            node.reports.said(Evidence::Leaving(from));
        }
    }
    Pong { sent: ping.sent, view: topology.hash().0, counter: node.lamport.now(), granted, clear }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_both_sides_say() {
        let hello = Hello {
            magic: MAGIC,
            version_min: 7,
            version_max: 9,
            digest_version: 5,
            cluster: "theirs",
            name: "n1",
            incarnation: 3,
            addr: "127.0.0.1:1",
            expects: 1,
            counter: 0,
        };
        let says = |why, words: &[&str]| {
            let text = refusal("ours", &hello, why);
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        says(Refused::Cluster, &["`n1`", "`theirs`", "`ours`"]);
        says(Refused::Version { min: 2, max: 3 }, &["`n1`", "7 to 9", "2 to 3", "update the older side"]);
        says(Refused::Digest { version: 2 }, &["`n1`", "5", "2", "update the older side"]);
        says(Refused::Stale { known: 4 }, &["`n1`", "3", "4"]);
    }
}
