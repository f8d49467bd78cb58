//! A read that serves what this node holds asks nobody, and may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessionmesh::{Mesh, Mode, ReadConsistency, SessionId};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, create_sessions, eventually_async, settled_and_exact};
use sessionmesh_testkit::network::TestNetwork;

async fn finds(node: &Mesh, id: SessionId, read: ReadConsistency) -> bool {
    node.load_with(id, read).await.expect("calm").is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_holds_the_session_asks_nobody_and_one_that_does_not_asks() {
    let cluster = Cluster::start(4, Mode::PrimaryBackup { backups: 1 }).await;
    let ids = create_sessions(&cluster[0], 10).await;
    settled_and_exact(&cluster.all(), &ids).await;
    let asked = |node: &Mesh| (node.stats().local_reads, node.stats().remote_reads);
    for id in ids {
        let (owner, stranger) = (cluster.owners(id)[1], cluster.stranger(id));
        let ((local, remote), (_, strangers)) = (asked(owner), asked(stranger));
        assert!(finds(owner, id, ReadConsistency::Held).await);
        assert_eq!(asked(owner), (local + 1, remote));
        assert!(finds(stranger, id, ReadConsistency::Held).await);
        assert_eq!(asked(stranger).1, strangers + 1);
        assert!(!stranger.holds(id), "what was read is borrowed");

        let session = owner.load(id).await.expect("calm").expect("it is there");
        session.invalidate().await.expect("calm");
        for node in cluster.nodes() {
            assert!(!finds(node, id, ReadConsistency::Held).await, "{} knows of the end, or asks", node.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_read_is_an_access_and_does_not_serve_a_session_past_its_limit() {
    const LIMIT: Duration = Duration::from_secs(1);
    let cluster = Cluster::start_with(2, |builder| builder.mode(Mode::AllToAll).max_inactive(LIMIT)).await;
    let id = create_sessions(&cluster[0], 1).await[0];
    let ticks = tokio::time::interval(LIMIT / 8);
    tokio::pin!(ticks);
    for _ in 0..24 {
        ticks.tick().await;
        assert!(finds(&cluster[1], id, ReadConsistency::Held).await, "it is in use");
    }
    eventually_async(PATIENCE, async || {
        // A look that finds it is an access, so it is left alone until neither node holds it live. One may for longer
        // than the other: a node that stalls asks the other one, which counts that as an access.
        let live = cluster.nodes().iter().find(|node| node.holds_live(id));
        check(live.is_none(), || "it is not past its limit".to_owned())?;
        // Until the owners agree on the end it cannot be told.
        let found = cluster[1].load_with(id, ReadConsistency::Held).await;
        check(matches!(found, Ok(None)), || format!("{found:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_serves_what_it_holds_at_once_and_misses_a_logout() {
    let hangs = Arc::<AtomicBool>::default();
    let network = TestNetwork::default().hanging(hangs.clone());
    let mut cluster = Cluster::start(2, Mode::AllToAll).await;
    let cut_off = cluster.launch("n2", |builder| builder.network(Arc::new(network))).await;
    cluster.settled().await;
    let ids = create_sessions(&cluster[0], 2).await;
    let (id, quiet) = (ids[0], ids[1]);
    settled_and_exact(&cluster.all(), &ids).await;

    hangs.store(true, Ordering::Release);
    cluster[0].load(id).await.expect("it owns it").expect("it is there").invalidate().await.expect("two agree");
    let asked = cut_off.stats().remote_reads;
    assert!(finds(&cut_off, quiet, ReadConsistency::Held).await);
    assert!(finds(&cut_off, id, ReadConsistency::Held).await, "this is the risk");
    assert_eq!(cut_off.stats().remote_reads, asked);

    hangs.store(false, Ordering::Release);
    eventually_async(PATIENCE, async || {
        let found = cut_off.load_with(id, ReadConsistency::Held).await;
        check(matches!(found, Ok(None)), || format!("{found:?}"))
    })
    .await;
}
