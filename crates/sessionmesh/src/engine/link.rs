//! The outgoing connection to one peer: batches and questions go out, answers come back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use sessionmesh_core::acks::Holds;
use sessionmesh_core::codec;
use sessionmesh_core::delta::{Delta, SlotTombstones, WireEnd};
use sessionmesh_core::id::{SessionId, Slot};
use sessionmesh_core::liveness::peer::PongSeen;
use sessionmesh_core::message::{
    Answer, Answers, Batch, Hello, MAGIC, Message, Ping, Pong, Refused, VERSION_MAX, VERSION_MIN, Verdict,
};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::outbox::{Item, Lane, Outbox, Sent, Version};
use sessionmesh_core::probe::{self, Bug, Path};
use sessionmesh_core::session::{DIGEST_VERSION, Record};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::view::{MemberState, ViewHash};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::evidence::Evidence;
use super::frame::{self, FrameReader};
use super::inbox::Room;
use super::node::Node;
use super::peer::Peer;
use super::spare::is_want_of_descriptors;
use crate::lock::lock;
use crate::network::ByteStream;
use crate::seal::Side;

/// A batch is closed when it has about so many bytes.
const BATCH_BYTES: usize = 64 << 10;
/// A batch is closed when it has so many sessions.
const BATCH_SESSIONS_MAX: usize = 2048;
/// So many batches may wait for their answers.
const BATCHES_UNDER_WAY_MAX: usize = 4;
/// The shortest time between two pings, in milliseconds, whatever deadline a peer says it has.
const PING_MS_MIN: u64 = 10;
/// The largest handshake message, in bytes.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 4096;
/// So many commit deadlines a handshake may take, on either side.
pub(crate) const HANDSHAKE_DEADLINES: u32 = 2;
/// The first and the longest pause before a broken link is dialled again. The first is short: a process that dies may
/// still accept for a moment, and only a refusal tells that it is gone.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// Keeps the link to `peer` up until the peer or the node stops.
pub(crate) async fn run(node: Arc<Node>, peer: Arc<Peer>) {
    let mut back_off = BACK_OFF.0;
    let mut told = String::new();
    loop {
        let ended = tokio::select! {
            biased;
            () = peer.stop.cancelled() => {
                // Whoever waits for an answer of it hears that none will come.
                peer.link_down(node.now());
                node.trust.revoke();
                return;
            }
            ended = connect_and_serve(&node, &peer) => ended,
        };
        let was_up = peer.is_connected();
        peer.link_down(node.now());
        node.trust.revoke();
        node.changed.notify_waiters();
        if was_up {
            // The process may be gone: find out at once.
            back_off = BACK_OFF.0;
        } else {
            match ended.get_ref().and_then(|error| error.downcast_ref::<RefusedBy>()) {
                Some(RefusedBy { text, .. }) if *text != told => {
                    warn!(peer = %peer.member.name, "{text}");
                    told.clone_from(text);
                }
                _ => debug!(peer = %peer.member.name, error = %ended, "the link could not be opened"),
            }
            if ended.kind() == io::ErrorKind::ConnectionRefused {
                node.reports.found(Evidence::Refused(peer.node)).await;
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
    let stream = match open(node, peer).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::within(read, Room::new(node.clone(), peer.node));
    lock(&peer.liveness).progressed(node.now());
    peer.link_up();
    peer.audits.want();
    node.reports.found(Evidence::Connected(peer.node)).await;
    tokio::select! {
        biased;
        ended = receive(node, peer, &mut reader) => ended,
        ended = transmit(node, peer, &mut write) => ended,
    }
}

/// Dials within the commit deadline, and shakes hands within two: nothing waits for that, and both sides may be late.
async fn open(node: &Node, peer: &Peer) -> io::Result<Box<dyn ByteStream>> {
    let connecting = connect(node, peer);
    let stream = timeout(node.config.commit_deadline, connecting).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let greeting = async {
        let mut stream = node.seal.wrap(stream, Side::Dialler).await?;
        let welcome = shake_hands(node, &mut stream, peer.member.incarnation).await?;
        if welcome.name != *peer.member.name || welcome.incarnation != peer.member.incarnation {
            node.reports.found(Evidence::Replaced(peer.node)).await;
            return Err(io::Error::other("another node, or another incarnation of it, answers at this address"));
        }
        node.lamport.observe(welcome.counter);
        Ok(stream)
    };
    timeout(node.config.commit_deadline * HANDSHAKE_DEADLINES, greeting).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Connects, if need be with a file descriptor that was kept for this.
async fn connect(node: &Node, peer: &Peer) -> io::Result<Box<dyn ByteStream>> {
    let connected = match node.network.connect(peer.member.addr).await {
        Err(error) if node.spare.gave_up_for(&error) => node.network.connect(peer.member.addr).await,
        connected => connected,
    };
    match &connected {
        Ok(_) => node.spare.fill(),
        Err(error) if is_want_of_descriptors(error) => {
            node.spare.missed(node.now());
            if let Some(unsaid) = lock(&node.starving).happened() {
                warn!(%error, unsaid, "links to other nodes cannot be opened; allow more open files, or fewer visitors");
            }
        }
        Err(_) => {}
    }
    connected
}

/// Who is at the other end of a connection.
pub(crate) struct Greeted {
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    counter: u64,
}

/// Says hello on a fresh connection and waits for the welcome. `expects` 0 only asks who is there.
pub(crate) async fn shake_hands(node: &Node, stream: &mut Box<dyn ByteStream>, expects: u64) -> io::Result<Greeted> {
    let addr = node.advertise.to_string();
    let hello = Message::Hello(Hello {
        magic: MAGIC,
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        digest_version: DIGEST_VERSION,
        cluster: &node.config.cluster,
        name: &node.config.name,
        incarnation: node.incarnation,
        addr: &addr,
        expects,
        counter: node.lamport.now(),
    });
    frame::write(stream, &codec::encode(&hello).map_err(io::Error::other)?).await?;
    let mut reader = FrameReader::new(stream, HANDSHAKE_BYTES_MAX);
    let bytes = reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    match codec::decode(&bytes).map_err(io::Error::other)? {
        Message::Welcome(welcome) => {
            Ok(Greeted { name: welcome.name.to_owned(), incarnation: welcome.incarnation, counter: welcome.counter })
        }
        Message::Refused(why) => Err(refused(node, why)),
        _ => Err(io::Error::other("the other side broke the handshake")),
    }
}

/// What a refusal means for this node; and the error for it.
fn refused(node: &Node, why: Refused) -> io::Error {
    if let Refused::Stale { known } = why {
        node.refused_as_stale(known);
    }
    io::Error::other(RefusedBy { why, text: refusal(&node.config.cluster, why) })
}

/// The other side is a node and does not take this one's links, and why: nothing that trying again would change. The source
/// of such an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct RefusedBy {
    pub(crate) why: Refused,
    text: String,
}

fn refusal(cluster: &str, why: Refused) -> String {
    match why {
        Refused::Cluster => format!("refused: another cluster lives at this address, this node's is `{cluster}`"),
        Refused::Version { min, max } => format!(
            "refused: it speaks protocol versions {min} to {max}, this node {VERSION_MIN} to {VERSION_MAX}; \
             update the older side"
        ),
        Refused::Digest { version } => {
            format!("refused: its digests have version {version}, this node's {DIGEST_VERSION}; update the older side")
        }
        Refused::Stale { known } => format!("refused: a newer incarnation of this node's name is known ({known})"),
    }
}

async fn transmit(node: &Node, peer: &Peer, write: &mut (impl AsyncWrite + Unpin)) -> io::Error {
    // Often enough for leases by either deadline.
    let ping_ms = node.timing.ping_ms.min(peer.timing.ping_ms).max(PING_MS_MIN);
    let mut pings = node.ticks(Duration::from_millis(ping_ms));
    loop {
        let mut buffer = Vec::new();
        for message in peer.take_control() {
            frame::append(&mut buffer, &message);
        }
        if pings.tick().now_or_never().is_some() {
            frame::append(&mut buffer, &ping(node, peer));
        }
        if lock(&peer.outbox).is_crowded() {
            // Whoever else is ready to commit does so first, and travels along: under load a frame carries more commits
            // for one wake-up of either side. One that is alone leaves at once.
            tokio::task::yield_now().await;
        }
        if let Some(batch) = next_batch(node, peer, node.now()) {
            frame::append(&mut buffer, &batch);
        }
        if buffer.is_empty() {
            // A wake-up that comes meanwhile is stored in the Notify.
            tokio::select! {
                biased;
                () = peer.wake.notified() => {}
                _ = pings.tick() => frame::append(&mut buffer, &ping(node, peer)),
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

fn ping(node: &Node, peer: &Peer) -> Vec<u8> {
    let now = node.now();
    lock(&peer.liveness).pinged(now);
    let topology = node.topology.load();
    let leaving = topology.view.members()[usize::from(topology.me)].state == MemberState::Leaving;
    let ping = Ping { sent: now.as_ms(), view: topology.hash().0, counter: node.lamport.now(), leaving };
    codec::encode(&Message::Ping(ping)).expect("a ping has a fixed size")
}

/// Takes what is dirty and encodes it from the store as it is now.
fn next_batch(node: &Node, peer: &Peer, now: Moment) -> Option<Vec<u8>> {
    let mut taken = Taken::default();
    let seq = {
        let mut outbox = lock(&peer.outbox);
        if outbox.batches_under_way() >= BATCHES_UNDER_WAY_MAX {
            return None;
        }
        taken.fill(node, &mut outbox, now);
        let sent = taken.sent();
        if sent.is_empty() { None } else { Some(outbox.departed(sent)) }
    };
    for id in &taken.gone {
        // Nothing is let go before all its owners keep all of it, so whoever waits for this peer has its answer.
        node.acknowledge(*id, peer.node, u64::MAX, Holds::Kept(node.topology.load().hash()));
    }
    let seq = seq?;
    let deltas = taken.sessions.iter().map(|(id, record, sent)| Delta::since(*id, record, sent.from, now)).collect();
    let tombstones: Vec<_> = std::mem::take(&mut taken.slots).into_iter().map(|(of_slot, _)| of_slot).collect();
    let items = taken.sessions.len() + tombstones.len();
    node.counters.deltas_sent.fetch_add(items as u64, Ordering::Relaxed);
    let message = Message::Batch(Batch { seq, counter: node.lamport.now(), deltas, tombstones });
    match codec::encode(&message) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            // The limits of a configuration keep a session far below the largest message; but what several nodes wrote to
            // it at the same time adds up.
            tracing::error!(%error, items, "sessions are too large to be sent; they have no copy");
            lock(&peer.outbox).answered(seq);
            None
        }
    }
}

/// What was taken from an outbox for one batch.
#[derive(Default)]
struct Taken {
    sessions: Vec<(SessionId, Record, Sent)>,
    slots: Vec<(SlotTombstones, Sent)>,
    /// Sessions that were dirty and are not held any more.
    gone: Vec<SessionId>,
    bytes: usize,
}

/// About how many bytes a tombstone takes on the wire.
const TOMBSTONE_BYTES: usize = 64;

impl Taken {
    /// Moves marks from the outbox until it is enough for a batch.
    fn fill(&mut self, node: &Node, outbox: &mut Outbox, now: Moment) {
        let epoch = node.topology.load().epoch;
        while self.bytes < BATCH_BYTES && self.sessions.len() + self.slots.len() < BATCH_SESSIONS_MAX {
            let Some((item, from, lane, owed)) = outbox.take() else { return };
            let sent = |version, counter| Sent { item, from, lane, counter, version, owed, epoch };
            let took = match item {
                Item::Session(id) => self.session(node, id, sent),
                Item::Tombstones(_) if probe::planted(Bug::TombstonesLeftBehind) && lane == Lane::Bulk => false,
                Item::Tombstones(slot) => self.slot(node, slot, sent, from == Stamp::PROBE, now),
            };
            if !took {
                outbox.settle(owed);
            }
        }
    }

    fn session(&mut self, node: &Node, id: SessionId, sent: impl FnOnce(Version, u64) -> Sent) -> bool {
        let read = |held: Option<&sessionmesh_core::entry::Entry>| {
            held.map(|entry| (entry.record.clone(), entry.version(), node.lamport.now()))
        };
        let Some((record, version, counter)) = node.store.read(id, read) else {
            self.gone.push(id);
            return false;
        };
        let sent = sent(version, counter);
        self.bytes += record.session.wire_bytes_since(sent.from);
        self.sessions.push((id, record, sent));
        true
    }

    fn slot(
        &mut self,
        node: &Node,
        slot: Slot,
        sent: impl FnOnce(Version, u64) -> Sent,
        asks_only: bool,
        now: Moment,
    ) -> bool {
        let (digest, ended) = node.store.ended.of_slot(slot);
        if ended.is_empty() {
            return false;
        }
        let ended = match asks_only {
            true => Vec::new(),
            false => ended.iter().map(|(id, end)| (*id, WireEnd::of(end, now))).collect(),
        };
        self.bytes += TOMBSTONE_BYTES * (1 + ended.len());
        let of_slot = SlotTombstones { slot: slot.number().into(), digest, ended };
        self.slots.push((of_slot, sent((digest, Moment::START), node.lamport.now())));
        true
    }

    /// What is in the batch, in the order of the answers.
    fn sent(&self) -> Vec<Sent> {
        let sessions = self.sessions.iter().map(|(_, _, sent)| *sent);
        sessions.chain(self.slots.iter().map(|(_, sent)| *sent)).collect()
    }
}

async fn receive<R: tokio::io::AsyncRead + Unpin>(node: &Node, peer: &Peer, reader: &mut FrameReader<R>) -> io::Error {
    // A link on which nothing comes back for two deadlines is dead, whatever the sockets say.
    let silence = node.config.commit_deadline * 2;
    loop {
        let bytes = match timeout(silence, reader.next()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(Err(error)) => return error,
            Err(_) => return io::ErrorKind::TimedOut.into(),
        };
        if let Some(request) = codec::replies_to(&bytes) {
            peer.answer(request, bytes);
            continue;
        }
        let message = match codec::decode(&bytes) {
            Ok(message) => message,
            Err(error) => return io::Error::new(io::ErrorKind::InvalidData, error),
        };
        match message {
            Message::Answers(answers) => answered(node, peer, &answers),
            Message::Pong(pong) => ponged(node, peer, pong),
            Message::Refused(why) => return refused(node, why),
            _ => return io::Error::new(io::ErrorKind::InvalidData, "a message that only diallers send"),
        }
    }
}

fn ponged(node: &Node, peer: &Peer, pong: Pong) {
    node.lamport.observe(pong.counter);
    let now = node.now();
    let nothing_owed = lock(&peer.outbox).owed() == 0;
    let view = ViewHash(pong.view);
    let mine = node.topology.load().hash();
    let lease_ms = node.timing.lease_from(&peer.timing);
    let seen = PongSeen { sent: Moment::from_ms(pong.sent), view, mine, granted: pong.granted, lease_ms, nothing_owed };
    let changed = {
        let mut liveness = lock(&peer.liveness);
        let before = liveness.view();
        if liveness.ponged(&seen, &node.timing, now) {
            debug!(peer = %peer.member.name, "trusted again");
        }
        before != Some(view)
    };
    if !pong.granted || seen.view != seen.mine {
        node.trust.revoke();
    }
    if changed {
        lock(&peer.outbox).unpark();
        peer.wake.notify_one();
        node.review_acks();
    }
    node.changed.notify_waiters();
}

/// Every delta of a batch was answered.
fn answered(node: &Node, peer: &Peer, answers: &Answers) {
    node.lamport.observe(answers.counter);
    let view = ViewHash(answers.view);
    let topology = node.topology.load();
    let batch = {
        let mut outbox = lock(&peer.outbox);
        let Some(batch) = outbox.answered(answers.seq) else {
            return;
        };
        for (sent, verdict) in with_verdicts(&batch, answers) {
            let waits = || matches!(sent.item, Item::Session(id) if lock(&node.acks).waits_for(id));
            match verdict {
                // The peer keeps it, but under another view, and a commit waits: ask again when the views agree.
                Verdict::Kept if view != topology.hash() && waits() => {
                    probe::reached(Path::KeptUnderOtherView);
                    outbox.park(sent.item);
                }
                Verdict::Passing if is_owner(&topology, peer, sent.item.slot()) => outbox.park(sent.item),
                Verdict::Kept | Verdict::Passing => {}
                Verdict::NeedsWhole => {
                    node.counters.mismatches.fetch_add(1, Ordering::Relaxed);
                    outbox.mark(sent.item, Stamp::ZERO, sent.lane.min(Lane::Usual), sent.owed);
                }
            }
        }
        batch
    };
    lock(&peer.liveness).progressed(node.now());
    peer.wake.notify_one();
    for (sent, verdict) in with_verdicts(&batch, answers) {
        let holds = match verdict {
            Verdict::Kept => Holds::Kept(view),
            Verdict::Passing => Holds::Passing,
            Verdict::NeedsWhole => continue,
        };
        if let Item::Session(id) = sent.item {
            node.acknowledge(id, peer.node, sent.counter, holds);
        }
        if holds == Holds::Passing {
            node.counters.passing.fetch_add(1, Ordering::Relaxed);
        } else if !topology.is_owner(sent.item.slot()) {
            node.heard_kept(sent, peer.node);
            node.let_go(sent.item);
            // It was used meanwhile: what the owners keep is not all there is now.
            if node.store.version(sent.item).is_some_and(|version| version != sent.version) {
                probe::reached(Path::UsedWhileLettingGo);
                node.pass_on(sent.item, Stamp::PROBE, Lane::Bulk);
            }
        }
    }
    if lock(&peer.outbox).is_clear() {
        node.changed.notify_waiters();
    }
}

/// What became of each item of a batch. An answer that is missing or makes no sense counts as a need.
fn with_verdicts<'a>(batch: &'a [Sent], answers: &'a Answers) -> impl Iterator<Item = (&'a Sent, Verdict)> {
    let verdict = |code: u8| match Answer::from_code(code).map_or(Verdict::NeedsWhole, |answer| answer.verdict) {
        Verdict::NeedsWhole if probe::planted(Bug::NeedsWholeForgotten) => Verdict::Kept,
        verdict => verdict,
    };
    let codes = answers.codes.iter().copied().chain(std::iter::repeat(u8::MAX));
    batch.iter().zip(codes.map(verdict))
}

fn is_owner(topology: &super::topology::Topology, peer: &Peer, slot: Slot) -> bool {
    topology.owners(slot).any(|owner| owner.node == peer.node)
}
