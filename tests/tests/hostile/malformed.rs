//! Bytes that are no messages, and messages that were changed.

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use sessionmesh_core::wire::codec;
use sessionmesh_testkit::cluster::PATIENCE;
use sessionmesh_testkit::waiting::Turn;

use crate::SEED;
use crate::mutation::{mutate, valid_messages};
use crate::target::{Target, under_load};
use crate::wire::{framed, throw};

/// A host that opens more than 512 connections at once is slowed down, whatever it says on them.
const CONNECTIONS: usize = 480;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_are_closed_out() {
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    under_load(&target, async {
        let mut rng = StdRng::seed_from_u64(SEED);
        for round in 0..CONNECTIONS {
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
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    under_load(&target, async {
        let mut rng = StdRng::seed_from_u64(SEED + 1);
        for round in 0..CONNECTIONS {
            let mut hello = codec::encode_first(&target.hello()).expect("it is small");
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
