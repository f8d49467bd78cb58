use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{Instant, timeout};
use tracing::{Event, Level, Metadata, span};

use super::*;
use crate::config::Config;
use crate::network::TokioNetwork;

const DEADLINE: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
async fn free_port() -> u16 {
    let any = DatagramBind::Unicast((Ipv4Addr::LOCALHOST, 0).into());
    TokioNetwork.datagrams(any).await.unwrap().local_addr().unwrap().port()
}

/// A member of a cluster on this host, with no discovery yet.
pub(super) async fn config(name: &str) -> MembershipConfig {
    let bind = (Ipv4Addr::LOCALHOST, free_port().await).into();
    MembershipConfig {
        cluster: "test".to_owned(),
        name: name.to_owned(),
        incarnation: 1,
        bind,
        advertise: bind,
        zone: format!("zone-of-{name}"),
        terms: Config::default().terms(7),
        multicast: None,
        seeds: Vec::new(),
        dns: Vec::new(),
        gossip_interval: Duration::from_millis(200),
        phi: 8.0,
        beacon_interval: Duration::from_millis(500),
        dns_interval: Duration::from_secs(5),
        seed: 1,
    }
}

pub(super) async fn start(config: &MembershipConfig) -> Membership {
    Membership::start(Arc::new(TokioNetwork), Arc::new(PlainSeal::new("test")), config.clone()).await.unwrap()
}

async fn start_all(configs: &[MembershipConfig]) -> Vec<Membership> {
    futures::future::join_all(configs.iter().map(start)).await
}

/// Waits until `member` hears what `wanted` says.
pub(super) async fn until(member: &Membership, wanted: impl FnMut(&Arc<Vec<Heard>>) -> bool) {
    timeout(DEADLINE, member.heard().wait_for(wanted)).await.expect("heard in time").unwrap();
}

/// The heartbeats of `name` that `member` has heard of.
pub(super) fn counted(member: &Membership, name: &str) -> Option<u64> {
    let heard = member.heard();
    heard.borrow().iter().find(|heard| *heard.name == *name).map(|heard| heard.heartbeat)
}

/// Waits until every member hears `others` living members, and gives the time it took.
async fn until_all_hear(members: &[Membership], others: usize) -> Duration {
    let start = Instant::now();
    for member in members {
        until(member, |heard| heard.iter().filter(|heard| heard.alive).count() == others).await;
    }
    start.elapsed()
}

/// Waits until `member` has heard so many heartbeats of another that its failure detector is well trained: about 11 s.
/// Before, its first guess of the interval weighs in, and detection takes up to 5 s.
async fn until_trained(member: &Membership, name: &str) {
    let trained = async {
        while counted(member, name).unwrap_or(0) < 400 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, trained).await.unwrap();
}

async fn three_with_seeds() -> [MembershipConfig; 3] {
    let mut configs = [config("a").await, config("b").await, config("c").await];
    let seed = configs[0].bind.to_string();
    configs.iter_mut().for_each(|config| config.seeds.push(seed.clone()));
    configs
}

