//! Nobody is taken for dead who lives: not in calm, and not while the machine is fully loaded.
//!
//! The calm lasts 15 s; `MESHTEST_QUIET_SECONDS` sets another time.

use std::thread;
use std::time::Duration;

use sessionmesh::{Mode, SessionId};
use sessionmesh_testkit::busy::{BusyThreads, Lag};
use sessionmesh_testkit::processes::control::{Happened, Request};
use sessionmesh_testkit::processes::{Cluster, attributes};
use tokio::time::Instant;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const LOADED: Duration = Duration::from_secs(10);
/// Between two looks at the cluster.
const LOOK: Duration = Duration::from_millis(500);

/// Fails if any node saw another one go down, until `duration` is over. The suspicions that there were.
fn watch(cluster: &Cluster, duration: Duration, ids: &[SessionId]) -> u64 {
    let start = Instant::now();
    while start.elapsed() < duration {
        thread::sleep(LOOK);
        for node in cluster.nodes() {
            let happened: Vec<Happened> = node.ask(&Request::Events);
            let down: Vec<_> = happened.iter().filter(|happened| matches!(happened, Happened::Down(..))).collect();
            assert!(down.is_empty(), "after {:?} {} saw {down:?}", start.elapsed(), node.name());
            assert_eq!(node.member_names(), NAMES, "after {:?} at {}", start.elapsed(), node.name());
            node.load(ids);
        }
    }
    cluster.nodes().iter().map(|node| node.stats().suspicions).sum()
}

/// Five nodes that have some sessions and see each other.
fn cluster() -> (Cluster, Vec<SessionId>) {
    let cluster = Cluster::start(&NAMES, Mode::PrimaryBackup { backups: 1 });
    let ids = cluster.nodes().iter().map(|node| node.create_one(attributes([("user", node.name())]))).collect();
    for node in cluster.nodes() {
        let _: Vec<Happened> = node.ask(&Request::Events);
    }
    (cluster, ids)
}

#[test]
fn in_calm_nobody_is_suspected_and_nobody_goes_down() {
    let seconds = std::env::var("MESHTEST_QUIET_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let duration = Duration::from_secs(seconds.unwrap_or(15));
    // Given five nodes, when nothing happens for a long time
    let (cluster, ids) = cluster();
    let lag = Lag::watch();
    let suspicions = watch(&cluster, duration, &ids);
    // Then nobody goes down, and nobody is even suspected. A machine that is late has no calm.
    let late = lag.so_far();
    println!("calm: {duration:?}, {suspicions} suspicions; this machine was late by {late:?}");
    assert!(suspicions == 0 || late > duration / 50, "{suspicions}");
}

#[test]
fn nobody_goes_down_while_all_cores_are_busy() {
    // Given five nodes, when twice as many threads as there are cores do nothing but compute
    let (cluster, ids) = cluster();
    let threads = BusyThreads::for_each_core(2);
    // Then nobody goes down.
    let suspicions = watch(&cluster, LOADED, &ids);
    println!("loaded: {LOADED:?} with {} busy threads, {suspicions} suspicions", threads.len());
}
