use super::super::tests::{config, counted, start, until};
use sessionmesh_core::wire::version::Versions;

use super::*;

#[tokio::test]
async fn a_gossip_server_that_ends_by_itself_does_not_silence_the_member() {
    let (a, mut b) = (config("a").await, config("b").await);
    b.seeds.push(a.bind.to_string());
    let (member, other) = (start(&a).await, start(&b).await);
    until(&member, |heard| heard.iter().any(|heard| heard.alive)).await;
    until(&other, |heard| heard.iter().any(|heard| heard.alive)).await;

    for _ in 0..2 {
        // Ended from outside it looks just as if it had panicked.
        let server = member.gossip.server().unwrap();
        server.abort();
        let ended = tokio::time::timeout(Duration::from_secs(60), server.termination_watcher()).await;
        ended.expect("the server ends").expect_err("without a word");

        let (of_b, of_a) = (counted(&member, "b").unwrap(), counted(&other, "a").unwrap());
        let going_on = async {
            while counted(&member, "b").unwrap_or(0) <= of_b + 20 || counted(&other, "a").unwrap() <= of_a + 20 {
                assert!(member.heard().borrow().iter().all(|heard| heard.alive));
                assert!(other.heard().borrow().iter().all(|heard| heard.alive));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), going_on).await.expect("both count on");
    }
    member.set_state(GossipState::Ready).await;
    until(&other, |heard| heard.iter().any(|heard| heard.state == GossipState::Ready)).await;
}

#[tokio::test]
async fn a_panic_inside_the_library_does_not_silence_the_member() {
    let (a, mut b) = (config("a").await, config("b").await);
    b.seeds.push(a.bind.to_string());
    let (member, other) = (start(&a).await, start(&b).await);
    until(&member, |heard| heard.iter().any(|heard| heard.alive)).await;

    // A stand-in for a fault of the library: it is called while a message is handled.
    let server = member.gossip.server().unwrap();
    let panics = |chitchat: &mut Chitchat| chitchat.subscribe_event("state", |_| panic!("on purpose"));
    server.with_chitchat(panics).await.forever();
    other.set_state(GossipState::Joining).await;
    tokio::time::timeout(Duration::from_secs(60), server.termination_watcher()).await.unwrap().expect_err("a panic");

    other.set_state(GossipState::Ready).await;
    until(&member, |heard| heard.iter().any(|heard| heard.alive && heard.state == GossipState::Ready)).await;
}

#[tokio::test]
async fn who_leaves_does_not_take_it_back() {
    let (a, mut b) = (config("a").await, config("b").await);
    b.seeds.push(a.bind.to_string());
    let (member, other) = (start(&a).await, start(&b).await);
    for state in
        [GossipState::Joining, GossipState::Leaving, GossipState::Ready, GossipState::Left, GossipState::Joining]
    {
        member.set_state(state).await;
    }
    until(&other, |heard| heard.iter().any(|heard| heard.state == GossipState::Left)).await;
}

/// So a later version may say more of itself.
#[tokio::test]
async fn what_a_later_version_says_under_keys_of_its_own_is_passed_on_and_not_looked_at() {
    let (a, mut b) = (config("a").await, config("b").await);
    b.seeds.push(a.bind.to_string());
    b.versions = Versions::new(4, 9);
    let (member, other) = (start(&a).await, start(&b).await);
    let more = |chitchat: &mut Chitchat| chitchat.self_node_state().set("later-version", "says 1 more");
    other.gossip.with(more).await.expect("it runs");
    until(&member, |heard| heard.iter().any(|heard| heard.alive && heard.versions == Versions::new(4, 9))).await;
    let passed_on = |chitchat: &mut Chitchat| {
        let of_b = chitchat.node_states().iter().find(|(id, _)| *id.node_id == *"b");
        of_b.and_then(|(_, state)| state.get("later-version").map(str::to_owned))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while member.gossip.with(passed_on).await.flatten().as_deref() != Some("says 1 more") {
        assert!(Instant::now() < deadline, "it is not passed on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As they were sent by a node of version 4 of the protocol that had just started: a question, and what it said of itself when
/// it was asked.
const RECORDED: [&str; 2] = [
    "53b00000010002006e31c17a04db2da1221a047f000001cb8701000000000000000000000000000000050000000000000016 \
        0074393838302d64313238346239326130373531656233",
    "53b0000201b70028b52ffd20f0750500e2ca24279029e9bf8bef7ef5e39e7104c835888dfd6c4decef42c8cabd89949b0c96 \
        957b6bd94136213b05ffffff09231f798d613cc71a1e707eb44b76eadd5cbb72bb55ab6222e7b28132aa2561aab534a762b2 \
        6acc56cccc847a84b7e058f3e41c51688c04c6311c80358ae63d393f7ed698c6d1f959b5780f5449259595f4026eb1501c9d \
        3f489cdf010d1040144ca04684b61f0f0a0038c3789a09ecfa83d5b82550d60a5c006e0a5cbc037700",
];

#[tokio::test]
async fn what_a_node_said_of_itself_when_it_was_recorded_means_what_it_meant() {
    let addr = "127.0.0.1:34763".parse().unwrap();
    let config = MembershipConfig { cluster: "t9880-d1284b92a0751eb3".to_owned(), ..config("a").await };
    let member = start(&config).await;
    for recorded in RECORDED {
        let hex = recorded.replace(' ', "");
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        member.arrivals().send(Carried { addr, bytes }).await.unwrap();
    }
    until(&member, |heard| !heard.is_empty()).await;
    let heard = member.heard().borrow()[0].clone();
    assert_eq!((&*heard.name, heard.addr, &*heard.zone, heard.state), ("n1", addr, "", GossipState::Starting));
    assert_eq!(heard.versions, Versions::new(4, 4));
    assert_eq!(
        heard.terms.to_string(),
        "1 2000 200 1800000 86400000 10485760 256 256 1048576 4194304 0 11868830737033828053"
    );
}