#[tokio::test]
async fn members_find_each_other_by_seeds() {
    let configs = three_with_seeds().await;
    let members = start_all(&configs).await;
    println!("by seeds: {:?}", until_all_hear(&members, 2).await);
    let heard = members[0].heard().borrow().clone();
    assert_eq!(heard.iter().map(|heard| &*heard.name).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!((heard[0].addr, &*heard[0].zone), (configs[1].bind, "zone-of-b"));
    assert_eq!((heard[0].incarnation, heard[0].state), (1, HeardState::Probing));
}

#[tokio::test]
async fn members_find_each_other_by_a_name() {
    let mut configs = [config("a").await, config("b").await];
    configs[1].seeds.push(format!("localhost:{}", configs[0].bind.port()));
    until_all_hear(&start_all(&configs).await, 1).await;
}

async fn loopback_group() -> MulticastBind {
    MulticastBind {
        group: Ipv4Addr::new(228, 0, 0, 4),
        port: free_port().await,
        interface: Ipv4Addr::LOCALHOST,
        ttl: 1,
        loopback: true,
    }
}

#[tokio::test]
async fn members_find_each_other_by_multicast_and_strangers_in_the_group_do_not_matter() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let group = loopback_group().await;
    let mut configs = [config("a").await, config("b").await, config("c").await, config("x").await];
    configs.iter_mut().for_each(|config| config.multicast = Some(group));
    configs[3].cluster = "another".to_owned();
    let mut members = start_all(&configs[..1]).await;
    let _another = start(&configs[3]).await;
    let stranger = TokioNetwork.datagrams(DatagramBind::Multicast(group)).await.unwrap();
    for datagram in [&b"TRIBES-B\x01\x00"[..], b"", b"SMp1SMB1\x00\xff", b"SMp1", &[0; 2_000]].repeat(3) {
        stranger.send_to(datagram, (group.group, group.port).into()).await.unwrap();
    }
    members.extend(start_all(&configs[1..3]).await);
    println!("by multicast: {:?}", until_all_hear(&members, 2).await);
    // One by each of the two members that were there.
    assert_eq!(warnings.of_tomcat.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_silent_member_is_no_longer_alive() {
    let members = start_all(&three_with_seeds().await).await;
    until_all_hear(&members, 2).await;
    until_trained(&members[0], "c").await;
    until_trained(&members[1], "c").await;
    let stopped = Instant::now();
    members[2].stop();
    for member in &members[..2] {
        until(member, |heard| heard.iter().any(|heard| &*heard.name == "c" && !heard.alive)).await;
    }
    println!("silence noticed: {:?}", stopped.elapsed());
    assert!(members[0].heard().borrow().iter().any(|heard| &*heard.name == "b" && heard.alive));
}

#[tokio::test]
async fn a_new_state_spreads_at_once() {
    let members = start_all(&three_with_seeds().await).await;
    until_all_hear(&members, 2).await;
    for state in HeardState::ALL {
        let start = Instant::now();
        members[1].set_state(state).await;
        for member in [&members[0], &members[2]] {
            until(member, |heard| heard.iter().any(|heard| &*heard.name == "b" && heard.state == state)).await;
        }
        println!("{} spread: {:?}", state.name(), start.elapsed());
    }
}

#[tokio::test]
async fn a_restarted_member_is_heard_beside_its_former_life() {
    let mut configs = three_with_seeds().await;
    let mut members = start_all(&configs).await;
    until_all_hear(&members, 2).await;
    drop(members.pop());
    configs[2].incarnation = 2;
    members.push(start(&configs[2]).await);
    until(&members[0], |heard| {
        let lives: Vec<_> = heard.iter().filter(|heard| &*heard.name == "c").collect();
        matches!(lives[..], [old, new] if old.incarnation == 1 && !old.alive && new.incarnation == 2 && new.alive)
    })
    .await;
}

#[tokio::test]
async fn failing_multicast_is_an_error_only_when_nothing_else_is_configured() {
    let mut config = config("a").await;
    config.multicast = Some(MulticastBind { group: Ipv4Addr::new(192, 0, 2, 200), ..loopback_group().await });
    let started = Membership::start(Arc::new(TokioNetwork), Arc::new(PlainSeal::new("test")), config.clone()).await;
    assert!(started.is_err());
    config.seeds.push("127.0.0.1:9".to_owned());
    assert!(start(&config).await.multicast_error().is_some());
}

#[tokio::test]
async fn impossible_configurations_are_refused() {
    let good = config("a").await;
    let bad = [
        MembershipConfig { name: "n".repeat(NAME_BYTES_MAX + 1), ..good.clone() },
        MembershipConfig { cluster: String::new(), ..good.clone() },
        MembershipConfig { advertise: (Ipv4Addr::UNSPECIFIED, 1).into(), ..good.clone() },
        MembershipConfig { gossip_interval: Duration::ZERO, ..good.clone() },
    ];
    for config in bad {
        let started = Membership::start(Arc::new(TokioNetwork), Arc::new(PlainSeal::new("test")), config).await;
        assert_eq!(started.err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }
}

/// Counts the warnings about Tomcat.
#[derive(Debug, Clone, Default)]
struct Warnings {
    of_tomcat: Arc<AtomicUsize>,
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().ends_with("multicast")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {
        self.of_tomcat.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
