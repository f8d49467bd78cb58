//! What nodes of an earlier build said to each other, byte by byte, and what today's build makes of it.
//!
//! `tests/recordings/version-N.txt` is a conversation of three nodes of version N of the protocol: they join, write, read, list
//! the sessions of a user, renew, end, compare and leave. Each `connection` is what one side of it wrote; then each line is a
//! message in hex (`.N.` stands for N bytes of 0), and what it means, as JSON. A `datagram` is one of the gossip.
//!
//! When the protocol has another version, record it (with `MESHTEST_RECORD=$PWD/tests/recordings/version-N.txt`, the test that
//! converses), and keep those before for as long as they are spoken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde_json::Value;
use sessionmesh::network::{ByteStream, DatagramBind, Network as _, TokioNetwork};
use sessionmesh::{Discovery, Mesh, MeshBuilder, Mode, Outcome, SessionId, UserIndex};
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Answers, Hello, Message, Welcome};
use sessionmesh_core::wire::version::Version;
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, eventually, load, log_in};
use sessionmesh_testkit::network::TestNetwork;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

const RECORDED: &str = include_str!("../../recordings/version-4.txt");
/// What a conversation consists of at least; messages that only trouble brings are in the golden bytes of the core.
const KINDS: [&str; 13] = [
    "Hello",
    "Welcome",
    "Batch",
    "Answers",
    "Ping",
    "Pong",
    "ReadQuery",
    "ReadReply",
    "Audit",
    "AuditDiffers",
    "UserQuery",
    "UserReply",
    "Bye",
];
/// So many messages of a kind are kept of each side of a connection; of those that come again and again one.
const KEPT: usize = 6;
const REPEATED: [&str; 3] = ["Ping", "Pong", "AuditDiffers"];
/// An audit of all slots is larger. Of the smaller ones the first is kept.
const AUDIT_BYTES_KEPT: usize = 30_000;

/// Datagrams that are kept.
const DATAGRAMS_KEPT: usize = 8;

/// What each side of each connection wrote, and the first datagrams.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>, Arc<Mutex<Vec<Vec<u8>>>>);

impl Recorder {
    fn wrap(&self, real: Box<dyn ByteStream>) -> Box<dyn ByteStream> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.push(Vec::new());
        Box::new(Recorded { real, recorder: self.clone(), at: written.len() - 1 })
    }
}

struct Recorded {
    real: Box<dyn ByteStream>,
    recorder: Recorder,
    at: usize,
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.real).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.real).poll_write(cx, buf))?;
        let mut all = self.recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[self.at].extend_from_slice(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.real).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.real).poll_shutdown(cx)
    }
}

/// The messages in what one side wrote; one that was not written to its end is left out. None is larger than a frame.
fn messages(mut written: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((header, rest)) = written.split_first_chunk::<4>() {
        let Some((frame, after)) = rest.split_at_checked(u32::from_le_bytes(*header) as usize) else { break };
        assert_eq!(frame[0], 0, "it is whole");
        messages.push(frame[1..].to_vec());
        written = after;
    }
    messages
}

fn framed(message: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(message.len() + 1).expect("small");
    [&bytes.to_le_bytes()[..], &[0], message].concat()
}

/// A message, its kind, and what it means.
fn decoded(bytes: &[u8]) -> (Message<'_>, String, Value) {
    let message = codec::decode(bytes, Version::OLDEST).expect("it was said by a node");
    let json = serde_json::to_value(&message).expect("it can be JSON");
    let kind = match &json {
        Value::Object(kinds) => kinds.keys().next().cloned(),
        alone => alone.as_str().map(str::to_owned),
    };
    (message, kind.expect("each has one"), json)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(&byte) = rest.first() {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        if zeros > 3 {
            write!(text, ".{zeros}.").expect("a string takes it");
            rest = &rest[zeros..];
        } else {
            write!(text, "{byte:02x}").expect("a string takes it");
            rest = &rest[1..];
        }
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, part) in text.split('.').enumerate() {
        if at % 2 == 1 {
            bytes.resize(bytes.len() + part.parse::<usize>().expect("a number"), 0);
        } else {
            let byte = |at: usize| u8::from_str_radix(&part[at..at + 2], 16).expect("hex");
            bytes.extend((0..part.len()).step_by(2).map(byte));
        }
    }
    bytes
}

