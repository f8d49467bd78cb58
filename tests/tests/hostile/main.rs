//! Strangers at the ports of a node: nothing they send stops it, makes it panic or takes its memory.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use sessionmesh::network::{BoxFuture, ByteStream, DatagramBind, Datagrams, Listener, Network, TokioNetwork};
use sessionmesh::{Mesh, ModeName, SessionId, UserIndex};
use sessionmesh_core::codec;
use sessionmesh_core::delta::{Delta, SlotTombstones, WireEnd};
use sessionmesh_core::message::{
    Ask, AskUser, Audit, Batch, ExpireAsk, ExpireItem, Hello, MAGIC, Message, Ping, Refused, ToldUser, VERSION_MAX,
    VERSION_MIN, Want,
};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::session::{DIGEST_VERSION, IdleLimit, Record, Session};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::users::UserKey;
use sessionmesh_tests::busy::Lag;
use sessionmesh_tests::cluster::{Cluster, PATIENCE, PanicCounter, eventually, forget_memory_peak, process_kib};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

static PANICS: LazyLock<PanicCounter> = LazyLock::new(PanicCounter::install);
/// One attack at a time, so that each can be told from the others.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Commits that must not fail beside 20 MiB of nonsense, on a machine that is busy with other things as well.
const DEADLINE: Duration = Duration::from_secs(3);
const SEED: u64 = 0x5e55_1031;

/// Two nodes under observation.
struct Target {
    cluster: Cluster,
    name: String,
    ids: Vec<SessionId>,
    memory_kib: u64,
    panics: usize,
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Target {
    async fn new() -> Self {
        LazyLock::force(&PANICS);
        let datagrams = Arc::new(Mutex::new(Vec::new()));
        let network = Arc::new(Listening { datagrams: datagrams.clone() });
        let name = sessionmesh_tests::cluster::unique_name();
        let cluster_name = name.clone();
        let adjust = move |builder: sessionmesh::MeshBuilder| {
            let builder = builder.user_index(UserIndex::attribute("user")).network(network.clone());
            let builder = builder.commit_deadline(DEADLINE).read_deadline(DEADLINE);
            builder.mode(ModeName::PrimaryBackup).cluster(cluster_name.as_str())
        };
        let cluster = Cluster::start_with(2, adjust).await;
        let ids = sessionmesh_tests::cluster::create_sessions(&cluster[0], 20).await;
        let panics = PANICS.places().len();
        forget_memory_peak();
        Self { cluster, name, ids, memory_kib: process_kib("VmRSS"), panics, datagrams }
    }

    fn node(&self) -> &Mesh {
        &self.cluster[0]
    }

    async fn dial(&self) -> Box<dyn ByteStream> {
        TokioNetwork.connect(self.node().addr()).await.expect("it listens")
    }

    /// A connection that shook hands as a node called `evil` that nobody knows.
    async fn inside(&self) -> Box<dyn ByteStream> {
        let mut stream = self.dial().await;
        send(&mut stream, &self.hello()).await.expect("it reads");
        let answer = receive(&mut stream).await.expect("it answers").expect("it welcomes");
        assert!(matches!(codec::decode(&answer), Ok(Message::Welcome(_))));
        stream
    }

    fn hello(&self) -> Message<'_> {
        Message::Hello(Hello {
            magic: MAGIC,
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            digest_version: DIGEST_VERSION,
            cluster: &self.name,
            name: "evil",
            incarnation: 1,
            addr: "127.0.0.1:9",
            expects: 0,
            counter: 1,
        })
    }

    /// Both nodes serve, see each other, and did not panic; memory grew by less than `mib_max`.
    async fn is_well(&self, mib_max: u64) {
        self.cluster.settled().await;
        for id in &self.ids {
            for node in self.cluster.nodes() {
                let session = node.load(*id).await.expect("it serves").expect("it was committed");
                session.insert("again", &true).expect("a truth is JSON");
                session.commit().await.expect("it serves");
            }
        }
        self.kept_calm(mib_max);
    }

