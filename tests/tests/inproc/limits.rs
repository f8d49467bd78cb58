//! Limits of the configuration refuse, name the setting, and change nothing.

use sessionmesh::{CommitError, CreateError, MeshBuilder, Session, SessionId};
use sessionmesh_testkit::cluster::{Cluster, MODES, create_sessions, session_with, settled_and_exact};

/// The commit of `session` is refused for the setting `named`, and no node sees any of it.
async fn refused(cluster: &Cluster, session: &Session, named: &str) {
    let digests: Vec<_> = cluster.nodes().iter().map(|node| node.digest(session.id())).collect();
    let commit = session.commit().await;
    let Err(CommitError::Limit(exceeded)) = &commit else {
        panic!("{named}: {commit:?}");
    };
    assert!(exceeded.setting == named, "{exceeded} does not name {named}");
    assert!(exceeded.found > exceeded.allowed, "{exceeded}");
    assert!(commit.expect_err("see above").to_string().contains("nothing was changed"));
    let after: Vec<_> = cluster.nodes().iter().map(|node| node.digest(session.id())).collect();
    assert_eq!(digests, after, "nothing was changed");
    for node in cluster.nodes() {
        let seen = node.load(session.id()).await.expect("calm").expect("it was committed");
        assert_eq!(seen.get::<i32>("first").expect("a number"), Some(1));
        assert!(seen.get_bytes("also").is_none(), "a commit is made as a whole or not at all");
    }
}

