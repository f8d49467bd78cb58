//! Handshakes that do not end, and such of those who do not belong.

use std::time::Duration;

use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Hello, Message, Refused};
use sessionmesh_core::wire::version::Versions;
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::cluster::PATIENCE;
use sessionmesh_testkit::waiting::Turn;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::DEADLINE;
use crate::target::{Target, under_load};
use crate::wire::{closes, framed, receive, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_and_slow_handshakes_end_after_two_deadlines() {
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    under_load(&target, async {
        let hello = framed(&codec::encode_first(&target.hello()).expect("it is small"));
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
    let _turn = Turn::in_this_process().await;
    let target = Target::new().await;
    let refused = async |change: &dyn Fn(&mut Hello<'_>)| {
        let Message::Hello(mut hello) = target.hello() else { unreachable!("it is a hello") };
        change(&mut hello);
        let mut stream = target.dial().await;
        send(&mut stream, &Message::Hello(hello)).await.expect("it reads");
        let answer = timeout(PATIENCE, receive(&mut stream)).await.expect("at once").expect("no reset");
        let why = answer.map(|bytes| match codec::decode_first(&bytes) {
            Ok(Message::Refused(why)) => why,
            other => panic!("{other:?}"),
        });
        closes(&mut stream, PATIENCE).await.expect("it is closed");
        why
    };
    assert_eq!(refused(&|hello| hello.cluster = "another").await, Some(Refused::Cluster));
    let (oldest, newest) = (Versions::OURS.oldest(), Versions::OURS.newest());
    let version = Some(Refused::Version { min: oldest, max: newest });
    let newer = |hello: &mut Hello<'_>| (hello.version_min, hello.version_max) = (newest + 1, newest + 9);
    assert_eq!(refused(&newer).await, version);
    assert_eq!(refused(&|hello| (hello.version_min, hello.version_max) = (0, 0)).await, version);
    assert_eq!(refused(&|hello| hello.magic = 0x4141_4141).await, None, "who speaks another protocol is told nothing");
    let stale = refused(&|hello| (hello.name, hello.incarnation, hello.expects) = ("n1", 0, 1)).await;
    assert!(matches!(stale, Some(Refused::Stale { .. })), "{stale:?}");
    target.is_well(64).await;
}