    /// At least `count` datagrams that the nodes received.
    async fn gossip(&self, count: usize) -> Vec<Vec<u8>> {
        let copies = || self.datagrams.lock().expect("no panic").clone();
        eventually(Duration::from_secs(10), || {
            let copies = copies();
            if copies.len() >= count { Ok(copies) } else { Err("too little gossip".to_owned()) }
        })
        .await
    }

    /// Nothing panicked, and memory grew by less than `mib_max`.
    fn kept_calm(&self, mib_max: u64) {
        let places = PANICS.places();
        let (own, foreign): (Vec<_>, Vec<_>) =
            places[self.panics..].iter().partition(|place| place.contains("sessionmesh") || place.contains("crates/"));
        assert!(own.is_empty(), "panics at {own:?}");
        let grown = process_kib("VmHWM").saturating_sub(self.memory_kib) / 1024;
        println!("FIGURE memory grew by {grown} MiB at most; {} panics in other crates {foreign:?}", foreign.len());
        assert!(grown <= mib_max, "memory grew by {grown} MiB, {mib_max} are allowed");
    }
}

/// Runs load on both nodes beside `attack`; not one request may fail.
async fn under_load<T>(target: &Target, attack: impl Future<Output = T>) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for node in target.cluster.nodes() {
        let (node, ids, stop) = (node.clone(), target.ids.clone(), stop.clone());
        clients.spawn(async move {
            let mut served = 0_usize;
            let mut ticks = interval(Duration::from_millis(2));
            while !stop.load(Ordering::Acquire) {
                ticks.tick().await;
                let id = ids[served % ids.len()];
                let session = node.load(id).await.expect("it serves").expect("it was committed");
                session.insert("served", &served).expect("a number is JSON");
                session.commit().await.expect("it serves");
                served += 1;
            }
            served
        });
    }
    let result = attack.await;
    stop.store(true, Ordering::Release);
    let served: usize = clients.join_all().await.into_iter().sum();
    println!("FIGURE {served} requests served beside it");
    result
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("small");
    [&length.to_le_bytes()[..], &[0], payload].concat()
}

async fn send(stream: &mut Box<dyn ByteStream>, message: &Message<'_>) -> io::Result<()> {
    stream.write_all(&framed(&codec::encode(message).expect("it is small"))).await
}

/// The next message of at most one frame; `None` when the node has closed the connection.
async fn receive(stream: &mut Box<dyn ByteStream>) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; 5];
    match stream.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => drop(read?),
    }
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let mut payload = vec![0; length - 1];
    stream.read_exact(&mut payload).await?;
    Ok(Some(payload))
}

/// Waits until the node closes the connection, whatever it says before.
async fn closes(stream: &mut Box<dyn ByteStream>, within: Duration) -> Result<Duration, String> {
    let start = Instant::now();
    let mut space = [0; 4096];
    loop {
        match timeout(within.saturating_sub(start.elapsed()), stream.read(&mut space)).await {
            Ok(Ok(0) | Err(_)) => return Ok(start.elapsed()),
            Ok(Ok(_)) => {}
            Err(_) => return Err(format!("still open after {within:?}")),
        }
    }
}