/// What one side of each connection of the recording said: the bytes of each message, and what it means.
fn recorded() -> Vec<Vec<(Vec<u8>, &'static str)>> {
    let mut sides = Vec::new();
    for line in RECORDED.lines() {
        match line.split_once(' ') {
            None => sides.push(Vec::new()),
            Some(("datagram", _)) => {}
            Some((hex, json)) => sides.last_mut().expect("a connection comes first").push((from_hex(hex), json)),
        }
    }
    sides
}

/// Three nodes say all that is said in calm.
async fn converse() -> Recorder {
    let recorder = Recorder::default();
    let wrapping = recorder.clone();
    let network = TestNetwork::default().wrapping(move |stream| wrapping.wrap(stream));
    let datagrams = recorder.1.clone();
    let network = Arc::new(network.hearing(move |datagram| {
        let mut datagrams = datagrams.lock().unwrap_or_else(PoisonError::into_inner);
        if datagrams.len() < DATAGRAMS_KEPT {
            datagrams.push(datagram.to_vec());
        }
    }));
    let adjust = move |builder: MeshBuilder| {
        let builder = builder.secret(Vec::new()).network(network.clone()).user_index(UserIndex::attribute("user"));
        builder.mode(Mode::PrimaryBackup { backups: 1 })
    };
    let mut cluster = Cluster::start_with(3, adjust).await;
    let session = log_in(&cluster[0], "ada").await;
    let id = session.id();
    // Who does not own it asks.
    let there = load(cluster.stranger(id), id).await;
    there.insert("cart", &[1, 2, 3]).expect("numbers are JSON");
    there.commit().await.expect("calm");
    there.remove("cart");
    there.commit().await.expect("calm");
    there.renew_id().await.expect("calm");
    assert_eq!(cluster[1].sessions_of("ada").await.expect("calm").len(), 1);
    there.move_home().await.expect("calm");
    there.invalidate().await.expect("calm");
    let nobody = SessionId::decode(&id.encode()).expect("it is one");
    assert!(cluster[2].load(nobody).await.expect("calm").is_none());
    drop((session, there));
    cluster.leave("n2").await;
    cluster.settled().await;
    recorder
}

/// The recording of what was said.
fn told(recorder: &Recorder) -> String {
    let mut text = String::new();
    for datagram in recorder.1.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        writeln!(text, "datagram {}", hex(datagram)).expect("a string takes it");
    }
    let mut audited = false;
    for written in recorder.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        text += "connection\n";
        for bytes in messages(written) {
            let (_, kind, json) = decoded(&bytes);
            let most = match &*kind {
                "Audit" if audited || bytes.len() > AUDIT_BYTES_KEPT => continue,
                kind if REPEATED.contains(&kind) => 1,
                _ => KEPT,
            };
            audited |= kind == "Audit";
            let count = kept.entry(kind).or_default();
            *count += 1;
            if *count <= most {
                writeln!(text, "{} {json}", hex(&bytes)).expect("a string takes it");
            }
        }
    }
    text
}

/// That all kinds are there that every conversation has.
fn are_complete<'a>(messages: impl Iterator<Item = &'a [u8]>) {
    let kinds: BTreeSet<String> = messages.map(|bytes| decoded(bytes).1).collect();
    let missing: Vec<_> = KINDS.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "{missing:?} of {kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_join_serve_visitors_and_leave_say_all_that_is_in_a_recording() {
    let recorder = converse().await;
    let told = told(&recorder);
    if let Ok(file) = std::env::var("MESHTEST_RECORD") {
        std::fs::write(file, &told).expect("it can be written");
    }
    let said: Vec<Vec<u8>> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(first, _)| *first != "datagram")
        .map(|(hex, _)| from_hex(hex))
        .collect();
    are_complete(said.iter().map(Vec::as_slice));
}

