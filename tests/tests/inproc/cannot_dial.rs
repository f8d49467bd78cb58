//! A node that cannot dial another one, for want of file descriptors, while that one reaches it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessionmesh::Mode;
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, create_sessions, eventually_async, settled_and_exact};
use sessionmesh_testkit::network::TestNetwork;
use tokio::time::timeout;

/// Sessions that such a node holds.
const SESSIONS: usize = 30;

/// `EMFILE`.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// The network of a node that has no descriptor to dial with while it is told so. Others reach it.
fn cannot_dial(taken: &Arc<AtomicBool>) -> TestNetwork {
    let taken = taken.clone();
    TestNetwork::default().dialling(move |_| {
        let taken = taken.load(Ordering::Acquire);
        async move { if taken { Err(io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES)) } else { Ok(()) } }
    })
}

#[tokio::test]
async fn a_node_becomes_ready_and_trusts_its_copies_beside_one_that_is_reached_and_cannot_reach_it() {
    let mut cluster =
        Cluster::start_with(2, |builder| builder.mode(Mode::AllToAll).commit_deadline(Duration::from_millis(500)))
            .await;
    let taken = Arc::<AtomicBool>::default();
    let network = cannot_dial(&taken);
    cluster.launch("starved", |builder| builder.network(Arc::new(network))).await;
    cluster.settled().await;
    // Given a node that must send its sessions to another one that comes again, and cannot dial it
    let ids = create_sessions(cluster.node("starved"), SESSIONS).await;
    taken.store(true, Ordering::Release);
    cluster.crash("n0");
    let again = cluster.launch("n0", |builder| builder).await;
    // Then that one is ready all the same, and reads its own copies.
    timeout(PATIENCE, again.ready()).await.expect("it does not wait for who cannot send");
    eventually_async(PATIENCE, async || {
        let before = again.stats().local_reads;
        let found = again.load(ids[0]).await.map_err(|error| error.to_string())?;
        assert!(found.is_some(), "the other node has given it");
        check(again.stats().local_reads > before, || "it asks others".to_owned())
    })
    .await;
    // With descriptors all is as before.
    taken.store(false, Ordering::Release);
    settled_and_exact(&cluster.all(), &ids).await;
    cluster.settled().await;
}
