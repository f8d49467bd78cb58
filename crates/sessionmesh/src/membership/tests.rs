use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::time::{Instant, timeout};
use tracing::{Event, Level, Metadata, span};

use super::*;
use crate::config::Config;
use crate::network::{BoxFuture, ByteStream, Listener, TokioNetwork};

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
        versions: Versions::OURS,
        multicast: Vec::new(),
        multicast_must: false,
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
    Membership::start(
        Arc::new(TokioNetwork),
        Arc::new(Security::new("test", &[], None, false)),
        config.clone(),
        Life::default(),
    )
    .await
    .unwrap()
}

async fn start_all(configs: &[MembershipConfig]) -> Vec<Membership> {
    futures::future::join_all(configs.iter().map(start)).await
}

/// Waits until `member` hears what `wanted` says.
pub(super) async fn until(member: &Membership, wanted: impl FnMut(&Arc<Vec<MemberInfo>>) -> bool) {
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
    assert_eq!((heard[0].incarnation, heard[0].state), (1, GossipState::Starting));
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
    configs.iter_mut().for_each(|config| config.multicast = vec![group]);
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

/// The system's network, with a resolver that answers some names and others not.
#[derive(Debug, Default)]
struct PoorResolver {
    asked: Mutex<BTreeMap<String, Vec<Instant>>>,
}

impl PoorResolver {
    fn asked(&self, name: &str) -> Vec<Instant> {
        self.asked.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

impl Network for PoorResolver {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        TokioNetwork.connect(to)
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        TokioNetwork.listen(at)
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        TokioNetwork.datagrams(bind)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        let asked = {
            let mut asked = self.asked.lock().unwrap();
            let times = asked.entry(host.to_owned()).or_default();
            times.push(Instant::now());
            times.len()
        };
        let answers = host.starts_with("good") || (host.starts_with("late") && asked > 1);
        Box::pin(async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok(vec![(Ipv4Addr::LOCALHOST, 9).into()])
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_never_answers_holds_up_no_other_and_is_tried_again() {
    let network = Arc::new(PoorResolver::default());
    let mut config = config("a").await;
    config.seeds = ["dead:1", "good:1", "late:1"].map(str::to_owned).to_vec();
    let member =
        Membership::start(network.clone(), Arc::new(Security::new("test", &[], None, false)), config, Life::default())
            .await
            .unwrap();
    sleep(Duration::from_secs(120)).await;
    // One that hangs keeps a thread of the system's resolver, so they are few.
    assert_eq!(network.asked("dead:1").len(), 4);
    let good = network.asked("good:1");
    assert!((20..=25).contains(&good.len()), "every 5 s: {}", good.len());
    assert!(good.windows(2).all(|two| two[1] - two[0] >= Duration::from_secs(5)), "{good:?}");
    let named = member.named().borrow().clone();
    assert!(matches!(&named["dead:1"], LookedUp::Failed(why) if why.contains("no answer")), "{named:?}");
    for name in ["good:1", "late:1"] {
        assert_eq!(named[name], LookedUp::At(vec![(Ipv4Addr::LOCALHOST, 9).into()]));
    }
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
    for state in GossipState::ALL {
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
async fn failing_multicast_is_an_error_only_where_it_must_not_fail() {
    let mut config = config("a").await;
    config.multicast = vec![MulticastBind { interface: Ipv4Addr::new(192, 0, 2, 200), ..loopback_group().await }];
    config.multicast_must = true;
    let started = Membership::start(
        Arc::new(TokioNetwork),
        Arc::new(Security::new("test", &[], None, false)),
        config.clone(),
        Life::default(),
    )
    .await;
    assert!(started.is_err());
    config.multicast_must = false;
    let member = start(&config).await;
    let failed = async {
        while member.multicast_error().is_none() {
            sleep(Duration::from_millis(5)).await
        }
    };
    timeout(DEADLINE, failed).await.expect("it says so");
}

/// The system's network, in which multicast can be switched off: nothing is sent, and nobody can join.
#[derive(Debug, Default)]
struct Flickering {
    off: Arc<AtomicBool>,
    joined: AtomicUsize,
}

#[derive(Debug)]
struct FlickeringGroup(Box<dyn Datagrams>, Arc<AtomicBool>);

fn no_such_device() -> io::Error {
    io::Error::from_raw_os_error(19)
}

impl Network for Flickering {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn ByteStream>>> {
        TokioNetwork.connect(to)
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        TokioNetwork.listen(at)
    }

    fn datagrams(&self, bind: DatagramBind) -> BoxFuture<'_, io::Result<Box<dyn Datagrams>>> {
        Box::pin(async move {
            let socket = TokioNetwork.datagrams(bind).await;
            let DatagramBind::Multicast(_) = bind else { return socket };
            if self.off.load(Ordering::Relaxed) {
                return Err(no_such_device());
            }
            self.joined.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(FlickeringGroup(socket?, self.off.clone())) as Box<dyn Datagrams>)
        })
    }

    fn resolve(&self, host: &str) -> BoxFuture<'_, io::Result<Vec<SocketAddr>>> {
        TokioNetwork.resolve(host)
    }
}

impl Datagrams for FlickeringGroup {
    fn send_to<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        if self.1.load(Ordering::Relaxed) {
            return Box::pin(async { Err(no_such_device()) });
        }
        self.0.send_to(bytes, to)
    }

    fn recv_from<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        self.0.recv_from(buffer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[tokio::test(start_paused = true)]
async fn multicast_that_fails_for_a_time_is_joined_again() {
    let network = Arc::new(Flickering::default());
    let mut config = config("a").await;
    config.multicast = vec![loopback_group().await];
    let member =
        Membership::start(network.clone(), Arc::new(Security::new("test", &[], None, false)), config, Life::default())
            .await
            .expect("it starts");
    let until = async |fails: bool| {
        let changed = async {
            while member.multicast_error().is_some() != fails {
                sleep(Duration::from_millis(5)).await
            }
        };
        timeout(DEADLINE, changed).await.unwrap_or_else(|_| panic!("never {fails}"));
    };
    for _ in 0..2 {
        let joined = network.joined.load(Ordering::Relaxed);
        network.off.store(true, Ordering::Relaxed);
        until(true).await;
        network.off.store(false, Ordering::Relaxed);
        until(false).await;
        assert!(network.joined.load(Ordering::Relaxed) > joined);
    }
    // And now and then without any trouble: a socket may be deaf without knowing.
    let joined = network.joined.load(Ordering::Relaxed);
    let renewed = async {
        while network.joined.load(Ordering::Relaxed) == joined {
            sleep(Duration::from_millis(50)).await
        }
    };
    timeout(DEADLINE, renewed).await.expect("it joins anew now and then");
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
        let started = Membership::start(
            Arc::new(TokioNetwork),
            Arc::new(Security::new("test", &[], None, false)),
            config,
            Life::default(),
        )
        .await;
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
