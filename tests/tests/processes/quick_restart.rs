//! A node that is killed and started again under its name at once comes back empty, gets everything back, and serves
//! nothing but whole sessions meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use sessionmesh::{Mode, SessionId};
use sessionmesh_testkit::processes::control::{Loaded, Request, Wish};
use sessionmesh_testkit::processes::{Cluster, MODES, PATIENCE, Process, attributes};

const SESSIONS: usize = 3_000;
/// The restart comes before anybody else can have noticed the death.
const SOON: Duration = Duration::from_millis(100);

fn content(number: usize) -> Loaded {
    Loaded::Session(attributes([("user", &format!("user {number}")), ("cart", &format!("{number} apples"))]))
}

/// Sessions of two commits, so that half of one could be told from a whole.
fn sessions(cluster: &Cluster) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let numbers = (at * SESSIONS / 3)..((at + 1) * SESSIONS / 3);
        let users = numbers.clone().map(|number| attributes([("user", &format!("user {number}"))])).collect();
        let created = cluster[name].create(users, Wish::Configured);
        let carts =
            created.iter().zip(numbers).map(|(id, number)| (*id, attributes([("cart", &format!("{number} apples"))])));
        let other = &cluster[["b", "c", "a"][at]];
        other.copied(other.ask(&Request::Write { writes: carts.collect(), ack: Wish::Configured }));
        ids.extend(created);
    }
    ids
}

/// Loads of one node: how many were whole and how many could not tell. Anything else fails the test.
fn poll(node: &Process, ids: &[SessionId], start: usize, context: &str) -> (usize, usize) {
    let (mut whole, mut unclear) = (0, 0);
    let picked: Vec<usize> = (0..20).map(|at| (start * 7 + at * 151) % ids.len()).collect();
    let asked: Vec<SessionId> = picked.iter().map(|at| ids[*at]).collect();
    for (at, loaded) in picked.iter().zip(node.load(&asked)) {
        match loaded {
            Loaded::CannotTell(_) => unclear += 1,
            loaded if loaded == content(*at) => whole += 1,
            other => panic!("{context}: {} serves session {at} as {other:?}", node.name()),
        }
    }
    (whole, unclear)
}

fn restart(mode: Mode, same_port: bool) {
    let context = format!("{mode:?}, {} port", if same_port { "same" } else { "other" });
    // Given three nodes with sessions
    let mut cluster = Cluster::start(&["a", "b", "c"], mode);
    let ids = sessions(&cluster);
    cluster.placed(&ids);
    let before = cluster["b"].members().into_iter().find(|seen| seen.name == "b").expect("it sees itself");

    // When one is killed and started again at once
    let mut config = cluster["b"].config().clone();
    if !same_port {
        config.bind = SocketAddr::from(([127, 0, 0, 1], 0));
    }
    let killed = cluster.kill("b");
    let mut process = Process::spawn(config);
    if killed.elapsed() > SOON {
        println!("{context}: this machine took {:?} to start a process; the test wants {SOON:?}", killed.elapsed());
    }
    process.outcome().unwrap_or_else(|why| panic!("{context}: it did not start again: {why}"));
    let up = killed.elapsed();
    cluster.add(process);

    // Then it serves nothing but whole sessions, as the others do, before it is ready and after
    let (mut polls, mut whole, mut unclear, mut ready) = (0, 0, 0, None);
    while ready.is_none_or(|at: Duration| killed.elapsed() < at + Duration::from_millis(300)) {
        for node in cluster.nodes() {
            let counted = poll(node, &ids, polls, &context);
            whole += counted.0;
            unclear += counted.1;
        }
        polls += 1;
        if ready.is_none() && cluster["b"].is_ready() {
            ready = Some(killed.elapsed());
        }
        assert!(killed.elapsed() < PATIENCE, "{context}: it is not ready again");
    }
    // and everything is where it belongs again.
    cluster.settled();
    let settled = killed.elapsed();
    cluster.placed(&ids);
    let placed = killed.elapsed();
    let after = cluster["a"].members().into_iter().find(|seen| seen.name == "b").expect("it is back");
    assert!(after.incarnation > before.incarnation, "{context}: {after:?} is no later life than {before:?}");
    for node in cluster.nodes() {
        for (number, loaded) in node.load(&ids).into_iter().enumerate() {
            assert_eq!(loaded, content(number), "{context}: {}", node.name());
        }
    }
    println!(
        "{context}: up after {up:?}, ready {:?}, settled {settled:?}, all in place {placed:?}; {whole} loads whole, {unclear} cannot tell",
        ready.unwrap_or_default()
    );
}

#[test]
fn a_node_restarted_on_its_port_gets_everything_back_and_never_serves_half_a_session() {
    for mode in MODES {
        restart(mode, true);
    }
}

#[test]
fn a_node_restarted_on_another_port_gets_everything_back_and_never_serves_half_a_session() {
    for mode in MODES {
        restart(mode, false);
    }
}
