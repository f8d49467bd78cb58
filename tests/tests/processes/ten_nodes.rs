//! Nodes that start at once find each other by multicast and are ready soon.

use std::time::Duration;

use sessionmesh::Mode;
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::processes::{Cluster, MODES, PATIENCE, Process, check, eventually_blocking};
use tokio::time::Instant;

const TEN_MAX: Duration = Duration::from_secs(5);
const TWO_MAX: Duration = Duration::from_secs(2);
const TRIES: usize = 4;

/// How long it takes until nodes that start at once are all ready, and until each knows all, without what a busy machine
/// adds.
fn start(names: &[String], mode: Mode) -> (Duration, Duration) {
    let mut cluster = Cluster::empty(|config| config.mode = mode);
    let (start, lag) = (Instant::now(), Lag::watch());
    let started: Vec<_> = names.iter().map(|name| Process::spawn(cluster.config_of(name))).collect();
    for process in started {
        cluster.add(process.started());
    }
    for node in cluster.nodes() {
        node.ready();
    }
    let ready = lag.take_off(start.elapsed());
    for node in cluster.nodes() {
        eventually_blocking(PATIENCE, || {
            let seen = node.member_names();
            check(seen == names, || format!("{} sees {seen:?}", node.name()))
        });
    }
    let known = lag.take_off(start.elapsed());
    cluster.settled();
    (ready, known)
}

/// All are ready and know each other within `most`. Where something else takes the processors for a while they have some
/// more tries.
fn fast_once(names: &[String], mode: Mode, most: Duration) {
    let mut tries = Vec::new();
    while tries.len() < TRIES {
        let (ready, known) = start(names, mode);
        println!("{mode:?}: {} nodes ready after {ready:?}, each knows all others after {known:?}", names.len());
        if ready.max(known) < most {
            return;
        }
        tries.push((ready, known));
    }
    panic!("{mode:?}: not once within {most:?}: {tries:?}");
}

#[test]
fn ten_nodes_that_start_at_once_know_each_other_and_are_ready() {
    let names: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    for mode in MODES {
        fast_once(&names, mode, TEN_MAX);
    }
}

#[test]
fn two_nodes_that_start_at_the_same_instant_are_both_ready() {
    let names = ["a".to_owned(), "b".to_owned()];
    for mode in MODES {
        for _ in 0..5 {
            fast_once(&names, mode, TWO_MAX);
        }
    }
}