/// One valid message of each kind that a dialler may send, except those that act for another node.
fn valid_messages(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    let id = SessionId::from_bytes(bytes);
    rng.fill_bytes(&mut bytes);
    let other = SessionId::from_bytes(bytes);
    let stamp = Stamp { counter: rng.random_range(1..1_000), node: 7 };
    let mut session = Session::new(1, IdleLimit { stamp, ms: 60_000 });
    for key in ["a", "bb", "ccc"] {
        let value = Some(Arc::from(&[7_u8; 100][..]));
        session.put(sessionmesh_core::session::Attribute { key: Arc::from(key), value, stamp });
    }
    let record = Record::new(session, Moment::START);
    let delta = Delta::since(id, &record, Stamp::ZERO, Moment::START.plus_ms(5));
    let item = ExpireItem { id, revision: stamp, age_ms: 1_000_000 };
    let of_slot = |number| {
        let end = WireEnd { stamp, successor: None, retention_ms: u64::MAX, age_ms: 5 };
        SlotTombstones { slot: number, digest: 9, ended: vec![(other, end); 3] }
    };
    let slots = (0..64).map(|slot| (slot, rng.random(), rng.random())).collect();
    [
        Message::Batch(Batch {
            seq: 1,
            counter: 7,
            deltas: vec![delta],
            tombstones: vec![of_slot(other.slot().number().into()), of_slot(u32::MAX)],
        }),
        Message::Ping(Ping { sent: 5, view: rng.random(), counter: 7, leaving: false }),
        Message::Ask(Ask { request: 1, id, digest: 0, access: true }),
        Message::ExpireAsk(ExpireAsk { request: 2, items: vec![item; 3] }),
        Message::Audit(Audit { request: 3, view: rng.random(), slots }),
        Message::Want(Want { ids: vec![id; 10], tombstones: vec![0, 4095, u16::MAX] }),
        Message::AskUser(AskUser { request: 4, rule: rng.random(), user: UserKey::of("ada"), after: Some(id) }),
    ]
    .iter()
    .map(|message| codec::encode(message).expect("it is small"))
    .collect()
}

/// Flips, cuts, doubles or overwrites some of it.
fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..6) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_within(at..),
            3 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            4 => {
                // A length or a counter, perhaps.
                let end = bytes.len().min(at + 8);
                bytes[at..end].fill([0, 0xff][rng.random_range(0..2)]);
            }
            _ => drop(bytes.drain(at..bytes.len().min(at + 3))),
        }
    }
}

/// Sends `bytes`, says nothing more, and waits until the node has closed the connection.
async fn throw(mut stream: Box<dyn ByteStream>, bytes: &[u8], within: Duration) -> Result<Duration, String> {
    // The node may close it before all was written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    closes(&mut stream, within).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_are_closed_out() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    under_load(&target, async {
        let mut rng = StdRng::seed_from_u64(SEED);
        for round in 0..500 {
            let mut bytes = vec![0; rng.random_range(1..6_000)];
            rng.fill_bytes(&mut bytes);
            if round % 2 == 0 {
                bytes = framed(&bytes);
            }
            let (stream, inside) = match round % 4 {
                0 | 1 => (target.dial().await, false),
                _ => (target.inside().await, true),
            };
            let closed = throw(stream, &bytes, PATIENCE).await;
            closed.unwrap_or_else(|error| panic!("round {round}, inside {inside}: {error}"));
        }
    })
    .await;
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_messages_are_answered_or_closed_out() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    under_load(&target, async {
        let mut rng = StdRng::seed_from_u64(SEED + 1);
        for round in 0..600 {
            let mut hello = codec::encode(&target.hello()).expect("it is small");
            if round % 3 == 0 {
                mutate(&mut rng, &mut hello);
                let closed = throw(target.dial().await, &framed(&hello), PATIENCE).await;
                closed.unwrap_or_else(|error| panic!("hello of round {round}: {error}"));
                continue;
            }
            let stream = target.inside().await;
            let mut bytes = Vec::new();
            for mut message in valid_messages(&mut rng) {
                if rng.random_bool(0.5) {
                    mutate(&mut rng, &mut message);
                }
                bytes.extend(framed(&message));
            }
            if round % 3 == 1 {
                mutate(&mut rng, &mut bytes);
            }
            let closed = throw(stream, &bytes, PATIENCE).await;
            closed.unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    })
    .await;
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_lengths_take_no_memory() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    under_load(&target, async {
        for length in [0_u32, 0x4_0002, 1 << 24, u32::MAX / 2, u32::MAX] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend([0; 64]);
            for (mut stream, place) in [(target.dial().await, "outside"), (target.inside().await, "inside")] {
                stream.write_all(&bytes).await.expect("it reads");
                // It need not wait for the rest to know, nor for the end of the handshake, which comes after two deadlines.
                let closed = closes(&mut stream, DEADLINE).await;
                closed.unwrap_or_else(|error| panic!("a frame of {length} bytes, {place}: {error}"));
            }
        }
        // A hello in many frames, and a message without an end.
        let frame = [&(0x4_0001_u32.to_le_bytes())[..], &[1], &vec![0; 0x4_0000]].concat();
        let mut outside = target.dial().await;
        let _ = outside.write_all(&frame).await;
        closes(&mut outside, DEADLINE).await.expect("a hello is short");
        let mut attackers = JoinSet::new();
        for _ in 0..4 {
            let (mut stream, frame) = (target.inside().await, frame.clone());
            attackers.spawn(async move {
                let mut sent = 0_usize;
                while stream.write_all(&frame).await.is_ok() {
                    sent += frame.len();
                    assert!(sent < 64 << 20, "it takes a message of any length");
                }
                sent
            });
        }
        let sent = attackers.join_all().await;
        println!("FIGURE an endless message was cut after {sent:?} bytes, with what the sockets took");
        // A collection that claims to be huge, in a message that is small.
        for at in 4..40 {
            let mut message =
                codec::encode(&Message::Want(Want { ids: Vec::new(), tombstones: Vec::new() })).expect("it is small");
            message.resize(64, 0);
            message[at..at + 8].copy_from_slice(&(u64::MAX >> (at % 20)).to_le_bytes());
            throw(target.inside().await, &framed(&message), PATIENCE).await.expect("malformed");
        }
    })
    .await;
    target.is_well(160).await;
}

