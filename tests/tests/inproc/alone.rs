//! A node that hears nobody: when it may take itself for alone, and that it says so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sessionmesh::network::{Network as _, TokioNetwork};
use sessionmesh::{Alone, Discovery, Event, Events, LoadError, Mesh, MeshBuilder, Outcome};
use sessionmesh_testkit::cluster::{PATIENCE, check, create_sessions, eventually, unique_name};
use sessionmesh_testkit::network::{LookUp, TestNetwork};
use tokio::time::{Instant, sleep, timeout};

/// Far less than a node looks for somebody who does not answer, and far more than it takes to be refused.
const PROMPT: Duration = Duration::from_secs(7);
/// Nobody listens there.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A node on a free port, but for the way to find others.
fn node(cluster: &str, name: &str) -> MeshBuilder {
    Mesh::builder().cluster(cluster).name(name).discovery_window(Duration::from_millis(300)).multicast(false)
}

fn seeds<const N: usize>(addrs: [SocketAddr; N]) -> Discovery {
    Discovery::seeds(addrs.map(|addr| addr.to_string()))
}

/// Starts it and waits until it is ready. How long that took.
async fn ready(builder: MeshBuilder) -> (Mesh, Duration) {
    let start = Instant::now();
    let mesh = builder.start().await.expect("it starts");
    timeout(PATIENCE, mesh.ready()).await.expect("it becomes ready");
    (mesh, start.elapsed())
}

