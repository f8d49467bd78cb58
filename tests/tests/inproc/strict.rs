//! What a commit does when there are too few nodes for its copies.

use sessionmesh::{Ack, CommitError, Mesh, Mode, Session};
use sessionmesh_testkit::cluster::{Cluster, MODES, settled_and_exact};

async fn written(node: &Mesh) -> Session {
    let session = node.create().await.expect("far from full");
    session.insert("user", "ada").expect("text is JSON");
    session
}

/// Modes that ask for more copies than two nodes can hold.
const MANY_COPIES: [Mode; 2] = [Mode::PrimaryBackup { backups: 3 }, Mode::AllToAll];

#[tokio::test]
async fn a_node_alone_commits_and_says_that_there_are_no_copies() {
    for (mode, ack) in MODES.into_iter().flat_map(|mode| [(mode, Ack::Owners), (mode, Ack::Copies(1))]) {
        let cluster = Cluster::start_with(1, move |builder| builder.mode(mode).ack(ack)).await;
        let commit = written(&cluster[0]).await.commit().await.expect("alone is no fault unless strict");
        assert_eq!((commit.copies, commit.changed), (0, true), "{mode:?} {ack:?}");
        assert!(cluster[0].load(commit.id).await.expect("nobody to ask").is_some());
    }
}

#[tokio::test]
async fn a_strict_node_alone_refuses_to_call_a_commit_safe_but_the_change_stays() {
    for (mode, ack) in MODES.into_iter().flat_map(|mode| [(mode, Ack::Owners), (mode, Ack::Copies(1))]) {
        let cluster = Cluster::start_with(1, move |builder| builder.mode(mode).ack(ack).strict(true)).await;
        let session = written(&cluster[0]).await;
        let refused = session.commit().await;
        assert!(matches!(refused, Err(CommitError::NoOtherNode)), "{mode:?} {ack:?}: {refused:?}");
        let again = cluster[0].load(session.id()).await.expect("nobody to ask").expect("the change stays");
        assert_eq!(again.get::<String>("user").expect("text").as_deref(), Some("ada"));
        // What had stayed is told to a node that comes later.
        let id = session.id();
        drop((session, again));
        let mut cluster = cluster;
        cluster.join("n1").await;
        settled_and_exact(&cluster.all(), &[id]).await;
    }
}

#[tokio::test]
async fn a_handle_whose_strict_commit_was_refused_commits_again_once_there_is_company() {
    for mode in MODES {
        let mut cluster = Cluster::start_with(1, move |builder| builder.mode(mode).strict(true)).await;
        let session = written(&cluster[0]).await;
        assert!(matches!(session.commit().await, Err(CommitError::NoOtherNode)));
        cluster.join("n1").await;
        session.insert("step", &2).expect("a number is JSON");
        let commit = session.commit().await.expect("now there is another node");
        assert_eq!((commit.copies, commit.changed), (1, true));
        let there = cluster[1].load(session.id()).await.expect("calm").expect("it was committed");
        assert_eq!(there.get::<i32>("step").expect("a number"), Some(2));
        assert_eq!(there.get::<String>("user").expect("text").as_deref(), Some("ada"));
    }
}

#[tokio::test]
async fn strict_names_how_many_copies_are_missing() {
    for mode in MANY_COPIES {
        let adjust = move |builder: sessionmesh::MeshBuilder| builder.mode(mode).strict(true);
        let cluster = Cluster::start_with(2, adjust).await;
        let session = written(&cluster[0]).await;
        let refused = session.commit_with(Ack::Copies(3)).await;
        let Err(CommitError::TooFewCopies { copies: 1, wanted: 3 }) = refused else {
            panic!("{mode:?}: {refused:?}");
        };
        session.insert("step", &2).expect("a number is JSON");
        assert_eq!(session.commit_with(Ack::Copies(1)).await.expect("one other node").copies, 1);
        session.insert("step", &3).expect("a number is JSON");
        assert_eq!(session.commit_with(Ack::Owners).await.expect("one other node").copies, 1);
    }
}

#[tokio::test]
async fn without_strict_the_copies_that_can_be_had_suffice() {
    for mode in MANY_COPIES {
        let cluster = Cluster::start_with(2, move |builder| builder.mode(mode)).await;
        let commit = written(&cluster[0]).await.commit_with(Ack::Copies(3)).await.expect("not strict");
        assert_eq!(commit.copies, 1, "{mode:?}");
    }
}
