//! Messages that are long, say that they are, or never end.

use std::sync::Arc;

use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Message, Want};
use sessionmesh_testkit::cluster::PATIENCE;
use sessionmesh_testkit::waiting::Turn;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::DEADLINE;
use crate::target::{Target, under_load};
use crate::wire::{closes, framed, throw};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_lengths_take_no_memory() {
    let _turn = Turn::in_this_process().await;
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
            let mut message = codec::encode_first(&Message::Want(Want { ids: Vec::new(), tombstones: Vec::new() }))
                .expect("it is small");
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
    let _turn = Turn::in_this_process().await;
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
