//! The node that sends a newcomer what it must hold dies in the middle of that.

use std::time::Duration;

use sessionmesh::SessionId;
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::processes::control::{Done, Request};
use sessionmesh_testkit::processes::{Cluster, MODES, PATIENCE, check, eventually_blocking};
use tokio::time::Instant;

const SESSIONS: usize = 20_000;
const VALUE_BYTES: usize = 4 << 10;
/// How long it may take to make them, in a debug build on a busy machine.
const FILLED: Duration = Duration::from_secs(120);

#[test]
fn the_newcomer_completes_from_another_and_is_ready_only_with_everything() {
    for mode in MODES {
        // Given two nodes that both hold all sessions
        let mut cluster = Cluster::start(&["a", "b"], mode);
        let start = Instant::now();
        let mut lines = ["a", "b"].map(|name| cluster[name].connect());
        for line in &mut lines {
            line.send(&Request::Fill { sessions: SESSIONS / 2, value_bytes: VALUE_BYTES }).expect("it runs");
        }
        let filled = lines.each_mut().map(|line| line.receive::<Vec<Done>>(FILLED).expect("it runs"));
        let ids: Vec<SessionId> =
            ["a", "b"].into_iter().zip(filled).flat_map(|(on, done)| cluster[on].copied(done)).collect();
        cluster.placed(&ids);
        println!("{mode:?}: {SESSIONS} sessions made in {:?}", start.elapsed());

        // When a third one joins, and one that sends to it dies when the newcomer has about half of what it gets
        let (start, lag) = (Instant::now(), Lag::watch());
        cluster.launch("c");
        eventually_blocking(PATIENCE, || {
            let seen = cluster["c"].member_names();
            check(seen.len() == 3, || format!("c sees {seen:?}"))
        });
        let expected = ids
            .iter()
            .zip(cluster["c"].owners(&ids))
            .filter(|(_, owners)| owners.iter().any(|name| name == "c"))
            .count();
        let (_, half) = eventually_blocking(PATIENCE, || {
            let held = cluster["c"].stats().sessions;
            check(held * 2 >= expected && held > 0, || format!("c holds {held} of {expected}")).map(|()| held)
        });
        let was_ready = cluster["c"].is_ready();
        cluster.kill("a");
        println!("{mode:?}: killed after {:?}, when c held {half} of {expected}, ready {was_ready}", start.elapsed());
        assert!(!was_ready, "{mode:?}: c was ready with {half} of {expected}");

        // Then it is ready only with all that it must hold, now that it is one of two,
        let ready = cluster["c"].ready();
        let took = start.elapsed();
        println!("{mode:?}: ready after {took:?} with {} sessions", ready.sessions);
        let digests = cluster["c"].digests(&ids);
        let owners = cluster["c"].owners(&ids);
        let lacking = digests
            .iter()
            .zip(&owners)
            .filter(|(digest, owners)| digest.is_none() && owners.iter().any(|name| name == "c"))
            .count();
        assert_eq!((lacking, ready.sessions), (0, SESSIONS), "{mode:?}: ready, but lacks {lacking}");
        // and holds the same as the other.
        cluster.settled();
        cluster.placed(&ids);
        assert_eq!(cluster["c"].digests(&ids), cluster["b"].digests(&ids));
        println!("{mode:?}: all in place after {:?}", start.elapsed());
        assert!(lag.take_off(took) < Duration::from_secs(20), "{mode:?}: {took:?}");
    }
}
