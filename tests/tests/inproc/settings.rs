//! Nodes whose settings differ, as in a rolling restart that changes them, or by mistake for good.

use std::collections::BTreeSet;

use sessionmesh::{CommitError, Mesh, Mode, Session, SessionId, UserError, UserIndex};
use sessionmesh_testkit::cluster::{
    Cluster, PATIENCE, check, create_sessions, eventually, eventually_async, listed, settled_and_exact, try_listed,
};

fn backups(backups: u8) -> Mode {
    Mode::PrimaryBackup { backups }
}

async fn log_in(node: &Mesh, user: &str) -> Session {
    let session = node.create().await.expect("far from full");
    for key in ["user", "account"] {
        session.insert(key, user).expect("text is JSON");
    }
    session.commit().await.expect("calm");
    session
}

async fn number(node: &Mesh, id: SessionId) -> Result<Option<u32>, String> {
    let session = node.load(id).await.map_err(|error| error.to_string())?;
    Ok(session.map(|session| session.get("n").expect("a number").expect("each session has one")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_left_with_different_numbers_of_copies_agree_on_owners_and_lose_nothing() {
    // Given three nodes with one backup, and one that was given two
    let mut cluster = Cluster::start_with(3, |builder| builder.mode(backups(1))).await;
    cluster.launch("more", |builder| builder.mode(backups(2))).await;
    cluster.settled().await;
    let all: Vec<Mesh> = cluster.nodes().to_vec();
    // when each writes on sessions of each,
    let mut ids = Vec::new();
    for node in &all {
        ids.extend(create_sessions(node, 20).await);
    }
    for (at, id) in ids.iter().enumerate() {
        let at = u32::try_from(at).expect("few");
        let session = all[(at as usize + 1) % 4].load(*id).await.expect("calm").expect("it was acknowledged");
        session.insert("n", &(at + 1)).expect("a number is JSON");
        let copies = session.commit().await.expect("calm").copies;
        // then a change has the larger number of copies,
        assert!(copies >= 2, "{copies} copies");
        // which all see at once,
        for node in &all {
            let told = async || number(node, *id).await;
            let found = eventually_async(PATIENCE, told).await;
            assert_eq!(found, Some(at + 1), "{id} on {}", node.name());
        }
    }
    settled_and_exact(&cluster.all(), &ids).await;
    // and each node says what is in force, and who differs.
    for node in &all {
        assert_eq!(node.in_force().mode, backups(2));
        let [found] = &node.differences()[..] else { panic!("one difference: {:?}", node.differences()) };
        let expected = "`mode` is primary-backup with backups = 1 on n0, n1, n2; primary-backup with backups = 2 on more; \
                        the larger number of copies is in force until it is the same everywhere";
        assert_eq!(found.to_string(), expected);
    }
    // When the one that differs is gone, the others have the copies that they ask for, and no more.
    drop(all);
    cluster.leave("more").await;
    cluster.settled().await;
    settled_and_exact(&cluster.all(), &ids).await;
    for node in cluster.nodes() {
        assert_eq!((node.in_force().mode, node.owners(ids[0]).len()), (backups(1), 2));
        assert_eq!(node.differences(), []);
        let loaded = eventually_async(PATIENCE, async || number(node, ids[7]).await).await;
        assert_eq!(loaded, Some(8));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_lets_a_visitor_store_he_can_change_on_each_other_one() {
    // Given two nodes with small limits, and one with large ones
    let mut cluster = Cluster::start_with(2, |builder| {
        builder.max_value_bytes(1_000_u32).max_session_bytes(2_000_u32).max_attributes(3_u32)
    })
    .await;
    let large = |builder: sessionmesh::MeshBuilder| {
        builder.max_value_bytes(100_000_u32).max_session_bytes(200_000_u32).max_attributes(50_u32)
    };
    cluster.launch("large", large).await;
    cluster.settled().await;
    // when a session grows beyond the small limits on it,
    let session = cluster.node("large").create().await.expect("far from full");
    for key in 0..10 {
        session.insert(&key.to_string(), &"x".repeat(9_000)).expect("text is JSON");
    }
    session.commit().await.expect("within the limits of its node");
    let id = session.id();
    // then it has its copies, and goes on everywhere,
    settled_and_exact(&cluster.all(), &[id]).await;
    for node in cluster.nodes() {
        let session = node.load(id).await.expect("calm").expect("it was acknowledged");
        session.insert(node.name(), &"y".repeat(9_000)).expect("text is JSON");
        session.commit().await.unwrap_or_else(|error| panic!("on {}: {error}", node.name()));
    }
    // until nobody is left who allows that.
    drop(session);
    cluster.leave("large").await;
    cluster.settled().await;
    let session = cluster[0].load(id).await.expect("calm").expect("its node handed it over");
    session.insert("more", &"z".repeat(9_000)).expect("text is JSON");
    let refused = session.commit().await.expect_err("beyond the limits of those that are left");
    assert!(matches!(refused, CommitError::Limit(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_rule_of_the_user_index_changes_a_list_is_complete_or_cannot_be_told() {
    let mut cluster = Cluster::start_with(3, |builder| builder.user_index(UserIndex::attribute("user"))).await;
    let mut ids = BTreeSet::new();
    for round in 0..24_usize {
        ids.insert(log_in(&cluster[round % 3], "ada").await.id());
    }
    // When one node after the other goes by another rule
    for name in ["n0", "n1", "n2"] {
        cluster.leave(name).await;
        cluster.launch(name, |builder| builder.user_index(UserIndex::attribute("account"))).await;
        cluster.settled().await;
        // no list is too short,
        for node in cluster.nodes() {
            match try_listed(node, "ada").await {
                Ok(found) => assert_eq!(found, ids, "on {}", node.name()),
                Err(UserError::CannotTell { .. }) => {}
                Err(error) => panic!("on {}: {error}", node.name()),
            }
        }
        let rules: BTreeSet<u64> = cluster.nodes()[0].members().iter().map(|member| member.terms.user_rule).collect();
        let told = cluster.nodes()[0].differences();
        assert_eq!(told.iter().any(|found| found.setting == "user_attribute"), rules.len() > 1, "{told:?}");
    }
    // and in the end all list all.
    for node in cluster.nodes() {
        assert_eq!(listed(node, "ada").await, ids, "on {}", node.name());
    }
    eventually(PATIENCE, || check(cluster[0].differences().is_empty(), || format!("{:?}", cluster[0].differences())))
        .await;
}
