//! A user may have only so many sessions: the longest idle ones end when another one logs in.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use sessionmesh::{Event, Mesh, MeshBuilder, Mode, Session, SessionId, UserIndex};
use sessionmesh_testkit::cluster::{
    Cluster, PATIENCE, both_at_once, check, eventually, eventually_async, log_in, try_listed,
};

/// With deadlines that a busy machine keeps: a limit is not looked at by a node that was stalled.
fn limited(mode: Mode, limit: u32) -> impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static {
    move |builder| {
        let patient = builder.commit_deadline(Duration::from_secs(2)).read_deadline(Duration::from_secs(2));
        patient.mode(mode).user_index(UserIndex::attribute("user")).max_sessions_per_user(limit)
    }
}

async fn ids(node: &Mesh, user: &str) -> BTreeSet<SessionId> {
    try_listed(node, user).await.expect("calm")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_login_returns_the_limit_holds_on_every_node_and_the_earliest_are_gone() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, limited(mode, 2)).await;
        let mut ears = cluster.listen();
        let mut logins = Vec::new();
        for round in 0..12_usize {
            // As a server does it: in a task of its own.
            let mesh = cluster[round % 3].clone();
            let login = tokio::spawn(async move { log_in(&mesh, "ada").await.id() });
            logins.push(login.await.expect("no panic"));
            let others = log_in(&cluster[round % 3], &format!("user {round}")).await;
            let expected: BTreeSet<SessionId> = logins.iter().rev().take(2).copied().collect();
            for node in cluster.nodes() {
                assert_eq!(ids(node, "ada").await, expected, "{mode:?}, round {round}: {}", node.name());
                assert!(node.peek(others.id()).await.expect("calm").is_some(), "somebody else's");
            }
            if let Some(id) = logins.len().checked_sub(3).map(|at| logins[at]) {
                assert!(cluster[round % 3].load(id).await.expect("calm").is_none());
                let told = Event::Invalidated { id };
                eventually(PATIENCE, || check(ears.count(&told) == 1, || "it was not told once".to_owned())).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_idle_session_goes_though_it_is_not_the_earliest() {
    both_at_once(async |mode| {
        let adjust = limited(mode, 2);
        let cluster = Cluster::start_with(3, move |builder| adjust(builder.max_inactive(Duration::from_secs(6)))).await;
        let used = log_in(&cluster[0], "ada").await;
        let idle = log_in(&cluster[1], "ada").await;
        eventually_async(PATIENCE, async || {
            // Used on another node, so that the access has to be known elsewhere.
            cluster[2].load(used.id()).await.map_err(|error| error.to_string())?;
            let sessions = cluster[0].sessions_of("ada").await.map_err(|error| error.to_string())?;
            let longest = sessions.iter().find(|session| session.id == idle.id()).map(|session| session.idle);
            check(longest > Some(Duration::from_secs(2)), || format!("{mode:?}: {sessions:?}"))
        })
        .await;
        let new = log_in(&cluster[1], "ada").await;
        for node in cluster.nodes() {
            assert_eq!(ids(node, "ada").await, [used.id(), new.id()].into(), "{mode:?}: {}", node.name());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_at_the_same_time_on_all_nodes_never_end_all_of_each_other() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, limited(mode, 1)).await;
        for round in 0..20_usize {
            let user = format!("user {round}");
            let logins = join_all(cluster.nodes().iter().map(|node| log_in(node, &user))).await;
            let made: BTreeSet<SessionId> = logins.iter().map(Session::id).collect();
            let left = ids(&cluster[round % 3], &user).await;
            assert!(!left.is_empty() && left.is_subset(&made), "{mode:?}, round {round}: {left:?} of {made:?}");
            // Whatever was left: after the next login the limit holds.
            let last = log_in(&cluster[round % 3], &user).await;
            for node in cluster.nodes() {
                assert_eq!(ids(node, &user).await, [last.id()].into(), "{mode:?}, round {round}: {}", node.name());
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_by_renewal_or_update_counts_and_a_renewal_move_or_write_alone_does_not() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, limited(mode, 2)).await;
        let first = log_in(&cluster[0], "ada").await;
        let second = log_in(&cluster[1], "ada").await;
        first.insert("cart", &1).expect("a number is JSON");
        first.commit().await.expect("calm");
        first.renew_id().await.expect("calm");
        let away = cluster[2].load(first.id()).await.expect("calm").expect("it lives");
        away.move_home().await.expect("calm");
        away.insert("user", "ada").expect("text is JSON");
        away.commit().await.expect("the same user again");
        assert_eq!(ids(&cluster[0], "ada").await, [away.id(), second.id()].into(), "{mode:?}");

        let third = cluster[0].create().await.expect("far from full");
        third.commit().await.expect("calm");
        third.insert("user", "ada").expect("text is JSON");
        third.renew_id().await.expect("calm");
        assert_eq!(ids(&cluster[1], "ada").await, [second.id(), third.id()].into(), "{mode:?}: by renewal");

        let fourth = cluster[2].create().await.expect("far from full");
        fourth.commit().await.expect("calm");
        fourth.update("user", |_: Option<String>| Some("ada".to_owned())).await.expect("calm");
        eventually_async(PATIENCE, async || {
            let left = ids(&cluster[0], "ada").await;
            check(left == [third.id(), fourth.id()].into(), || format!("{mode:?}: {left:?} by update"))
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_succeeds_while_nodes_cannot_tell_and_the_next_one_makes_up_for_it() {
    let mut cluster = Cluster::start_with(3, limited(Mode::PrimaryBackup { backups: 1 }, 1)).await;
    let ears = log_in(&cluster[0], "ada").await.id();
    // A node that goes by another rule.
    cluster.launch("n3", |builder| builder.user_index(UserIndex::attribute("login"))).await;
    cluster.launch("n4", |builder| builder.user_index(UserIndex::attribute("login"))).await;
    cluster.settled().await;
    let second = log_in(&cluster[1], "ada").await.id();
    for id in [ears, second] {
        assert!(cluster[0].peek(id).await.expect("calm").is_some(), "nobody was ended on a guess");
    }
    cluster.leave("n3").await;
    cluster.leave("n4").await;
    cluster.settled().await;
    let third = log_in(&cluster[2], "ada").await.id();
    assert_eq!(ids(&cluster[0], "ada").await, [third].into());
}

#[tokio::test]
async fn a_limit_without_an_index_is_refused_at_the_start() {
    let refused = Mesh::builder().name("n0").max_sessions_per_user(3_u32).start().await;
    let error = refused.map(drop).expect_err("it cannot count").to_string();
    assert!(error.contains("`max_sessions_per_user` = 3") && error.contains("`user_attribute`"), "{error}");
}
