//! A node that leaves while its sessions are in use hands all of them over, in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::processes::control::{Loaded, Request, Wish};
use sessionmesh_testkit::processes::{
    Cluster, MODES, PATIENCE, SetWhenDropped, attributes, check, eventually_blocking,
};
use tokio::time::Instant;

const SESSIONS: usize = 3_000;
const READERS: usize = 2;
/// What an operator would allow.
const DEADLINE: Duration = Duration::from_secs(30);
/// It takes 0.3 s on a quiet machine.
const TOOK_MAX: Duration = Duration::from_secs(4);

#[test]
fn a_node_that_leaves_while_its_sessions_are_read_hands_over_all_of_them_in_time() {
    for mode in MODES {
        // Given a node whose sessions are read on it all the time
        let mut cluster = Cluster::start(&["a", "b", "c"], mode);
        let content = attributes([("user", "ada")]);
        let ids = cluster["b"].create(vec![content.clone(); SESSIONS], Wish::Configured);
        let (stop, lines) = (AtomicBool::new(false), [(); READERS].map(|()| cluster["b"].connect()));
        let (took, left) = thread::scope(|scope| {
            let stop_them = SetWhenDropped(&stop);
            let readers = lines.map(|mut line| {
                let (ids, stop) = (&ids, &stop);
                scope.spawn(move || {
                    let mut missed = 0;
                    for asked in ids.chunks(50).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                        let loaded: Vec<Loaded> =
                            line.ask(&Request::Load(asked.to_vec())).expect("the process runs on");
                        missed += loaded.iter().filter(|loaded| **loaded == Loaded::None).count();
                    }
                    missed
                })
            });
            let before = cluster["b"].stats();
            eventually_blocking(PATIENCE, || {
                let now = cluster["b"].stats();
                check(now.local_reads > before.local_reads + 1_000, || format!("few reads yet: {now:?}"))
            });
            // When it leaves
            let (start, lag) = (Instant::now(), Lag::watch());
            let deadline = u64::try_from(DEADLINE.as_millis()).expect("a short time");
            let left: usize = cluster["b"].ask(&Request::Leave(deadline));
            let took = lag.take_off(start.elapsed());
            drop(stop_them);
            // Then no reader is told that there is no session,
            let missed: usize = readers.map(|reader| reader.join().expect("no reader fails")).into_iter().sum();
            assert_eq!(missed, 0, "{mode:?}: reads on the leaving node said that there is no session");
            (took, left)
        });
        println!("{mode:?}: {SESSIONS} sessions handed over under {READERS} readers in {took:?}, {left} not");
        // all sessions are handed over, soon,
        assert_eq!(left, 0, "{mode:?}: not handed over");
        assert!(took < TOOK_MAX, "{mode:?}: {took:?}");
        // and the others have them.
        drop(cluster.take("b"));
        cluster.settled();
        cluster.placed(&ids);
        assert_eq!(cluster["a"].load(&ids), vec![Loaded::Session(content); SESSIONS]);
    }
}