fn narrow(builder: MeshBuilder) -> MeshBuilder {
    builder.max_attributes(4_u32).max_key_bytes(10_u32).max_value_bytes(100_u32).max_session_bytes(250_u32)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_of_a_session_refuses_and_names_its_setting() {
    for mode in MODES {
        let cluster = Cluster::start_with(3, move |builder| narrow(builder).mode(mode)).await;
        for node in cluster.nodes() {
            let session = session_with(node, "first", &1).await;
            session.insert("also", &1).expect("a number is JSON");
            session.insert_bytes("elevenbytes", *b"v");
            refused(&cluster, &session, "max_key_bytes").await;

            let session = session_with(node, "first", &1).await;
            session.insert("also", &1).expect("a number is JSON");
            session.insert_bytes("large", [0; 101]);
            refused(&cluster, &session, "max_value_bytes").await;
            // What was refused stays in the handle, and is committed once it fits.
            session.insert_bytes("large", [0; 100]);
            session.commit().await.expect("now it fits");

            let session = session_with(node, "first", &1).await;
            for key in ["also", "b", "c"] {
                session.insert_bytes(key, [0; 90]);
            }
            refused(&cluster, &session, "max_session_bytes").await;

            let session = session_with(node, "first", &1).await;
            for key in ["also", "b", "c", "d"] {
                session.insert(key, &1).expect("a number is JSON");
            }
            refused(&cluster, &session, "max_attributes").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_come_and_go_do_not_count_within_a_long_life() {
    for mode in MODES {
        let cluster = Cluster::start_with(3, move |builder| builder.mode(mode).max_attributes(4_u32)).await;
        let session = session_with(&cluster[0], "first", &1).await;
        // Far more keys than it may have at a time, now and then on another node.
        let in_its_life = 4 * 32;
        for round in 1..in_its_life {
            let seen = cluster[round / 10 % 3].load(session.id()).await.expect("calm").expect("it was committed");
            let key = format!("csrf-{round}");
            seen.insert(&key, &round).expect("a number is JSON");
            seen.commit().await.expect("removed keys do not count");
            seen.remove(&key);
            seen.commit().await.expect("removed keys do not count");
        }
        settled_and_exact(&cluster.all(), &[session.id()]).await;
        let seen = cluster[1].load(session.id()).await.expect("calm").expect("it was committed");
        assert!(seen.keys().iter().map(|key| &**key).eq(["first"]), "{mode:?}: a removed key came back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_have_any_number_of_keys_in_its_life() {
    const AT_A_TIME: usize = 1_000;
    for mode in MODES {
        let limits = |builder: MeshBuilder| builder.max_attributes(1_000_u32).max_session_bytes(20_000_u32);
        let limits = move |builder: MeshBuilder| limits(builder.max_value_bytes(1_000_u32));
        let cluster = Cluster::start_with(3, move |builder| limits(builder.mode(mode))).await;
        let session = cluster[0].create().await.expect("far from full");
        let id = session.id();
        session.commit().await.expect("calm");
        for round in 0..12 {
            // It is written where it was not written before, each time, and by who has read it there.
            let seen = cluster[round % 3].load(id).await.expect("calm").expect("it was committed");
            seen.keys().iter().for_each(|key| seen.remove(key));
            for number in 0..AT_A_TIME {
                seen.insert(&format!("csrf-{round}-{number}"), &1).expect("a number is JSON");
            }
            seen.commit().await.unwrap_or_else(|error| panic!("{mode:?}, round {round}: {error}"));
        }
        settled_and_exact(&cluster.all(), &[id]).await;
        for node in cluster.nodes() {
            let seen = node.load(id).await.expect("calm").expect("it was committed");
            assert!(seen.keys().len() == AT_A_TIME && seen.keys().iter().all(|key| key.starts_with("csrf-11-")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_heeds_the_limits_too() {
    for mode in MODES {
        let cluster = Cluster::start_with(2, move |builder| narrow(builder).mode(mode)).await;
        let session = session_with(&cluster[0], "first", &1).await;
        let digest = cluster[0].digest(session.id());
        let long = |_: Option<String>| Some("x".repeat(200));
        let refused = session.update("text", long).await;
        assert!(
            matches!(&refused, Err(CommitError::Limit(limit)) if limit.setting == "max_value_bytes"),
            "{refused:?}"
        );
        assert_eq!(cluster[0].digest(session.id()), digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_commit_beyond_a_limit_creates_nothing() {
    for mode in MODES {
        let cluster = Cluster::start_with(3, move |builder| narrow(builder).mode(mode)).await;
        let session = cluster[0].create().await.expect("far from full");
        session.insert_bytes("large", [0; 101]);
        assert!(matches!(session.commit().await, Err(CommitError::Limit(_))));
        for node in cluster.nodes() {
            assert!(!node.holds(session.id()));
            assert!(node.load(session.id()).await.expect("calm").is_none());
            assert_eq!(node.stats().sessions, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_creates_no_session_but_takes_copies_and_changes() {
    for mode in MODES {
        let mut cluster = Cluster::start_with(1, move |builder| builder.mode(mode).max_sessions(50_u64)).await;
        let mut ids = create_sessions(&cluster[0], 50).await;
        let full = cluster[0].create().await;
        assert!(matches!(full, Err(CreateError::Full { limit: 50 })), "{mode:?}: {full:?}");
        let roomy = |builder: MeshBuilder| builder.max_sessions(1_000_u64);
        cluster.launch("n1", roomy).await;
        cluster.settled().await;
        let more: Vec<SessionId> = create_sessions(&cluster[1], 50).await;
        ids.extend(more);
        settled_and_exact(&cluster.all(), &ids).await;
        assert_eq!(cluster[0].stats().sessions, 100, "{mode:?}: two nodes hold everything");
        // It serves and changes what it holds.
        let session = cluster[0].load(ids[70]).await.expect("calm").expect("it was committed");
        session.insert("changed", &true).expect("a truth is JSON");
        session.commit().await.expect("a change is no creation");
        // And creates again when there is room.
        for id in &ids[..51] {
            let session = cluster[1].load(*id).await.expect("calm").expect("it was committed");
            session.invalidate().await.expect("calm");
        }
        let session = cluster[0].create().await.expect("49 of 50");
        session.commit().await.expect("calm");
        assert!(matches!(cluster[0].create().await, Err(CreateError::Full { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_that_wait_for_their_first_commit_cannot_slip_past_the_limit() {
    let cluster = Cluster::start_with(1, |builder| builder.max_sessions(5_u64)).await;
    let mut handles = Vec::new();
    for _ in 0..10 {
        handles.extend(cluster[0].create().await);
    }
    let mut committed = 0;
    for handle in &handles {
        match handle.commit().await {
            Ok(_) => committed += 1,
            Err(CommitError::Limit(exceeded)) => assert!(exceeded.setting == "max_sessions", "{exceeded}"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((committed, cluster[0].stats().sessions), (5, 5));
}
