//! A node that owns nothing of a session reads and writes it.

use sessionmesh::{Mode, SessionId};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, eventually, exact, session_with, settled_and_exact};

async fn with_sessions(nodes: usize) -> (Cluster, Vec<SessionId>) {
    let cluster = Cluster::start(nodes, Mode::PrimaryBackup { backups: 1 }).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(session_with(&cluster[number % nodes], "n", &number).await.id());
    }
    settled_and_exact(&cluster.all(), &ids).await;
    (cluster, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_reads_a_session_and_does_not_keep_it() {
    let (cluster, ids) = with_sessions(4).await;
    for (number, id) in ids.iter().enumerate() {
        let owners = cluster[0].owners(*id);
        let stranger = cluster.stranger(*id);
        for _ in 0..3 {
            let session = stranger.load(*id).await.expect("calm").expect("it was committed");
            assert_eq!(session.get::<usize>("n").expect("a number"), Some(number));
            assert!(!stranger.holds(*id), "what was read is borrowed");
        }
        assert_eq!(stranger.owners(*id), owners);
        exact(&cluster.all(), *id).expect("a read moves nothing");
    }
    assert!(cluster.nodes().iter().all(|node| node.stats().outbox == 0), "and sends nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_commits_reaches_the_owners_and_lets_go() {
    let (cluster, ids) = with_sessions(4).await;
    for id in &ids {
        let stranger = cluster.stranger(*id);
        let session = stranger.load(*id).await.expect("calm").expect("it was committed");
        session.insert("by", stranger.name()).expect("text is JSON");
        let commit = session.commit().await.expect("calm");
        // Who owned it under the view before, or stands in for an owner, may hold it, too.
        assert!(commit.copies >= 2, "both owners hold it: {commit:?}");
        for node in cluster.nodes() {
            let seen = node.load(*id).await.expect("calm").expect("it was committed");
            assert_eq!(seen.get::<String>("by").expect("text").as_deref(), Some(stranger.name()), "on {}", node.name());
        }
        eventually(PATIENCE, || check(!stranger.holds(*id), || format!("{} still holds {id}", stranger.name()))).await;
    }
    settled_and_exact(&cluster.all(), &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_writes_many_times_with_one_handle_and_nothing_is_lost() {
    let (cluster, ids) = with_sessions(4).await;
    let id = ids[0];
    let session = cluster.stranger(id).load(id).await.expect("calm").expect("it was committed");
    for step in 0..50 {
        session.insert(&format!("k{}", step % 7), &step).expect("a number is JSON");
        session.insert("step", &step).expect("a number is JSON");
        session.commit().await.expect("calm");
        let seen = cluster.owners(id)[step % 2].load(id).await.expect("calm").expect("it was committed");
        assert_eq!(seen.get::<usize>("step").expect("a number"), Some(step));
        assert_eq!(seen.keys().len(), 2 + (step + 1).min(7), "nothing was lost in step {step}");
    }
    settled_and_exact(&cluster.all(), &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_removes_an_attribute_and_ends_a_session() {
    let (cluster, ids) = with_sessions(4).await;
    let id = ids[1];
    let session = cluster.stranger(id).load(id).await.expect("calm").expect("it was committed");
    session.remove("n");
    session.commit().await.expect("calm");
    for node in cluster.nodes() {
        let seen = node.load(id).await.expect("calm").expect("it lives");
        assert!(seen.get_bytes("n").is_none(), "on {}", node.name());
    }
    session.invalidate().await.expect("calm");
    for node in cluster.nodes() {
        assert!(node.load(id).await.expect("calm").is_none(), "on {}", node.name());
    }
    settled_and_exact(&cluster.all(), &ids).await;
}
