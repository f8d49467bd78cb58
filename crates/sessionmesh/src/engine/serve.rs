//! Incoming connections: what peers send and ask, and the answers.

use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::id::NodeHash;
use sessionmesh_core::membership::evidence::Evidence;
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Answers, Message, Ping, Pong, Refused};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::link::frame::{self, FrameReader, within};
use super::link::room::Room;
use super::link::welcome::{Dialler, greet, later_life, reachable};
use super::read::{self, figures_of_members, user_query};
use super::state::node::Node;
use super::upkeep::{anti_entropy, expire};
use super::write::apply;
use crate::lock::lock;
use crate::log_throttle::LogThrottle;
use crate::membership::Carried;
use crate::network::{ByteStream, Listener};
use crate::security::Refusal;
use crate::security::admission::Admission;
use crate::security::links::{Secured, is_altered};

/// Connections that may be open at once; more are closed at once. Each member needs one.
const CONNECTIONS_MAX: usize = 4096;
/// A connection on which nothing came, or nothing could be written, for so many commit deadlines is closed.
const SILENT_DEADLINES: u32 = 20;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// So many bytes of answers are written before more is read.
const ANSWER_BYTES: usize = 64 << 10;

/// Accepts connections until the node stops. One that has proved nothing yet has no task: it is a future of this one.
pub(crate) async fn accept(node: Arc<Node>, listener: Box<dyn Listener>) {
    let open = Arc::new(());
    let (mut admission, mut unproven) = (Admission::default(), FuturesUnordered::new());
    let (mut too_many, mut failing) = (LogThrottle::default(), LogThrottle::default());
    node.bounds.spare.fill();
    loop {
        let accepted = tokio::select! {
            biased;
            () = node.lifecycle.stop.cancelled() => return,
            Some((ip, greeted)) = unproven.next() => {
                admission.settled(ip);
                if let Some((secured, from)) = greeted {
                    let serving = connection(node.clone(), secured, from, open.clone());
                    node.lifecycle.life.spawn("connection", serving);
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) if Arc::strong_count(&open) <= CONNECTIONS_MAX => {
                node.bounds.spare.fill();
                match admission.admit(from.ip(), Instant::now()) {
                    Ok(()) => unproven.push(greeted(node.clone(), stream, from.ip())),
                    Err(refusal) => node.refused(refusal, from.ip(), &refusal),
                }
            }
            Ok(_) => {
                if let Some(unsaid) = too_many.admit() {
                    warn!(CONNECTIONS_MAX, unsaid, "too many incoming connections; one was closed at once");
                }
            }
            Err(error) if node.bounds.spare.gave_up_for(&error) => {}
            Err(error) => {
                // For example: out of file descriptors. The listener lives on.
                node.telemetry.counters.accept_errors.fetch_add(1, Ordering::Relaxed);
                if let Some(unsaid) = failing.admit() {
                    warn!(%error, unsaid, "an incoming connection could not be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands. Before that is over nothing of the node can have been changed, so a panic ends the connection alone.
async fn greeted(node: Arc<Node>, stream: Box<dyn ByteStream>, ip: IpAddr) -> (IpAddr, Option<(Secured, Dialler)>) {
    let greeted = AssertUnwindSafe(greet(&node, stream, ip)).catch_unwind().await;
    (ip, greeted.ok().flatten())
}

/// Serves one connection until it ends or the node stops. `open` counts it.
async fn connection(node: Arc<Node>, secured: Secured, from: Dialler, open: Arc<()>) {
    let Some(_counted) = node.bounds.served.admit(from.node) else {
        node.refused(Refusal::TooManyOfOne, from.ip, &Refusal::TooManyOfOne);
        return;
    };
    let ip = from.ip;
    let serving = async {
        tokio::select! {
            biased;
            ended = serve(&node, secured.stream, from) => ended,
            () = secured.proof.voided() => Err(io::Error::other("what it was proved with is not valid any more")),
        }
    };
    if let Some(Err(error)) = node.lifecycle.stop.run_until_cancelled(serving).await {
        debug!(%error, "an incoming connection ended");
        if is_altered(&error) {
            node.refused(Refusal::Altered, ip, &error);
        }
    }
    drop(open);
}

/// Reads and answers in turn: what came together is answered together. Who takes no answers is not read from either.
async fn serve(node: &Arc<Node>, stream: Box<dyn ByteStream>, from: Dialler) -> io::Result<()> {
    // The other side pings several times in each deadline.
    let silence = node.config.commit_deadline * SILENT_DEADLINES;
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::within(read, Room::new(node.clone(), from.node));
    let mut answers = Vec::new();
    while let Some(first) = within(silence, reader.next()).await? {
        let mut next = Some(first);
        while let Some(bytes) = next {
            if node.lifecycle.stop.is_cancelled() {
                // It has stopped, though this task has not yet: what it holds is gone for everybody.
                return Ok(());
            }
            node.ports.security.refusals.decoding(bytes.len());
            let message = codec::decode(&bytes, from.version)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(answer) = handle(node, &from, message)? {
                frame::append(&mut answers, &answer);
            }
            next = if answers.len() < ANSWER_BYTES { reader.buffered()? } else { None };
        }
        send(&mut write, &answers, silence).await?;
        answers.clear();
        if answers.capacity() > ANSWER_BYTES {
            answers = Vec::new();
        }
    }
    Ok(())
}

/// Writes all of `bytes`, unless nothing of them can be written for so long.
async fn send(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8], silence: Duration) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match within(silence, write.write(rest)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => rest = &rest[written..],
        }
    }
    within(silence, write.flush()).await
}

/// Acts on one message, and encodes the answer if it has one.
fn handle(node: &Arc<Node>, dialler: &Dialler, message: Message<'_>) -> io::Result<Option<Vec<u8>>> {
    let from = dialler.node;
    let encode = |answer: Message<'_>| codec::encode(&answer, dialler.version);
    let encoded = match message {
        Message::Batch(batch) => {
            // Looked at before the batch is merged, or "kept" under the view before would count under a new one.
            let view = node.cluster.topology.load().hash().0;
            let codes = apply::batch(node, from, &batch);
            encode(Message::Answers(Answers { seq: batch.seq, counter: node.replication.lamport.now(), view, codes }))
        }
        Message::Ping(ping) => match later_life(node, &dialler.name, dialler.incarnation) {
            None if is_one_way(node, from) => return Ok(None),
            None => encode(Message::Pong(pong(node, from, ping))),
            // It was frozen or cut off while another one of its name was started, and has kept its connection.
            Some(known) => encode(Message::Refused(Refused::Stale { known })),
        },
        Message::ReadQuery(ask) => read::answer(node, &ask, dialler.version),
        Message::ExpireAsk(ask) => encode(Message::ExpireVotes(expire::vote(node, from, &ask))),
        Message::Audit(asked) => encode(Message::AuditDiffers(anti_entropy::compare(node, from, &asked))),
        Message::UserQuery(ask) => encode(Message::UserReply(user_query::answer(node, from, &ask))),
        Message::FiguresQuery(ask) => match figures_of_members::answer(node, from, ask) {
            Some(reply) => encode(Message::FiguresReply(reply)),
            None => return Ok(None),
        },
        Message::Want(want) => {
            anti_entropy::send_wanted(node, from, &want);
            return Ok(None);
        }
        Message::Gossip(gossip) => {
            if let Some(addr) = reachable(node, gossip.addr, dialler.ip) {
                // What is too much is lost, as datagrams are.
                let _ = node.cluster.gossip.try_send(Carried { addr, bytes: gossip.bytes.to_vec() });
            }
            return Ok(None);
        }
        Message::Bye => {
            node.cluster.reports.said(Evidence::Left(from));
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
    let topology = node.cluster.topology.load();
    node.bounds.spare.is_wanting(node.now()) && topology.peer(from).is_some_and(|peer| !peer.is_connected())
}

fn pong(node: &Node, from: NodeHash, ping: Ping) -> Pong {
    node.replication.lamport.observe(ping.counter);
    let topology = node.cluster.topology.load();
    let (mut granted, mut clear) = (false, false);
    if let Some(peer) = topology.peer(from) {
        clear = lock(&peer.outbox).is_clear();
        granted = node.mark_caught_up(&topology, peer)
            && lock(&peer.liveness).grant(clear, topology.epoch, &node.timing, node.now());
        coverage::reached_if(Path::LeaseWithheldOwed, || !granted && lock(&peer.outbox).owed() > 0);
        if ping.leaving {
            node.cluster.reports.said(Evidence::Leaving(from));
        }
    }
    Pong { sent: ping.sent, view: topology.hash().0, counter: node.replication.lamport.now(), granted, clear }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_takes_no_answers_is_given_up_and_who_is_slow_is_not() {
        let answers = [7; 1_000];
        let (mut here, there) = tokio::io::duplex(100);
        let start = Instant::now();
        assert_eq!(send(&mut here, &answers, SILENCE).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), SILENCE);
        drop(there);

        let (mut here, mut there) = tokio::io::duplex(100);
        let reading = async {
            let mut taken = [0; 1_000];
            for part in taken.chunks_mut(50) {
                sleep(SILENCE / 2).await;
                there.read_exact(part).await.expect("it is sent");
            }
            taken
        };
        let (sent, taken) = tokio::join!(send(&mut here, &answers, SILENCE), reading);
        sent.expect("something was taken each time");
        assert_eq!(taken, answers);
    }
}
