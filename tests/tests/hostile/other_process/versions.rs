//! Nodes of another version of the protocol.

use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Message, Refused};
use sessionmesh_core::wire::version::Versions;
use sessionmesh_testkit::cluster::{PATIENCE, check, eventually};
use tokio::time::timeout;

use super::alone::Alone;
use super::insider::Insider;
use super::strangers::{before_ours, hello};
use crate::wire::{closes, framed, receive};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_secret_and_an_old_version_is_refused_with_both_ranges() {
    let alone = Alone::start(true).await;
    let insider = Insider::new(&alone.secret.as_ref().expect("it has one").bytes, &alone.cluster);
    let mut decoded = 0;
    let (ours, old) = (Versions::OURS, before_ours());
    let later = Versions::new(ours.newest() + 1, ours.newest() + 2);
    for (refused, versions) in (1..).zip([old, Versions::new(0, 0), later]) {
        let mut link = insider.dial(alone.node.replication()).await.expect("it has the secret");
        let hello = hello(&alone.cluster, versions);
        tokio::io::AsyncWriteExt::write_all(&mut link, &framed(&hello)).await.expect("it reads");
        let answer = timeout(PATIENCE, receive(&mut link)).await.expect("at once").expect("no reset").expect("why");
        let both = Message::Refused(Refused::Version { min: ours.oldest(), max: ours.newest() });
        assert_eq!(codec::decode_first(&answer).expect("a message"), both);
        closes(&mut link, PATIENCE).await.expect("it is closed");
        // Who has proved that it belongs is heard, but no further than that.
        decoded += hello.len() as u64;
        let health = alone.health().await;
        let counted = (health.refused("other_version"), health.refused.len());
        assert_eq!((health.decoded, health.members, counted), (decoded, 1, (refused, 1)), "{health:?}");
    }
    let says = format!("it speaks version {old} of the protocol, this node {ours}");
    eventually(PATIENCE, || check(alone.log().contains(&says), || alone.log())).await;
    // The same insider with a version that both have is welcome: it was the version that was refused.
    let mut link = insider.dial(alone.node.replication()).await.expect("it has the secret");
    let hello = hello(&alone.cluster, ours);
    tokio::io::AsyncWriteExt::write_all(&mut link, &framed(&hello)).await.expect("it reads");
    let answer = timeout(PATIENCE, receive(&mut link)).await.expect("at once").expect("no reset").expect("an answer");
    assert!(matches!(codec::decode_first(&answer), Ok(Message::Welcome(_))));
}
