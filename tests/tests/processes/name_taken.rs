//! Two live nodes cannot have one name; the name of a dead one is free at once.

use std::time::Duration;

use sessionmesh::Mode;
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::processes::{Cluster, Process};
use tokio::time::Instant;

/// A start takes the discovery window of 1 s at most; more is a wait for the dead.
const START_MAX: Duration = Duration::from_secs(2);
/// So often two start at once, some of them within one millisecond.
const TWINS: usize = 10;

/// A second node called `a` is refused while the first lives, and starts when it was killed. With `others` in the cluster.
fn second_a(others: &[&str], seeds: bool) {
    let context = format!("with {others:?}, by {}", if seeds { "seeds" } else { "multicast" });
    // Given a live node called a
    let mut names = vec!["a"];
    names.extend(others);
    let mut cluster = Cluster::start(&names, Mode::PrimaryBackup { backups: 1 });
    let first = cluster["a"].config().bind;
    let mut config = cluster.config_of("a");
    if seeds {
        config.multicast = Some(false);
        config.seeds = cluster.nodes().iter().rev().map(|node| node.config().bind.to_string()).collect();
    }
    // When another one of this name starts
    let start = Instant::now();
    let refused = Process::spawn(config.clone()).outcome();
    // Then it refuses, and says who has the name,
    let why = refused.expect_err("a second node of one name must not start");
    println!("{context}: refused after {:?}: {why}", start.elapsed());
    assert!(why.contains("`a`") && why.contains(&first.to_string()), "{context}: {why}");
    // and the first one is not disturbed.
    cluster["a"].assert_running();
    cluster.settled();

    // When the first was killed
    let lag = Lag::watch();
    let killed = cluster.kill("a");
    let mut process = Process::spawn(config);
    let outcome = process.outcome();
    // Then the name can be used at once.
    let took = lag.take_off(killed.elapsed());
    outcome.unwrap_or_else(|why| panic!("{context}: {why}"));
    println!("{context}: started {took:?} after the first was killed");
    assert!(took < START_MAX, "{context}: {took:?}");
    cluster.add(process);
    cluster.settled();
}

#[test]
fn a_second_node_of_one_name_is_refused_until_the_first_was_killed() {
    for seeds in [false, true] {
        second_a(&[], seeds);
        second_a(&["b", "c"], seeds);
    }
}

#[test]
fn of_two_nodes_of_one_name_that_start_at_once_one_remains() {
    let mut cluster = Cluster::start(&["b"], Mode::PrimaryBackup { backups: 1 });
    for round in 0..TWINS {
        // Given a node that others know, when two of one other name start at the same instant
        let name = format!("twin{round}");
        let twins = [(); 2].map(|()| Process::spawn(cluster.config_of(&name)));
        let outcomes = twins.map(|mut twin| {
            let outcome = twin.outcome();
            (twin, outcome)
        });
        // Then one of them remains, and the other says who has the name.
        let (started, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
        assert_eq!((started.len(), refused.len()), (1, 1), "{started:?} {refused:?}");
        for (twin, _) in started {
            cluster.add(twin);
        }
        cluster.settled();
        cluster.kill(&name);
    }
}
