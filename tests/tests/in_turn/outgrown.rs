//! Sessions that grew beyond a limit, since several nodes wrote to them at once.

use futures::future::join_all;
use sessionmesh::{CommitError, Mode, SessionId};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, eventually, exact};
use sessionmesh_testkit::waiting::Turn;

const MIB: usize = 1 << 20;

/// Waits until all nodes hold the same, and have nothing to send.
async fn all_the_same(cluster: &Cluster, id: SessionId) {
    eventually(PATIENCE * 10, || {
        let sending: usize = cluster.nodes().iter().map(|node| node.stats().outbox).sum();
        check(sending == 0, || format!("{sending} are on their way"))?;
        exact(&cluster.all(), id)
    })
    .await;
}

/// On one thread: all six write before any of them hears of another.
#[tokio::test]
async fn what_six_nodes_wrote_at_once_is_replicated_and_can_only_shrink() {
    let _turn = Turn::in_this_process().await;
    let patient = |builder: sessionmesh::MeshBuilder| {
        // Six times 4 MB for each of six nodes, in a debug build.
        builder.mode(Mode::AllToAll).commit_deadline(std::time::Duration::from_secs(20))
    };
    let cluster = Cluster::start_with(6, patient).await;
    let session = cluster[0].create().await.expect("far from full");
    session.commit().await.expect("calm");
    let id = session.id();
    let mut handles = Vec::new();
    for (at, node) in cluster.nodes().iter().enumerate() {
        let handle = node.load(id).await.expect("calm").expect("it was committed");
        for value in 0..4 {
            handle.insert_bytes(&format!("n{at}-{value}"), vec![7; MIB - 100]);
        }
        handles.push(handle);
    }
    for commit in join_all(handles.iter().map(|handle| handle.commit())).await {
        // Half a gigabyte has to travel, so it may take longer than the deadline. Then the change stays, and goes on.
        let made = matches!(&commit, Ok(_) | Err(CommitError::TimedOut { .. }));
        assert!(made, "within the limit by what its node knew: {commit:?}");
    }
    all_the_same(&cluster, id).await;
    for node in cluster.nodes() {
        let seen = node.load(id).await.expect("calm").expect("it lives");
        assert_eq!(seen.keys().len(), 24);
        seen.insert("one more", &1).expect("a number is JSON");
        let refused = seen.commit().await;
        assert!(
            matches!(&refused, Err(CommitError::Limit(limit)) if limit.setting == "max_session_bytes"),
            "{refused:?}"
        );
    }
    // It may shrink, also while it is still too large.
    let seen = cluster[3].load(id).await.expect("calm").expect("it lives");
    seen.remove("n0-0");
    assert_eq!(seen.commit().await.expect("smaller than before").copies, 5);
    for key in seen.keys().into_iter().skip(2) {
        seen.remove(&key);
    }
    assert_eq!(seen.commit().await.expect("smaller than before").copies, 5);
    let elsewhere = cluster[5].load(id).await.expect("calm").expect("it lives");
    elsewhere.insert("one more", &1).expect("a number is JSON");
    assert_eq!(elsewhere.commit().await.expect("below the limit again").copies, 5);
    all_the_same(&cluster, id).await;
}
