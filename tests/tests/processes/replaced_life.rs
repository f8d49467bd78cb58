//! A node that was frozen while another one of its name was started stops serving as soon as it wakes.

use std::net::SocketAddr;
use std::time::Duration;

use sessionmesh::Mode;
use sessionmesh_testkit::processes::control::{Done, Loaded, Request, Wish};
use sessionmesh_testkit::processes::{Cluster, MODES, PATIENCE, Process, attributes, check, eventually_blocking};
use sessionmesh_testkit::rounds::rounds;
use tokio::time::Instant;

/// A lease of 300 ms, and what a loaded machine may take to wake a process.
const LEASE: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_millis(1_000);

fn replace_and_wake(mode: Mode, round: usize) {
    // Given three nodes, one of which is frozen until the others have removed it,
    let mut cluster = Cluster::start(&["a", "b", "c"], mode);
    let ids = cluster["c"].create(vec![attributes([("user", "ada")]); 60], Wish::Configured);
    let mut config = cluster["c"].config().clone();
    config.bind = SocketAddr::from(([127, 0, 0, 1], 0));
    cluster["c"].freeze();
    eventually_blocking(PATIENCE, || {
        let seen: Vec<_> = ["a", "b"].into_iter().map(|name| cluster[name].member_names().len()).collect();
        check(seen == [2, 2], || format!("the others see {seen:?} members"))
    });
    let frozen = cluster.take("c");
    // and another one of its name that was started elsewhere, where some of its sessions ended,
    cluster.add(Process::spawn(config).started());
    cluster.settled();
    let (ended, kept) = ids.split_at(20);
    let done: Vec<Done> = cluster["c"].ask(&Request::Invalidate(ended.to_vec()));
    assert!(done.iter().all(|done| done.acknowledged().is_some()), "{done:?}");
    // when it wakes
    frozen.thaw();
    let woken = Instant::now();
    // Then it never serves what ended without it, nor acknowledges a login, beyond a lease,
    loop {
        let create = Request::Create { sessions: vec![attributes([("user", "eve")])], ack: Wish::Configured };
        let asked = woken.elapsed();
        let login: Vec<Done> = frozen.ask(&create);
        let late = asked > LEASE + SLACK;
        assert!(
            !late || login[0].acknowledged().is_none(),
            "{mode:?}, round {round}: {login:?} {asked:?} after it woke"
        );
        for loaded in frozen.load(ended) {
            assert!(
                !matches!(loaded, Loaded::Session(_)),
                "{mode:?}, round {round}: {loaded:?} {asked:?} after it woke"
            );
        }
        if late {
            break;
        }
    }
    assert!(!frozen.is_ready(), "it does not say that it was replaced");
    assert!(matches!(frozen.load_one(kept[0]), Loaded::CannotTell(_)));
    // and the others are not disturbed.
    cluster.settled();
    for name in ["a", "b", "c"] {
        cluster[name].serves(kept, &vec![Loaded::Session(attributes([("user", "ada")])); kept.len()]);
        cluster[name].serves(ended, &vec![Loaded::None; ended.len()]);
    }
}

#[test]
fn a_node_that_was_replaced_while_it_was_frozen_stops_serving_within_a_lease() {
    for mode in MODES {
        for round in 0..rounds(1) {
            replace_and_wake(mode, round);
        }
    }
}
