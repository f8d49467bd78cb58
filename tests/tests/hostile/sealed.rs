//! Strangers at the ports of a node that has a secret: nothing that they send reaches a decoder.

use std::net::Ipv4Addr;
use std::time::Duration;

use sessionmesh::network::{ByteStream, DatagramBind, Datagrams, Network as _, TokioNetwork};
use sessionmesh::{Discovery, Mesh, Refusals, Secret};
use sessionmesh_core::wire::codec;
use sessionmesh_testkit::cluster::{PATIENCE, check, eventually, unique_name};
use sessionmesh_testkit::observed::{forget_memory_peak, process_kib};
use sessionmesh_testkit::waiting::Turn;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::DEADLINE;
use crate::target::{Target, under_load};
use crate::wire::{closes, framed, throw};

/// A node that nobody talks to but its attackers.
async fn lonely(cluster: &str, secret: Option<Secret>) -> Mesh {
    let nobody = Discovery::seeds(["127.0.0.1:1"]);
    let builder = Mesh::builder().name("alone").cluster(cluster).discovery(nobody);
    let builder = builder.secret(secret.into_iter().collect::<Vec<_>>()).commit_deadline(Duration::from_millis(500));
    let mesh = builder.start().await.expect("a node on a free port of loopback starts");
    timeout(PATIENCE, mesh.ready()).await.expect("alone");
    mesh
}

async fn dial(mesh: &Mesh) -> Box<dyn ByteStream> {
    TokioNetwork.connect(mesh.addr()).await.expect("it listens")
}

pub(crate) async fn socket() -> Box<dyn Datagrams> {
    TokioNetwork.datagrams(DatagramBind::Unicast((Ipv4Addr::LOCALHOST, 0).into())).await.expect("a free port")
}

/// What the attacker sends on a connection, and the reason for which the node refuses it.
pub(crate) fn first_words(hello: &[u8]) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let record = |length: u16, body: &[u8]| [&[0x16, 3, 1][..], &length.to_be_bytes(), body].concat();
    let endless = record(16_384, &[&[1, 0, 0xff, 0xff][..], &[0; 16_380]].concat());
    vec![
        ("plaintext", "not_encrypted", framed(hello)),
        ("garbage", "not_encrypted", vec![0xa5; 3_000]),
        ("zeros", "not_encrypted", vec![0; 3_000]),
        ("an oversize frame", "not_encrypted", [&u32::MAX.to_le_bytes()[..], &[0; 300]].concat()),
        ("HTTP", "not_encrypted", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("an alert", "not_encrypted", vec![0x15, 3, 3, 0, 2, 2, 40]),
        ("a TLS record of garbage", "not_proven", record(600, &[0x5a; 600])),
        ("a TLS record of an oversize length", "not_proven", record(u16::MAX, &[1; 9_000])),
        ("a first message that is too long", "too_long", endless),
    ]
}

