//! When a primary crashes its backups serve at once, and soon there are as many copies again as there should be.

use std::time::Duration;

use sessionmesh::SessionId;
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::processes::control::{Loaded, Wish};
use sessionmesh_testkit::processes::{Attributes, Cluster, MODES, attributes};
use tokio::time::Instant;

const SESSIONS: usize = 2_000;
/// "At once": no more than one read deadline and what a slow machine adds.
const AT_ONCE: Duration = Duration::from_secs(1);

fn contents(of: &str) -> Vec<Attributes> {
    (0..SESSIONS).map(|number| attributes([("user", &format!("{of} {number}"))])).collect()
}

/// How long after `from` one node has served this session, by asking again and again.
fn first_served(cluster: &Cluster, on: &str, id: SessionId, expected: &Loaded, from: Instant) -> Duration {
    let lag = Lag::watch();
    loop {
        match cluster[on].load_one(id) {
            loaded if loaded == *expected => return from.elapsed(),
            Loaded::CannotTell(_) => {
                let took = lag.take_off(from.elapsed());
                assert!(took < AT_ONCE, "{on} cannot tell for {took:?}");
            }
            other => panic!("{on} serves {other:?} after the crash"),
        }
    }
}

#[test]
fn a_backup_serves_at_once_and_the_second_copy_exists_again() {
    for mode in MODES {
        // Given sessions at home on each of four nodes, each where it belongs
        let mut cluster = Cluster::start(&["a", "b", "c", "d"], mode);
        let mut ids = Vec::new();
        let mut expected = Vec::new();
        for name in ["a", "b", "c", "d"] {
            ids.extend(cluster[name].create(contents(name), Wish::Configured));
            expected.extend(contents(name).into_iter().map(Loaded::Session));
        }
        cluster.placed(&ids);

        // When one node crashes
        let crash = cluster.kill("a");

        // Then each survivor serves a session of it at once,
        let served = ["b", "c", "d"].map(|on| first_served(&cluster, on, ids[0], &expected[0], crash));
        // and all other sessions,
        let unclear: usize = cluster.nodes().iter().map(|node| node.serves(&ids, &expected)).sum();
        let all = crash.elapsed();
        // and each has its copies again, equal ones, and no other.
        cluster.placed(&ids);
        println!(
            "{mode:?}: first served by b, c, d {served:?} after the crash; all by all {all:?}, {unclear} at the second try; placed again {:?}",
            crash.elapsed()
        );
        for node in cluster.nodes() {
            assert_eq!(node.member_names(), ["b", "c", "d"]);
        }
    }
}
