//! Who has not the secret of a node, and what is not meant for it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use sessionmesh::{Discovery, Mesh, Secret};
use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Hello, MAGIC, Message};
use sessionmesh_core::wire::version::Versions;
use sessionmesh_testkit::cluster::{PATIENCE, unique_name};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::alone::{Alone, Health, SecretFile};
use super::insider::{Insider, key_id};
use crate::SEED;
use crate::sealed::{first_words, socket};
use crate::wire::{closes, framed, throw};

/// Rounds of garbage on links, and on datagrams.
const GARBAGE: usize = 50;

/// The hello of a node called `stranger`.
pub(super) fn hello(cluster: &str, versions: Versions) -> Vec<u8> {
    let hello = Hello {
        magic: MAGIC,
        version_min: versions.oldest(),
        version_max: versions.newest(),
        cluster,
        name: "stranger",
        incarnation: 1,
        addr: "127.0.0.1:9",
        expects: 0,
        counter: 1,
    };
    codec::encode_first(&Message::Hello(hello)).expect("it is small")
}

/// Those of a node of the version before ours.
pub(super) fn before_ours() -> Versions {
    let before = Versions::OURS.oldest() - 1;
    Versions::new(before, before)
}

/// A whole node in this process that is told of the one under attack.
pub(super) async fn meets(alone: &Alone, cluster: &str, secret: Option<Secret>) -> Mesh {
    let seeds = Discovery::seeds([alone.node.replication().to_string()]);
    let builder = Mesh::builder().cluster(cluster).name("other").discovery(seeds).multicast(false);
    let builder = builder.discovery_window(Duration::from_millis(300)).secret(secret.into_iter().collect::<Vec<_>>());
    builder.start().await.expect("a node on a free port of loopback starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_decodes_nothing_of_what_strangers_send_and_counts_each_by_its_reason() {
    let alone = Alone::start(true).await;
    let visitors = alone.visitors();
    let before = alone.health().await;
    assert_eq!(before.decoded, 0, "nobody has talked to it");
    links(&alone).await;
    slow(&alone).await;
    nodes(&alone).await;
    datagrams(&alone).await;
    group(&alone).await;
    let health = alone.health().await;
    println!("FIGURE {health:?}");
    assert_eq!(health.decoded, 0);
    alone.is_well(visitors).await;
}

/// Waits until the attack is counted for its reason, and for no other one.
async fn is_one_of(alone: &Alone, what: &str, reason: &str, before: &Health) {
    let health = alone.refuses(what, &[reason], before).await;
    assert_eq!(health.since(before), [reason], "{what}");
}

/// First words of all kinds on links.
async fn links(alone: &Alone) {
    let mut words = first_words(&hello(&alone.cluster, Versions::OURS));
    let old = framed(&hello(&alone.cluster, before_ours()));
    words.push(("an old version in clear", "not_encrypted", old));
    for (what, reason, bytes) in words {
        let before = alone.health().await;
        throw(alone.dial().await, &bytes, PATIENCE).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        is_one_of(alone, what, reason, &before).await;
    }
    let (mut rng, before) = (StdRng::seed_from_u64(SEED + 10), alone.health().await);
    for round in 0..GARBAGE {
        let mut bytes = vec![0; 1 + 40 * round + 2];
        rng.fill_bytes(&mut bytes);
        // Half of it begins as TLS does.
        if round % 2 == 0 {
            bytes[..3].copy_from_slice(&[0x16, 3, 1]);
        }
        throw(alone.dial().await, &bytes, PATIENCE).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    alone.refuses("garbage", &["not_encrypted", "not_proven"], &before).await;
    // Somebody who knows how the secret is named, and not the secret.
    let before = alone.health().await;
    let secret = alone.secret.as_ref().expect("it has one").bytes;
    let forger = Insider::who_overheard_the_name_of(&secret, &alone.cluster);
    if let Ok(mut stream) = forger.dial(alone.node.replication()).await {
        let _ = stream.write_all(&framed(&hello(&alone.cluster, Versions::OURS))).await;
        closes(&mut stream, PATIENCE).await.expect("it is closed");
    }
    is_one_of(alone, "the name of the secret without the secret", "not_proven", &before).await;
}

/// Handshakes that take too long: silent ones, halves, and one byte after the other.
async fn slow(alone: &Alone) {
    for (what, first, then) in [
        ("silence", &[][..], None),
        ("half a handshake", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], None),
        ("slow bytes", &[0x16, 3, 1, 2, 0, 1, 0], Some(Duration::from_millis(100))),
    ] {
        let before = alone.health().await;
        let mut connections = JoinSet::new();
        for _ in 0..20 {
            let (mut stream, first) = (alone.dial().await, first.to_vec());
            connections.spawn(async move {
                stream.write_all(&first).await.expect("it reads");
                if let Some(pause) = then {
                    let (start, mut ticks) = (Instant::now(), interval(pause));
                    while start.elapsed() < PATIENCE && stream.write_all(&[1]).await.is_ok() {
                        ticks.tick().await;
                    }
                }
                closes(&mut stream, PATIENCE).await.expect("it is cut");
            });
        }
        connections.join_all().await;
        is_one_of(alone, what, "too_slow", &before).await;
    }
}

/// Whole nodes that do not belong.
async fn nodes(alone: &Alone) {
    let secret = alone.secret.as_ref().expect("it has one").secret();
    for (what, cluster, secret, reasons) in [
        ("a wrong secret", alone.cluster.clone(), Some(Secret::generate()), ["no_shared_secret", "unknown_secret"]),
        ("no secret", alone.cluster.clone(), None, ["not_encrypted", "plain_datagram"]),
        ("another cluster with its secret", unique_name(), Some(secret), ["no_shared_secret", "unknown_secret"]),
    ] {
        let before = alone.health().await;
        let other = meets(alone, &cluster, secret).await;
        let health = alone.refuses(what, &reasons, &before).await;
        assert_eq!((health.since(&before), other.members().len()), (reasons.to_vec(), 1), "{what}");
    }
}

/// Datagrams to the node's own port.
async fn datagrams(alone: &Alone) {
    let id = key_id(&alone.secret.as_ref().expect("it has one").bytes, &alone.cluster);
    let sealed = |id: [u8; 8], length: usize| [&b"SMs1"[..], &id, &vec![0x42; length]].concat();
    let socket = socket().await;
    for (what, reason, datagram) in [
        ("an empty datagram", "plain_datagram", Vec::new()),
        ("garbage", "plain_datagram", vec![0xa5; 1_000]),
        ("an oversize datagram", "plain_datagram", vec![0x5a; 60_000]),
        ("a datagram in clear", "plain_datagram", [&b"SMp1"[..], &[7; 300]].concat()),
        ("a beacon of Tomcat", "plain_datagram", tomcat()),
        ("a datagram under another secret", "unknown_secret", sealed([1; 8], 300)),
        ("a forged datagram", "forged", sealed(id, 300)),
        ("a forged datagram of an oversize length", "forged", sealed(id, 60_000)),
    ] {
        let before = alone.health().await;
        socket.send_to(&datagram, alone.node.replication()).await.expect("loopback takes it");
        is_one_of(alone, what, reason, &before).await;
    }
}

/// Datagrams to the multicast group, and clusters that share it.
async fn group(alone: &Alone) {
    let id = key_id(&alone.secret.as_ref().expect("it has one").bytes, &alone.cluster);
    let (mut rng, mut noise) = (StdRng::seed_from_u64(SEED + 11), Vec::new());
    for round in 0..GARBAGE {
        let mut bytes = vec![0; 40 * round];
        rng.fill_bytes(&mut bytes);
        noise.push(bytes);
    }
    for (what, reason, datagrams) in [
        ("beacons of Tomcat", "plain_datagram", vec![tomcat(); GARBAGE]),
        ("noise in the group", "plain_datagram", noise),
        ("beacons in clear", "plain_datagram", vec![b"SMp1\0\0\0\0\0\0\0\0SMB1".to_vec()]),
        ("forged beacons", "forged", vec![[&b"SMs1"[..], &id, &[0x42; 200]].concat()]),
    ] {
        let before = alone.health().await;
        alone.send_to_group(&datagrams).await;
        is_one_of(alone, what, reason, &before).await;
    }
    // Processes as this one, of clusters that differ by their name, by their secret, by both, and by having none.
    let own = alone.secret.as_ref();
    let others = SecretFile::new();
    for (what, cluster, secret, reason) in [
        ("a member of another name", unique_name(), own, "unknown_secret"),
        ("a member of another secret", alone.cluster.clone(), Some(&others), "unknown_secret"),
        ("a member of another name and secret", unique_name(), Some(&others), "unknown_secret"),
        ("a member without a secret", alone.cluster.clone(), None, "plain_datagram"),
    ] {
        let before = alone.health().await;
        let other = Alone::launch("other", &cluster, secret, alone.group, &alone.dir).await;
        is_one_of(alone, what, reason, &before).await;
        other.sees(1).await;
    }
}

/// What a member of a Tomcat cluster says in the same group twice a second (`MemberImpl` of Tribes).
fn tomcat() -> Vec<u8> {
    let mut body = 86_400_000_u64.to_be_bytes().to_vec();
    for port in [4_000_i32, -1, -1] {
        body.extend_from_slice(&port.to_be_bytes());
    }
    // The host with its length; no command, no domain, a unique id, no payload.
    body.extend_from_slice(&[4, 127, 0, 0, 1]);
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&[0x0f; 16]);
    body.extend_from_slice(&[0; 4]);
    let length = u32::try_from(body.len()).expect("it is short");
    [&b"TRIBES-B\x01\x00"[..], &length.to_be_bytes(), &body, b"TRIBES-E\x01\x00"].concat()
}