/// One frame on each of many connections never ends; and many messages that are long, by the same stranger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_messages_on_many_connections_take_little_memory_in_all() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    under_load(&target, async {
        let frame = Arc::new([&(0x4_0001_u32.to_le_bytes())[..], &[1], &vec![7; 0x4_0000]].concat());
        let mut strangers = JoinSet::new();
        for number in 0..400 {
            // Most have said who they are; some have not, and must say it in few bytes.
            let mut stream = if number % 4 == 0 { target.dial().await } else { target.inside().await };
            let frame = frame.clone();
            strangers.spawn(async move {
                // Nobody reads all of it.
                let _ = timeout(DEADLINE * 4, stream.write_all(&frame[..frame.len() - 1])).await;
                stream
            });
        }
        drop(strangers.join_all().await);
    })
    .await;
    target.is_well(40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_and_slow_handshakes_end_after_two_deadlines() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    under_load(&target, async {
        let hello = framed(&codec::encode(&target.hello()).expect("it is small"));
        let mut connections = JoinSet::new();
        for number in 0..300 {
            let mut stream = target.dial().await;
            let hello = hello.clone();
            connections.spawn(async move {
                let (start, lag) = (Instant::now(), Lag::watch());
                if number % 3 == 0 {
                    // A part of it, and no more.
                    stream.write_all(&hello[..number % hello.len()]).await.expect("it reads");
                } else if number % 3 == 1 {
                    // A byte now and then, as slow as it takes to last for seconds.
                    let mut ticks = interval(Duration::from_millis(200));
                    for byte in hello {
                        ticks.tick().await;
                        if stream.write_all(&[byte]).await.is_err() || start.elapsed() > DEADLINE * 3 {
                            break;
                        }
                    }
                }
                closes(&mut stream, PATIENCE).await.unwrap_or_else(|error| panic!("connection {number}: {error}"));
                lag.take_off(start.elapsed())
            });
        }
        let slowest = connections.join_all().await.into_iter().max().expect("300");
        println!("FIGURE 300 half or slow handshakes were over after {slowest:?}");
        assert!(slowest < DEADLINE * 3, "{slowest:?}");
    })
    .await;
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_belong_is_refused_and_told_why() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    let refused = async |change: &dyn Fn(&mut Hello<'_>)| {
        let Message::Hello(mut hello) = target.hello() else { unreachable!("it is a hello") };
        change(&mut hello);
        let mut stream = target.dial().await;
        send(&mut stream, &Message::Hello(hello)).await.expect("it reads");
        let answer = timeout(PATIENCE, receive(&mut stream)).await.expect("at once").expect("no reset");
        let why = answer.map(|bytes| match codec::decode(&bytes) {
            Ok(Message::Refused(why)) => why,
            other => panic!("{other:?}"),
        });
        closes(&mut stream, PATIENCE).await.expect("it is closed");
        why
    };
    assert_eq!(refused(&|hello| hello.cluster = "another").await, Some(Refused::Cluster));
    let version = Some(Refused::Version { min: VERSION_MIN, max: VERSION_MAX });
    let newer = |hello: &mut Hello<'_>| (hello.version_min, hello.version_max) = (VERSION_MAX + 1, VERSION_MAX + 9);
    assert_eq!(refused(&newer).await, version);
    assert_eq!(refused(&|hello| (hello.version_min, hello.version_max) = (0, 0)).await, version);
    let digest = Some(Refused::Digest { version: DIGEST_VERSION });
    assert_eq!(refused(&|hello| hello.digest_version = DIGEST_VERSION + 1).await, digest);
    assert_eq!(refused(&|hello| hello.magic = 0x4141_4141).await, None, "who speaks another protocol is told nothing");
    let stale = refused(&|hello| (hello.name, hello.incarnation, hello.expects) = ("n1", 0, 1)).await;
    assert!(matches!(stale, Some(Refused::Stale { .. })), "{stale:?}");
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_told_no_ids_of_the_sessions_of_a_user() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    let session = target.node().create().await.expect("far from full");
    session.insert("user", "ada").expect("text is JSON");
    session.commit().await.expect("calm");
    let rule = UserIndex::attribute("user").fingerprint();
    let mut stream = target.inside().await;
    let ask = AskUser { request: 1, rule, user: UserKey::of("ada"), after: None };
    send(&mut stream, &Message::AskUser(ask)).await.expect("it reads");
    let answer = timeout(PATIENCE, receive(&mut stream)).await.expect("at once").expect("no reset").expect("an answer");
    let Ok(Message::ToldUser(told)) = codec::decode(&answer) else { panic!("another answer") };
    assert_eq!((told.current, told.ids, told.more), (false, Vec::new(), false));
    for node in target.cluster.nodes() {
        assert_eq!(node.sessions_of("ada").await.expect("calm").len(), 1, "members are told");
    }
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialler_that_sends_what_only_listeners_send_is_closed_out() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    let answers = sessionmesh_core::message::Answers { seq: 1, counter: 1, view: 1, codes: vec![0; 10] };
    let told = ToldUser { request: 1, view: 1, counter: 1, current: true, ids: Vec::new(), more: true };
    let messages = [Message::Answers(answers), Message::ToldUser(told), target.hello()];
    for message in messages.into_iter().chain([Message::Refused(Refused::Cluster)]) {
        let mut stream = target.inside().await;
        send(&mut stream, &message).await.expect("it reads");
        closes(&mut stream, PATIENCE).await.expect("it is closed");
    }
    // A stranger may say goodbye.
    let mut stream = target.inside().await;
    send(&mut stream, &Message::Bye).await.expect("it reads");
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_at_their_end_do_not_stop_writing() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    for counter in [u64::MAX, u64::MAX - 1, u64::MAX / 2] {
        let mut stream = target.inside().await;
        send(&mut stream, &Message::Ping(Ping { sent: 0, view: 0, counter, leaving: true })).await.expect("it reads");
        let _ = timeout(DEADLINE, receive(&mut stream)).await;
        send(
            &mut stream,
            &Message::Batch(Batch { seq: u64::MAX, counter, deltas: Vec::new(), tombstones: Vec::new() }),
        )
        .await
        .expect("it reads");
        let _ = timeout(DEADLINE, receive(&mut stream)).await;
        let Message::Hello(hello) = target.hello() else { unreachable!("it is a hello") };
        let mut stream = target.dial().await;
        send(&mut stream, &Message::Hello(Hello { counter, ..hello })).await.expect("it reads");
        let _ = timeout(DEADLINE, receive(&mut stream)).await;
    }
    for step in 0..20_usize {
        for (node, id) in target.cluster.nodes().iter().flat_map(|node| target.ids.iter().map(move |id| (node, *id))) {
            let session = node.load(id).await.expect("it serves").expect("it was committed");
            let value = format!("{step} on {}", node.name());
            session.insert("step", &value).expect("text is JSON");
            session.commit().await.expect("it serves");
            let again = node.load(id).await.expect("it serves").expect("it was committed");
            assert_eq!(again.get::<String>("step").expect("text"), Some(value), "a write that was confirmed counts");
        }
    }
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_of_strangers_do_not_end_the_gossip() {
    let _turn = TURN.lock().await;
    let mut target = Target::new().await;
    let other = Target::new().await;
    under_load(&target, async {
        let foreign = other.gossip(20).await;
        datagrams(&target, SEED + 2, |rng| match rng.random_range(0..3) {
            // Of another cluster, or noise, or nothing.
            0 => foreign[rng.random_range(0..foreign.len())].clone(),
            1 => {
                let mut bytes = vec![0; rng.random_range(0..2_000)];
                rng.fill_bytes(&mut bytes);
                bytes
            }
            _ => Vec::new(),
        })
        .await;
    })
    .await;
    // A newcomer is heard of, by gossip alone.
    target.cluster.join("late").await;
    target.is_well(64).await;
}

/// Without a secret, what looks like gossip is believed, so nothing is promised of the view here; see DESIGN section 8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_gossip_neither_panics_nor_takes_memory() {
    let _turn = TURN.lock().await;
    let target = Target::new().await;
    let corpus = target.gossip(40).await;
    datagrams(&target, SEED + 3, |rng| {
        let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
        mutate(rng, &mut bytes);
        bytes.truncate(60_000);
        bytes
    })
    .await;
    for node in target.cluster.nodes() {
        let session = node.create().await.expect("far from full");
        let (start, lag) = (Instant::now(), Lag::watch());
        let commit = session.commit().await;
        let took = lag.take_off(start.elapsed());
        assert!(took < DEADLINE * 2, "{commit:?} after {took:?}");
    }
    target.kept_calm(64);
}