/// An address at which nobody listens, to be taken at once: other tests take ports, too.
async fn free() -> SocketAddr {
    let listener = TokioNetwork.listen((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a free port");
    listener.local_addr().expect("it has an address")
}

fn outcomes(alone: &Alone) -> Vec<&Outcome> {
    alone.tried.iter().map(|tried| &tried.outcome).collect()
}

#[tokio::test]
async fn the_first_node_of_a_cluster_starts_at_once_and_says_whom_it_did_not_find() {
    let cluster = unique_name();
    let (stranger, _) = ready(node(&unique_name(), "other").discovery(seeds([NOBODY]))).await;
    let own = free().await;
    let first = node(&cluster, "a").bind(own).discovery(seeds([own, NOBODY, stranger.addr()]));
    let began = Instant::now();
    let mesh = first.start().await.expect("it starts");
    let mut events = mesh.events();
    timeout(PATIENCE, mesh.ready()).await.expect("it becomes ready");
    let took = began.elapsed();
    assert!(took < PROMPT, "{took:?}");
    let alone = mesh.alone().expect("it says so");
    let is_alone =
        |event: &Event| matches!(event, Event::Alone { cut_off: false, tried, .. } if tried.contains("127.0.0.1:1"));
    until_told(&mut events, is_alone).await;
    let mut expected = [(own, Outcome::Itself), (NOBODY, Outcome::Refused), (stranger.addr(), Outcome::AnotherCluster)];
    expected.sort_by_key(|(addr, _)| addr.to_string());
    let found: Vec<_> = alone.tried.iter().map(|tried| (tried.addr.unwrap(), tried.outcome.clone())).collect();
    assert_eq!(found, expected);
    assert!(alone.to_string().contains(&format!("{NOBODY}: nobody listens there")), "{alone}");

    // When company comes, it is not alone any more.
    let (_second, _) = ready(node(&cluster, "b").discovery(seeds([own]))).await;
    eventually(PATIENCE, || check(mesh.alone().is_none(), || format!("{:?}", mesh.alone()))).await;
    until_told(&mut events, |event| *event == Event::NotAlone).await;
}

/// Listens until something is told.
async fn until_told(events: &mut Events, is_it: impl Fn(&Event) -> bool) {
    let listening = async { while !events.next().await.as_ref().is_some_and(&is_it) {} };
    timeout(PATIENCE, listening).await.expect("it is told");
}

#[tokio::test]
async fn who_was_not_told_of_others_is_not_called_alone() {
    let (mesh, took) = ready(node(&unique_name(), "a")).await;
    assert!(took < PROMPT, "{took:?}");
    assert_eq!(mesh.alone(), None);
}

/// A cluster of one node with a session, and a second node that finds it in a poor way: it must find the session.
async fn finds_the_session(network: impl FnOnce(SocketAddr) -> TestNetwork, names: &[&str]) -> Duration {
    let cluster = unique_name();
    let (first, _) = ready(node(&cluster, "a").discovery(seeds([NOBODY]))).await;
    let id = create_sessions(&first, 1).await[0];
    let names = names.iter().map(|name| name.replace("FIRST", &first.addr().to_string()));
    let second = node(&cluster, "b").discovery(Discovery::seeds(names)).network(Arc::new(network(first.addr())));
    let (second, took) = ready(second).await;
    let found = second.load(id).await;
    assert!(matches!(found, Ok(Some(_))), "{found:?}, and it is {:?}", second.alone());
    took
}

#[tokio::test]
async fn newcomers_do_not_take_each_other_for_the_whole_cluster() {
    let cluster = unique_name();
    // It can be asked who it is, but for 3 s it says nothing by itself, so gossip does not tell of it.
    let from = Instant::now() + Duration::from_secs(3);
    let may_speak = move || Instant::now() >= from;
    let refused = move || if may_speak() { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) };
    let mute = TestNetwork::default().sending(move |_, _| may_speak()).dialling(move |_| async move { refused() });
    let (first, _) = ready(node(&cluster, "a").discovery(seeds([NOBODY])).network(Arc::new(mute))).await;
    let id = create_sessions(&first, 1).await[0];
    let at = free().await;
    let newcomer = |name| node(&cluster, name).discovery(seeds([first.addr(), at]));
    let ((second, _), (third, _)) = tokio::join!(ready(newcomer("b").bind(at)), ready(newcomer("c")));
    for newcomer in [second, third] {
        let found = newcomer.load(id).await;
        assert!(matches!(found, Ok(Some(_))), "{found:?}, and it sees {:?}", newcomer.members());
    }
}

#[tokio::test]
async fn a_name_that_is_answered_late_is_waited_for() {
    let late = |at| TestNetwork::default().resolving(move |_| LookUp::After(Duration::from_secs(3), vec![at]));
    let took = finds_the_session(late, &["shop.example:7700"]).await;
    assert!(took >= Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_dead_name_does_not_delay_a_good_one() {
    let one_dead = |at| {
        TestNetwork::default().resolving(move |name| match name {
            "good.example:7700" => LookUp::After(Duration::ZERO, vec![at]),
            _ => LookUp::Never,
        })
    };
    let took = finds_the_session(one_dead, &["dead.example:7700", "good.example:7700"]).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn who_is_named_and_does_not_answer_is_waited_for() {
    // Nothing passes for the first 3 s, neither connections nor datagrams.
    let deaf = |_| {
        let from = Instant::now() + Duration::from_secs(3);
        TestNetwork::default().reaching(move |_| Instant::now() >= from).sending(move |_, _| Instant::now() >= from)
    };
    finds_the_session(deaf, &["FIRST"]).await;
}

#[tokio::test]
async fn who_never_hears_from_those_who_are_named_is_alone_in_the_end() {
    let network = TestNetwork::default().reaching(|_| false).resolving(|_| LookUp::Never);
    let builder = node(&unique_name(), "a").discovery(seeds([NOBODY])).discovery(Discovery::dns("dead.example:7700"));
    let (mesh, took) = ready(builder.network(Arc::new(network))).await;
    // A look-up gets 5 s, and all that is named 10 s.
    assert!(took >= Duration::from_secs(9), "{took:?}");
    let alone = mesh.alone().expect("it says so");
    assert!(matches!(outcomes(&alone)[..], [Outcome::Silent(_), Outcome::NotFound(_)]), "{alone}");
}

#[tokio::test]
async fn fewer_members_than_asked_for_make_nobody_ready_and_later_nobody_unready() {
    let cluster = unique_name();
    let first = node(&cluster, "a").min_members(2u16).discovery(seeds([NOBODY])).start().await.expect("it starts");
    let unknown = first.create().await.expect("it is far from full").id();
    let asked = AtomicUsize::new(0);
    let alone = async {
        loop {
            assert!(!first.is_ready());
            assert!(matches!(first.load(unknown).await, Err(LoadError::CannotTell { .. })));
            asked.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _: Result<(), _> = timeout(Duration::from_secs(2), alone).await;
    assert!(asked.load(Ordering::Relaxed) > 0);

    let (second, _) = ready(node(&cluster, "b").min_members(2u16).discovery(seeds([first.addr()]))).await;
    timeout(PATIENCE, first.ready()).await.expect("there are two now");
    drop(second);
    eventually(PATIENCE, || check(first.members().len() == 1, || format!("{:?}", first.members()))).await;
    assert!(first.is_ready());
}
