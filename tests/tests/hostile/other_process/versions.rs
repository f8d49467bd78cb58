//! Nodes of another version of the protocol.

use sessionmesh_core::wire::codec;
use sessionmesh_core::wire::message::{Message, Refused, VERSION_MAX, VERSION_MIN};
use sessionmesh_testkit::cluster::{PATIENCE, check, eventually};
use tokio::time::timeout;

use super::alone::Alone;
use super::insider::Insider;
use super::strangers::hello;
use crate::wire::{closes, framed, receive};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_secret_and_an_old_version_is_refused_with_both_ranges() {
    let alone = Alone::start(true).await;
    let insider = Insider::new(&alone.secret.as_ref().expect("it has one").bytes, &alone.cluster);
    let mut decoded = 0;
    for versions in [(VERSION_MIN - 1, VERSION_MIN - 1), (0, 0), (VERSION_MAX + 1, VERSION_MAX + 2)] {
        let mut link = insider.dial(alone.node.replication()).await.expect("it has the secret");
        let hello = hello(&alone.cluster, versions);
        tokio::io::AsyncWriteExt::write_all(&mut link, &framed(&hello)).await.expect("it reads");
        let answer = timeout(PATIENCE, receive(&mut link)).await.expect("at once").expect("no reset").expect("why");
        let both = Message::Refused(Refused::Version { min: VERSION_MIN, max: VERSION_MAX });
        assert_eq!(codec::decode(&answer).expect("a message"), both);
        closes(&mut link, PATIENCE).await.expect("it is closed");
        // Who has proved that it belongs is heard, but no further than that.
        decoded += hello.len() as u64;
        let health = alone.health().await;
        assert_eq!((health.decoded, health.members, health.refused.len()), (decoded, 1, 0), "{health:?}");
    }
    let old = VERSION_MIN - 1;
    let says = format!("it speaks protocol versions {old} to {old}, this node {VERSION_MIN} to {VERSION_MAX}");
    eventually(PATIENCE, || check(alone.log().contains(&says), || alone.log())).await;
    // The same insider with a version that both have is welcome: it was the version that was refused.
    let mut link = insider.dial(alone.node.replication()).await.expect("it has the secret");
    let hello = hello(&alone.cluster, (VERSION_MIN, VERSION_MAX));
    tokio::io::AsyncWriteExt::write_all(&mut link, &framed(&hello)).await.expect("it reads");
    let answer = timeout(PATIENCE, receive(&mut link)).await.expect("at once").expect("no reset").expect("an answer");
    assert!(matches!(codec::decode(&answer), Ok(Message::Welcome(_))));
}
