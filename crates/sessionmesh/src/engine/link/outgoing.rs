//! The outgoing connection to one peer: batches and questions go out, answers come back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::liveness::peer::PongSeen;
use sessionmesh_core::membership::evidence::Evidence;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::view::{MemberState, ViewHash};
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Message, Ping, Pong};
use sessionmesh_core::wire::version::Version;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::answers::on_answers;
use super::batch;
use super::frame::{self, FrameReader, within};
use super::handshake::{HANDSHAKE_DEADLINES, dial, is_other_version, refused, refused_by};
use super::room::Room;
use crate::engine::replication;
use crate::engine::state::node::Node;
use crate::engine::state::peer::Peer;
use crate::engine::state::spare_descriptors::is_want_of_descriptors;
use crate::event::Event;
use crate::lock::lock;
use crate::network::ByteStream;
use crate::security::Refusal;
use crate::security::links::{Secured, is_altered, refusal};

/// The shortest time between two pings, in milliseconds, whatever deadline a peer says it has.
const PING_MS_MIN: u64 = 10;
/// The first and the longest pause before a broken link is dialled again. The first is short: a process that dies may
/// still accept for a moment, and only a refusal tells that it is gone.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// Keeps the link to `peer` up until the peer or the node stops.
pub(crate) async fn run(node: Arc<Node>, peer: Arc<Peer>) {
    let mut back_off = BACK_OFF.0;
    let mut logged = String::new();
    loop {
        let ended = tokio::select! {
            biased;
            () = peer.stop.cancelled() => {
                // Whoever waits for an answer of it hears that none will come.
                peer.link_down(node.now());
                node.cluster.lease_cache.revoke();
                return;
            }
            ended = connect_and_serve(&node, &peer) => ended,
        };
        let was_up = peer.is_connected();
        peer.link_down(node.now());
        node.cluster.lease_cache.revoke();
        node.lifecycle.changed.notify_waiters();
        if was_up {
            // The process may be gone: find out at once.
            back_off = BACK_OFF.0;
            if is_altered(&ended) {
                node.refused(Refusal::Altered, peer.member.addr.ip(), &ended);
            }
        } else {
            let refused = refused_by(&ended).map(|refused| refused.text.clone());
            match refused.or_else(|| refusal(&ended).map(|_| format!("the link could not be opened: {ended}"))) {
                Some(text) if text != logged => {
                    warn!(peer = %peer.member.name, "{text}");
                    logged = text;
                }
                _ => debug!(peer = %peer.member.name, error = %ended, "the link could not be opened"),
            }
            if ended.kind() == io::ErrorKind::ConnectionRefused {
                node.cluster.reports.found(Evidence::Refused(peer.node)).await;
            }
            let jitter = node.random_below(u64::try_from(back_off.as_millis()).expect("at most a second"));
            let pause = back_off + Duration::from_millis(jitter).min(JITTER_MAX);
            back_off = (back_off * 2).min(BACK_OFF.1);
            tokio::select! {
                biased;
                () = peer.stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }
}

/// By so much the pauses of several nodes differ at most.
const JITTER_MAX: Duration = Duration::from_millis(20);

async fn connect_and_serve(node: &Arc<Node>, peer: &Peer) -> io::Error {
    let (Secured { stream, proof }, version) = match open(node, peer).await {
        Ok(opened) => opened,
        Err(error) => return error,
    };
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::within(read, Room::new(node.clone(), peer.node));
    lock(&peer.liveness).progressed(node.now());
    coverage::reached_if(Path::OlderVersionSpoken, || version.number() < node.identity.versions.newest());
    peer.link_up(version);
    peer.audits.want();
    node.cluster.reports.found(Evidence::Connected(peer.node)).await;
    tokio::select! {
        biased;
        ended = receive(node, peer, version, &mut reader) => ended,
        ended = transmit(node, peer, version, &mut write) => ended,
        () = proof.voided() => io::Error::other("what it was proved with is not valid any more"),
    }
}

/// Dials within the commit deadline, and shakes hands within two: nothing waits for that, and both sides may be late.
async fn open(node: &Node, peer: &Peer) -> io::Result<(Secured, Version)> {
    let connecting = || async { within(node.config.commit_deadline, connect(node, peer)).await };
    let greeting = async {
        let dialled = dial(node, connecting, peer.member.incarnation).await;
        if dialled.as_ref().err().is_some_and(is_other_version) {
            // Members can talk with each other, so this is another life of it.
            node.cluster.reports.found(Evidence::Replaced(peer.node)).await;
        }
        let (secured, welcome) = dialled?;
        if welcome.name != *peer.member.name || welcome.incarnation != peer.member.incarnation {
            node.cluster.reports.found(Evidence::Replaced(peer.node)).await;
            return Err(io::Error::other("another node, or another incarnation of it, answers at this address"));
        }
        node.replication.lamport.observe(welcome.counter);
        Ok((secured, welcome.version))
    };
    within(node.config.commit_deadline * HANDSHAKE_DEADLINES, greeting).await
}

/// Connects, if need be with a file descriptor that was kept for this.
async fn connect(node: &Node, peer: &Peer) -> io::Result<Box<dyn ByteStream>> {
    let connected = match node.ports.network.connect(peer.member.addr).await {
        Err(error) if node.bounds.spare.gave_up_for(&error) => node.ports.network.connect(peer.member.addr).await,
        connected => connected,
    };
    match &connected {
        Ok(_) => node.bounds.spare.fill(),
        Err(error) if is_want_of_descriptors(error) => {
            node.bounds.spare.missed(node.now());
            node.emit(Event::DescriptorsMissing);
        }
        Err(_) => {}
    }
    connected
}

async fn transmit(node: &Node, peer: &Peer, version: Version, write: &mut (impl AsyncWrite + Unpin)) -> io::Error {
    // Often enough for leases by either deadline.
    let ping_ms = node.timing.ping_ms.min(peer.timing.ping_ms).max(PING_MS_MIN);
    let mut pings = node.ticks(Duration::from_millis(ping_ms));
    loop {
        let mut buffer = Vec::new();
        for message in peer.take_control() {
            frame::append(&mut buffer, &message);
        }
        if pings.tick().now_or_never().is_some() {
            frame::append(&mut buffer, &ping(node, peer, version));
        }
        if lock(&peer.outbox).is_crowded() {
            // Whoever else is ready to commit does so first, and travels along: under load a frame carries more commits
            // for one wake-up of either side. One that is alone leaves at once.
            tokio::task::yield_now().await;
        }
        if let Some(batch) = batch::next(node, peer, version, node.now()) {
            frame::append(&mut buffer, &batch);
        }
        if buffer.is_empty() {
            // A wake-up that comes meanwhile is stored in the Notify.
            tokio::select! {
                biased;
                () = peer.wake.notified() => {}
                _ = pings.tick() => frame::append(&mut buffer, &ping(node, peer, version)),
            }
        }
        if !buffer.is_empty()
            && let Err(error) = send(write, &buffer).await
        {
            return error;
        }
    }
}

async fn send(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    write.write_all(bytes).await?;
    write.flush().await
}

fn ping(node: &Node, peer: &Peer, version: Version) -> Vec<u8> {
    let now = node.now();
    lock(&peer.liveness).pinged(now);
    *lock(&peer.pinged) = (now, node.ports.clock.elapsed());
    let topology = node.cluster.topology.load();
    let leaving = topology.view.members()[usize::from(topology.me)].state == MemberState::Leaving;
    let ping = Ping { sent: now.as_ms(), view: topology.hash().0, counter: node.replication.lamport.now(), leaving };
    codec::encode(&Message::Ping(ping), version).expect("a ping has a fixed size")
}

async fn receive<R: tokio::io::AsyncRead + Unpin>(
    node: &Node,
    peer: &Peer,
    version: Version,
    reader: &mut FrameReader<R>,
) -> io::Error {
    // A link on which nothing comes back for two deadlines is dead, whatever the sockets say.
    let silence = node.config.commit_deadline * 2;
    loop {
        let bytes = match within(silence, reader.next()).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return io::ErrorKind::UnexpectedEof.into(),
            Err(error) => return error,
        };
        node.ports.security.refusals.decoding(bytes.len());
        if let Some(request) = codec::replies_to(&bytes) {
            peer.answer(request, bytes);
            continue;
        }
        let message = match codec::decode(&bytes, version) {
            Ok(message) => message,
            Err(error) => return io::Error::new(io::ErrorKind::InvalidData, error),
        };
        match message {
            Message::Answers(answers) => on_answers(node, peer, &answers),
            Message::Pong(pong) => ponged(node, peer, pong),
            Message::Refused(why) => return refused(node, why),
            _ => return io::Error::new(io::ErrorKind::InvalidData, "a message that only diallers send"),
        }
    }
}

fn ponged(node: &Node, peer: &Peer, pong: Pong) {
    node.replication.lamport.observe(pong.counter);
    let now = node.now();
    let (pinged, exactly) = *lock(&peer.pinged);
    if pinged == Moment::from_ms(pong.sent) {
        node.telemetry.latencies.round_trip.record(node.ports.clock.elapsed().saturating_sub(exactly));
    }
    let nothing_owed = lock(&peer.outbox).owed() == 0;
    let view = ViewHash(pong.view);
    let mine = node.cluster.topology.load().hash();
    let lease_ms = node.timing.lease_from(&peer.timing);
    let seen = PongSeen { sent: Moment::from_ms(pong.sent), view, mine, granted: pong.granted, lease_ms, nothing_owed };
    let changed = {
        let mut liveness = lock(&peer.liveness);
        let before = liveness.view();
        if liveness.ponged(&seen, &node.timing, now) {
            node.emit(Event::MemberReinstated { name: peer.member.name.clone() });
        }
        before != Some(view)
    };
    if !pong.granted || seen.view != seen.mine {
        node.cluster.lease_cache.revoke();
    }
    if changed {
        lock(&peer.outbox).unpark();
        peer.wake.notify_one();
        replication::review_acks(node);
    }
    node.lifecycle.changed.notify_waiters();
}
