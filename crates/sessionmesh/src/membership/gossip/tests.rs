use std::net::Ipv4Addr;

use chitchat::Serializable;

use super::super::tests::{config, start, until};
use super::*;
use crate::membership::PlainSeal;
use crate::network::{DatagramBind, Network, TokioNetwork};

/// A delta that the gossip library decodes and then panics over.
fn hostile(id: &ChitchatId, key: &str, version: u64, last_version: u64) -> Vec<u8> {
    let mut operations = vec![0];
    id.serialize(&mut operations);
    [0u64, 0].iter().for_each(|version| version.serialize(&mut operations));
    operations.push(1);
    [key, "value"].iter().for_each(|text| text.serialize(&mut operations));
    version.serialize(&mut operations);
    operations.extend([0, 2]);
    last_version.serialize(&mut operations);

    let mut datagram = vec![0x53, 0xB0, 0, 2, 2];
    u16::try_from(operations.len()).unwrap().serialize(&mut datagram);
    datagram.extend(operations);
    datagram.push(0);
    PlainSeal::new("test").seal(&datagram)
}

#[tokio::test]
async fn a_datagram_that_kills_the_gossip_server_does_not_silence_the_member() {
    let (a, mut b) = (config("a").await, config("b").await);
    b.seeds.push(a.bind.to_string());
    let (member, other) = (start(&a).await, start(&b).await);
    until(&member, |heard| heard.iter().any(|heard| heard.alive)).await;
    until(&other, |heard| heard.iter().any(|heard| heard.alive)).await;

    let any = DatagramBind::Unicast((Ipv4Addr::LOCALHOST, 0).into());
    let stranger = TokioNetwork.datagrams(any).await.unwrap();
    let id = ChitchatId::new("b", 1, b.advertise);
    for (key, version, last_version) in [("key", 1_000, 999), ("\u{e9}", 2_000, 2_000)] {
        let before = member.gossip.server().unwrap();
        stranger.send_to(&hostile(&id, key, version, last_version), a.bind).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), before.termination_watcher()).await;
        ended.expect("the server ends").expect_err("by a panic");

        let counted = member.heartbeat("b", 1).await.unwrap();
        let counted_of_a = other.heartbeat("a", 1).await.unwrap();
        let going_on = async {
            while member.heartbeat("b", 1).await.unwrap_or(0) <= counted + 20
                || other.heartbeat("a", 1).await.unwrap() <= counted_of_a + 20
            {
                assert!(member.heard().borrow().iter().all(|heard| heard.alive));
                assert!(other.heard().borrow().iter().all(|heard| heard.alive));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), going_on).await.expect("both count on");
    }
    member.set_state(HeardState::Ready).await;
    until(&other, |heard| heard.iter().any(|heard| heard.state == HeardState::Ready)).await;
}
