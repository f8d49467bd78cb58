//! A process that dies is out of the views of the others at once, one that hangs soon.

use std::time::Duration;

use sessionmesh::Mode;
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::processes::{Cluster, PATIENCE, check, eventually_blocking, median};
use tokio::time::Instant;

const NAMES: [&str; 3] = ["a", "b", "c"];
const ROUNDS: usize = 10;
/// The promise is 100 ms, which a benchmark holds against a quiet machine.
const DEATH_MEDIAN_MAX: Duration = Duration::from_millis(250);
/// The promise is 1.5 s.
const HANG_MAX: Duration = Duration::from_secs(3);

/// How long after `since` all nodes but `gone` do not see it any more, without what a busy machine adds.
fn noticed(cluster: &Cluster, gone: &str, since: Instant) -> Duration {
    let lag = Lag::watch();
    for node in cluster.nodes().iter().filter(|node| node.name() != gone) {
        eventually_blocking(PATIENCE, || {
            let seen = node.member_names();
            check(!seen.iter().any(|name| name == gone), || format!("{} sees {seen:?}", node.name()))
        });
    }
    lag.take_off(since.elapsed())
}

#[test]
fn a_killed_process_is_dropped_at_once() {
    let mut cluster = Cluster::start(&NAMES, Mode::PrimaryBackup { backups: 1 });
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        // Given three nodes that see each other, when one is killed
        let name = NAMES[round % NAMES.len()];
        let killed = cluster.kill(name);
        // Then the others drop it,
        times.push(noticed(&cluster, name, killed));
        // and take it back when it is started again.
        cluster.launch(name);
        cluster.settled();
    }
    println!("killed: dropped by all after {times:?}");
    let median = median(&mut times);
    println!("killed: median {median:?}, longest {:?}", times[ROUNDS - 1]);
    assert!(median < DEATH_MEDIAN_MAX, "median {median:?}");
}

#[test]
fn a_hanging_process_is_dropped_soon_and_taken_back_when_it_goes_on() {
    let mut cluster = Cluster::start(&NAMES, Mode::PrimaryBackup { backups: 1 });
    for name in NAMES {
        // Given three nodes that see each other, when one hangs
        let frozen = cluster[name].freeze();
        // Then the others drop it,
        let took = noticed(&cluster, name, frozen);
        println!("hanging: dropped by all after {took:?}");
        assert!(took < HANG_MAX, "{took:?}");
        // and all see each other again when it goes on.
        cluster[name].thaw();
        println!("hanging: one cluster again {:?} after it went on", cluster.settled());
    }
}