/// How often this was refused.
fn refused(refusals: &Refusals, reason: &str) -> u64 {
    refusals.by_reason().into_iter().find(|(name, _)| *name == reason).expect("a reason").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strangers_send_no_byte_of_it_is_decoded() {
    let _turn = Turn::in_this_process().await;
    let (name, secret) = (unique_name(), Secret::generate());
    let mesh = lonely(&name, Some(secret)).await;
    forget_memory_peak();
    let before_kib = process_kib("VmRSS");
    // A hello as a node of the cluster without a secret says it.
    let target = Target::new().await;
    let hello = codec::encode_first(&target.hello()).expect("it is small");
    for (what, reason, bytes) in first_words(&hello) {
        let before = refused(&mesh.stats().refusals, reason);
        throw(dial(&mesh).await, &bytes, PATIENCE).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        eventually(PATIENCE, || {
            let after = mesh.stats().refusals;
            check(refused(&after, reason) > before, || format!("{what} was not counted as {reason}: {after:?}"))
        })
        .await;
    }
    // Nodes with another secret, without one, and of another cluster with the same one.
    let seed = || Discovery::seeds([mesh.addr().to_string()]);
    for (number, other) in [Some(Secret::generate()), None].into_iter().enumerate() {
        let secret: Vec<Secret> = other.into_iter().collect();
        let builder = Mesh::builder().name(format!("evil{number}")).cluster(name.as_str()).discovery(seed());
        let evil = builder.secret(secret).start().await.expect("it starts");
        timeout(PATIENCE, evil.ready()).await.expect("alone");
        assert_eq!((evil.members().len(), mesh.members().len()), (1, 1));
    }
    // Datagrams.
    let socket = socket().await;
    for length in [0, 1, 4, 11, 12, 40, 80, 81, 82, 1_200, 9_000, 65_000] {
        for mark in [&b""[..], b"SMp1", b"SMs1", b"TRIBES-B\x01\x00", b"SMB1"] {
            let mut datagram = mark.to_vec();
            datagram.resize(length.max(mark.len()), 0x42);
            socket.send_to(&datagram, mesh.addr()).await.expect("loopback takes it");
        }
    }
    eventually(PATIENCE, || {
        let refusals = mesh.stats().refusals;
        let seen =
            [refusals.plain_datagram, refusals.unknown_secret, refusals.no_shared_secret, refusals.not_encrypted];
        check(seen.iter().all(|count| *count > 0), || format!("{refusals:?}"))
    })
    .await;
    let stats = mesh.stats();
    println!("FIGURE {:?}", stats.refusals);
    assert_eq!(stats.bytes_decoded, 0, "bytes of strangers that reached a decoder");
    let grown = process_kib("VmHWM").saturating_sub(before_kib) / 1024;
    assert!(grown < 64, "memory grew by {grown} MiB");
}

/// Never proves anything, and waits until the connection is closed.
pub(crate) async fn half_open(mut stream: Box<dyn ByteStream>, number: u32) {
    // Silence; the beginning of a handshake; a byte now and then.
    if number % 3 == 1 {
        let _ = stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
    } else if number % 3 == 2 {
        let (start, mut ticks) = (Instant::now(), interval(Duration::from_millis(200)));
        while start.elapsed() < DEADLINE * 2 && stream.write_all(&[0x16]).await.is_ok() {
            ticks.tick().await;
        }
    }
    closes(&mut stream, PATIENCE).await.unwrap_or_else(|error| panic!("connection {number}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_half_open_and_slow_handshakes_leave_visitors_alone() {
    let _turn = Turn::in_this_process().await;
    let target = Target::with_secret().await;
    let before = process_kib("VmRSS");
    forget_memory_peak();
    under_load(&target, async {
        for _ in 0..3 {
            let mut connections = JoinSet::new();
            for number in 0..600 {
                // One after the other: what does not fit into its queue the system drops, and tells neither side.
                connections.spawn(half_open(target.dial().await, number));
            }
            connections.join_all().await;
        }
    })
    .await;
    let refusals = target.node().stats().refusals;
    println!("FIGURE {refusals:?}");
    assert!(refusals.too_many_unproven + refusals.too_often > 1_000, "{refusals:?}");
    let grown = process_kib("VmHWM").saturating_sub(before) / 1024;
    println!("FIGURE memory grew by {grown} MiB at most");
    assert!(grown < 64, "memory grew by {grown} MiB");
    target.is_well(64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_with_different_secrets_or_names_in_one_multicast_group_never_see_each_other() {
    let _turn = Turn::in_this_process().await;
    let [one, other] = [Secret::generate(), Secret::generate()];
    let name = unique_name();
    let port = 20_000 + u16::try_from(std::process::id() % 20_000).expect("it is small");
    let clusters = [(name.clone(), &one), (name.clone(), &other), (unique_name(), &one)];
    let mut nodes = Vec::new();
    for (cluster, secret) in &clusters {
        for node in ["a", "b"] {
            let builder = Mesh::builder().name(node).cluster(cluster.as_str()).multicast(true).multicast_port(port);
            let builder = builder.multicast_interface(Ipv4Addr::LOCALHOST).secret((*secret).clone());
            nodes.push(builder.start().await.expect("it starts"));
        }
    }
    eventually(PATIENCE, || {
        nodes.iter().try_for_each(|node| {
            let members = node.members().len();
            check(members == 2 && node.is_ready(), || format!("a node of {} sees {members}", node.config().cluster))
        })
    })
    .await;
    // They have heard each other's beacons, and refused them.
    eventually(PATIENCE, || {
        nodes.iter().try_for_each(|node| {
            let refused = node.stats().refusals.unknown_secret;
            check(refused > 3, || format!("{refused} beacons were refused"))
        })
    })
    .await;
    for node in &nodes {
        assert_eq!(node.members().len(), 2, "of {}", node.config().cluster);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_conversation_that_is_sent_again_changes_nothing() {
    let _turn = Turn::in_this_process().await;
    let target = Target::with_secret().await;
    let recorded = target.gossip(100).await;
    let socket = socket().await;
    let before = target.node().stats();
    for datagram in recorded.iter().cycle().take(2_000) {
        for node in target.cluster.nodes() {
            socket.send_to(datagram, node.addr()).await.expect("loopback takes it");
        }
    }
    eventually(PATIENCE, || {
        let refused = target.node().stats().refusals.replayed - before.refusals.replayed;
        check(refused > 100, || format!("{refused} replayed datagrams were refused"))
    })
    .await;
    assert_eq!(target.node().stats().suspicions, before.suspicions);
    target.is_well(64).await;
}