#[test]
fn every_message_that_was_recorded_means_what_it_meant_and_is_written_the_same() {
    let recorded = recorded();
    for (bytes, json) in recorded.iter().flatten() {
        let (message, _, means) = decoded(bytes);
        assert_eq!(means, serde_json::from_str::<Value>(json).expect("it is JSON"));
        assert_eq!(&encoded(&message), bytes, "{json}");
    }
    are_complete(recorded.iter().flatten().map(|(bytes, _)| bytes.as_slice()));
}

fn hello<'a>(side: &'a [(Vec<u8>, &'static str)]) -> Option<Hello<'a>> {
    match codec::decode_first(&side.first()?.0) {
        Ok(Message::Hello(hello)) => Some(hello),
        _ => None,
    }
}

fn welcome<'a>(side: &'a [(Vec<u8>, &'static str)]) -> Option<Welcome<'a>> {
    match codec::decode_first(&side.first()?.0) {
        Ok(Message::Welcome(welcome)) => Some(welcome),
        _ => None,
    }
}

/// With the number of another life in place of one.
fn of_life(bytes: &[u8], before: u64, now: u64) -> Vec<u8> {
    let at = bytes.windows(8).position(|window| window == before.to_le_bytes()).expect("it says its life");
    [&bytes[..at], &now.to_le_bytes(), &bytes[at + 8..]].concat()
}

async fn next(stream: &mut Box<dyn ByteStream>) -> Vec<u8> {
    let mut header = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut header)).await.expect("it answers").expect("it stays open");
    let mut message = vec![0; u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize - 1];
    stream.read_exact(&mut message).await.expect("it stays open");
    message
}

/// A node of the recorded cluster, alone.
async fn node(name: String, own: impl FnOnce(MeshBuilder) -> MeshBuilder) -> Mesh {
    let recorded = recorded();
    let cluster = recorded.iter().find_map(|side| hello(side)).expect("one begins so").cluster;
    let builder = Mesh::builder().name(name).cluster(cluster).discovery(Discovery::seeds(["127.0.0.1:1".to_owned()]));
    let builder = builder.discovery_window(Duration::from_millis(50)).user_index(UserIndex::attribute("user"));
    own(builder).start().await.expect("it starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_what_was_recorded_as_it_was_answered_then() {
    let recorded = recorded();
    // A link, and the welcome that it got.
    let links = recorded.iter().filter(|side| hello(side).is_some_and(|hello| hello.expects != 0));
    let answer = |hello: &Hello<'_>| {
        let welcomes = recorded.iter().filter_map(|side| Some((welcome(side)?, &side[0].0)));
        let mut to_it =
            welcomes.filter(|(welcome, _)| welcome.incarnation == hello.expects && welcome.counter == hello.counter);
        to_it.next()
    };
    let (link, (welcomed, welcome_bytes)) = links
        .filter_map(|link| Some((link, answer(&hello(link)?)?)))
        .max_by_key(|(link, _)| link.len())
        .expect("the first link of a node is between two that counted nothing yet");
    let mesh = node(welcomed.name.to_owned(), |builder| builder).await;
    let life = mesh.members()[0].incarnation;

    let mut stream = TokioNetwork.connect(mesh.addr()).await.expect("it listens");
    stream.write_all(&framed(&link[0].0)).await.expect("it reads");
    assert_eq!(next(&mut stream).await, of_life(welcome_bytes, welcomed.incarnation, life), "byte by byte");
    // All that was asked there is answered, each in its kind.
    for (bytes, json) in &link[1..] {
        stream.write_all(&framed(bytes)).await.expect("it reads");
        let asked = decoded(bytes).0;
        let fits: Box<dyn Fn(&Message<'_>) -> bool> = match asked {
            Message::Ping(ping) => {
                Box::new(move |answer| matches!(answer, Message::Pong(pong) if pong.sent == ping.sent))
            }
            Message::Batch(batch) => Box::new(move |answer| {
                let items = batch.deltas.len() + batch.tombstones.len();
                matches!(answer, Message::Answers(Answers { seq, codes, .. }) if *seq == batch.seq && codes.len() == items)
            }),
            Message::ReadQuery(_) | Message::UserQuery(_) | Message::Audit(_) => {
                let request = question(&asked);
                Box::new(move |answer| codec::replies_to(&encoded(answer)) == request)
            }
            Message::Bye | Message::Want(_) => continue,
            other => panic!("a dialler does not say {other:?}"),
        };
        let bytes = next(&mut stream).await;
        assert!(fits(&decoded(&bytes).0), "{json} is answered with {}", decoded(&bytes).2);
    }
}

fn question(message: &Message<'_>) -> Option<u64> {
    match message {
        Message::ReadQuery(query) => Some(query.request),
        Message::UserQuery(query) => Some(query.request),
        Message::Audit(audit) => Some(audit.request),
        _ => None,
    }
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    codec::encode(message, Version::OLDEST).expect("it is small")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_dials_as_it_was_dialled_then_and_understands_who_answers_as_then() {
    let recorded = recorded();
    // Who is there? A node that has just started asks.
    let asking = |side: &&Vec<_>| hello(side).is_some_and(|hello| hello.expects == 0 && hello.counter == 0);
    let side = recorded.iter().find(asking).expect("a newcomer asks");
    let asked = hello(side).expect("it begins so");
    let welcomed = recorded.iter().find(|side| welcome(side).is_some()).expect("one was welcomed");
    let (name, welcome_frame) = (welcome(welcomed).map(|welcome| welcome.name.to_owned()), framed(&welcomed[0].0));

    let listener = TokioNetwork.listen("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let (heard, mut first) = tokio::sync::mpsc::channel(1);
    let answering = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.expect("it listens");
            let said = next(&mut stream).await;
            stream.write_all(&welcome_frame).await.expect("it reads");
            open.push(stream);
            let _ = heard.try_send(said);
        }
    });
    let advertise = asked.addr.parse::<std::net::SocketAddr>().expect("an address");
    let seeds = Discovery::seeds([addr.to_string()]);
    let own_name = asked.name.to_owned();
    let starting = tokio::spawn(node(own_name, move |builder| {
        let builder = builder.advertise(Some(advertise)).discovery(seeds);
        builder.discovery_window(Duration::from_secs(1))
    }));
    let said = timeout(PATIENCE, first.recv()).await.expect("it asks").expect("the listener runs");
    let mesh = starting.await.expect("no panic");
    let life = mesh.members()[0].incarnation;
    assert_eq!(said, of_life(&side[0].0, asked.incarnation, life), "byte by byte");
    let member = name.map(Outcome::Member);
    eventually(PATIENCE, || {
        let alone = mesh.alone().ok_or("it sees somebody")?;
        let found = alone.tried.iter().any(|tried| Some(&tried.outcome) == member.as_ref());
        check(found, || format!("it found {alone}"))
    })
    .await;
    answering.abort();
}

/// After the mark of the cluster comes what the gossip library writes: its name, its version, and the kind of message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_gossip_that_was_recorded() {
    const MARK_BYTES: usize = 12;
    let [question, answer] = [[0x53, 0xB0, 0, 0], [0x53, 0xB0, 0, 1]];
    let datagrams = RECORDED.lines().filter_map(|line| line.strip_prefix("datagram ")).map(from_hex);
    let asked = datagrams.into_iter().find(|datagram| datagram[MARK_BYTES..].starts_with(&question)).expect("one asks");
    let mesh = node("answers".to_owned(), |builder| builder).await;
    let socket = TokioNetwork.datagrams(DatagramBind::Unicast("127.0.0.1:0".parse().expect("an address"))).await;
    let socket = socket.expect("a free port");
    socket.send_to(&asked, mesh.addr()).await.expect("it listens");
    let mut space = [0; 65_536];
    let (bytes, _) = timeout(PATIENCE, socket.recv_from(&mut space)).await.expect("it answers").expect("it is there");
    assert_eq!((&space[..MARK_BYTES], &space[MARK_BYTES..][..4]), (&asked[..MARK_BYTES], &answer[..]), "{bytes} bytes");
}