/// Sends 4,000 datagrams to each node.
async fn datagrams(target: &Target, seed: u64, mut next: impl FnMut(&mut StdRng) -> Vec<u8>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = TokioNetwork.datagrams(DatagramBind::Unicast(loopback)).await.expect("a free port");
    let mut ticks = interval(Duration::from_millis(1));
    for round in 0..4_000 {
        let bytes = next(&mut rng);
        for node in target.cluster.nodes() {
            // The system may refuse one that is too many.
            let _ = socket.send_to(&bytes, node.addr()).await;
        }
        if round % 4 == 0 {
            ticks.tick().await;
        }
    }
}

/// The real network, with a copy of each datagram that comes, so that the test has gossip to change.
#[derive(Debug)]
struct Listening {
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Network for Listening {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        TokioNetwork.connect(to)
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        TokioNetwork.listen(at)
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let real = TokioNetwork.datagrams(bind).await?;
            Ok(Box::new(Copying { real, copies: self.datagrams.clone() }) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { TokioNetwork.resolve(&host).await })
    }
}

#[derive(Debug)]
struct Copying {
    real: Box<dyn Datagrams>,
    copies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Datagrams for Copying {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        self.real.send_to(bytes, to)
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            let (bytes, from) = self.real.recv_from(buffer).await?;
            let mut copies = self.copies.lock().expect("no panic");
            if copies.len() < 200 {
                copies.push(buffer[..bytes].to_vec());
            }
            Ok((bytes, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real.local_addr()
    }
}
