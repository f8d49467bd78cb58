//! Which sessions a user has, on whatever node they are, and ending all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use sessionmesh::{Ack, Event, Mesh, MeshBuilder, Mode, SessionId, UserError, UserIndex};
use sessionmesh_testkit::cluster::{
    self, Cluster, PATIENCE, both_at_once, check, eventually, eventually_async, log_in, settled_and_exact, try_listed,
};
use tokio::time::Instant;

fn indexed(mode: Mode) -> impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static {
    move |builder| builder.mode(mode).user_index(UserIndex::attribute("user"))
}

/// Every node lists exactly these sessions for `user`, as soon as it can tell.
async fn listed(cluster: &Cluster, user: &str, expected: &[SessionId], context: &str) {
    let expected: BTreeSet<SessionId> = expected.iter().copied().collect();
    for node in cluster.nodes() {
        let found = cluster::listed(node, user).await;
        assert_eq!(found, expected, "{context}: {} on {}", user, node.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_lists_the_sessions_of_a_user_wherever_they_were_made() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, indexed(mode)).await;
        let mut ada = Vec::new();
        for round in 0..12_usize {
            ada.push(log_in(&cluster[round % 3], "ada").await.id());
            log_in(&cluster[round % 3], "bob").await;
            listed(&cluster, "ada", &ada, &format!("{mode:?}, round {round}")).await;
        }
        listed(&cluster, "eve", &[], "nobody").await;
        let sessions = cluster[0].sessions_of("ada").await.expect("calm");
        let order: Vec<_> = sessions.iter().map(|session| (session.idle, session.id)).collect();
        assert!(order.is_sorted(), "{order:?}");
        assert!(sessions.iter().all(|session| session.created_ms > 0 && session.idle < session.max_inactive));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_follows_the_user_through_changes_removals_ends_renewals_and_moves() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, indexed(mode)).await;
        let sessions = [log_in(&cluster[0], "ada").await, log_in(&cluster[1], "ada").await];
        let [one, other] = &sessions;
        listed(&cluster, "ada", &[one.id(), other.id()], "logged in").await;

        one.insert("user", "bob").expect("text is JSON");
        one.commit().await.expect("calm");
        listed(&cluster, "ada", &[other.id()], "changed").await;
        listed(&cluster, "bob", &[one.id()], "changed").await;

        let old = other.id();
        other.renew_id().await.expect("calm");
        assert_ne!(old, other.id());
        listed(&cluster, "ada", &[other.id()], "renewed").await;
        let away = cluster[2].load(other.id()).await.expect("calm").expect("it lives");
        away.move_home().await.expect("calm");
        listed(&cluster, "ada", &[away.id()], "moved").await;

        one.remove("user");
        one.commit().await.expect("calm");
        listed(&cluster, "bob", &[], "removed").await;
        one.update("user", |_: Option<String>| Some("eve".to_owned())).await.expect("calm");
        listed(&cluster, "eve", &[one.id()], "updated").await;
        one.invalidate().await.expect("calm");
        listed(&cluster, "eve", &[], "ended").await;
        away.invalidate().await.expect("calm");
        settled_and_exact(&cluster.all(), &[one.id(), old, other.id(), away.id()]).await;
        assert_eq!(cluster.nodes().iter().map(|node| node.stats().users_indexed).sum::<usize>(), 0, "{mode:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_sessions_are_not_listed() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, indexed(mode)).await;
        let short = log_in(&cluster[0], "ada").await;
        short.set_max_inactive(Duration::from_millis(300));
        short.commit().await.expect("calm");
        let long = log_in(&cluster[1], "ada").await;
        eventually_async(PATIENCE, async || {
            for node in cluster.nodes() {
                let found = try_listed(node, "ada").await.map_err(|error| error.to_string())?;
                check(found == [long.id()].into(), || format!("{mode:?}: {} lists {found:?}", node.name()))?;
            }
            Ok(())
        })
        .await;
    })
    .await;
}

/// Asks again and again, from the first moment until the cluster has settled: a list is complete, or there is none.
async fn never_too_few(cluster: &Cluster, node: &Mesh, user: &str, expected: &BTreeSet<SessionId>) -> (usize, usize) {
    let (mut lists, mut unknown) = (0, 0);
    let until = Instant::now() + PATIENCE;
    loop {
        match try_listed(node, user).await {
            Ok(found) => {
                lists += 1;
                assert_eq!(&found, expected, "answer {} of {}", lists + unknown, node.name());
            }
            Err(UserError::CannotTell { ended: 0, .. }) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
        let settled = cluster.nodes().iter().all(|one| one.is_ready() && one.members().len() == cluster.nodes().len());
        if settled && lists > 20 {
            return (lists, unknown);
        }
        assert!(Instant::now() < until, "not settled; {lists} lists, {unknown} times it could not tell");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_after_a_crash_a_list_is_complete_or_there_is_none() {
    both_at_once(async |mode| {
        let mut cluster = Cluster::start_with(4, indexed(mode)).await;
        for round in 0..3_usize {
            let mut expected = BTreeSet::new();
            let user = format!("user {round}");
            for number in 0..60_usize {
                expected.insert(log_in(&cluster[number % 4], &user).await.id());
            }
            cluster.crash("n3");
            let asked = cluster[round].clone();
            let (lists, unknown) = never_too_few(&cluster, &asked, &user, &expected).await;
            println!("FIGURE {mode:?}: {lists} lists, {unknown} times it could not tell");
            drop(asked);
            cluster.settled().await;
            let all: Vec<_> = expected.iter().copied().collect();
            listed(&cluster, &user, &all, "settled").await;
            cluster.join("n3").await;
            listed(&cluster, &user, &all, "joined again").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_join_a_list_is_complete_or_there_is_none() {
    both_at_once(async |mode| {
        let mut cluster = Cluster::start_with(2, indexed(mode)).await;
        let mut expected = BTreeSet::new();
        for number in 0..60_usize {
            expected.insert(log_in(&cluster[number % 2], "ada").await.id());
        }
        for name in ["n2", "n3"] {
            let joiner = cluster.launch(name, |builder| builder).await;
            let (_, _) = tokio::join!(
                never_too_few(&cluster, &cluster[0], "ada", &expected),
                never_too_few(&cluster, &joiner, "ada", &expected),
            );
            cluster.settled().await;
            let all: Vec<_> = expected.iter().copied().collect();
            listed(&cluster, "ada", &all, name).await;
        }
        cluster.leave("n0").await;
        cluster.settled().await;
        let all: Vec<_> = expected.iter().copied().collect();
        listed(&cluster, "ada", &all, "after a leave").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_more_nodes_vanish_than_there_are_copies_there_is_no_list() {
    let mut cluster = Cluster::start_with(5, indexed(Mode::PrimaryBackup { backups: 1 })).await;
    for number in 0..60_usize {
        log_in(&cluster[number % 5], "ada").await;
    }
    let both = (cluster.take("n3"), cluster.take("n4"));
    drop(both);
    for _ in 0..3 {
        let found = cluster[0].sessions_of("ada").await;
        assert!(matches!(found, Err(UserError::CannotTell { .. })), "{found:?}");
    }
    cluster.settled().await;
    let found = cluster[1].invalidate_all("ada").await;
    assert!(matches!(found, Err(UserError::CannotTell { ended: 0, .. })), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sessions_of_others_are_not_looked_at() {
    let cluster = Cluster::start_with(3, indexed(Mode::PrimaryBackup { backups: 1 })).await;
    for number in 0..10_000_usize {
        let session = cluster[number % 3].create().await.expect("far from full");
        session.insert("user", &number).expect("a number is JSON");
        session.commit_with(Ack::Local).await.expect("nothing to wait for");
    }
    cluster.settled().await;
    let ada = [log_in(&cluster[0], "ada").await.id(), log_in(&cluster[1], "ada").await.id()];
    listed(&cluster, "ada", &ada, "among 10,000").await;
    let told: u64 = cluster.nodes().iter().map(|node| node.stats().user_ids_told).sum();
    assert!(told <= 2 * 2 * 3, "{told} ids were told for 3 questions of 2 sessions on 2 nodes each");
    let reads: u64 = cluster.nodes().iter().map(|node| node.stats().remote_reads + node.stats().local_reads).sum();
    assert_eq!(reads, 2 * 3, "what was listed was read once for each question");
    assert_eq!(try_listed(&cluster[2], "77").await.expect("calm").len(), 1, "a number is a user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_more_sessions_than_fit_into_one_answer_is_listed_page_by_page() {
    let cluster = Cluster::start_with(2, indexed(Mode::PrimaryBackup { backups: 1 })).await;
    let mut expected = BTreeSet::new();
    for _ in 0..5_000_usize {
        let session = cluster[0].create().await.expect("far from full");
        session.insert("user", "robot").expect("text is JSON");
        session.commit_with(Ack::Local).await.expect("nothing to wait for");
        expected.insert(session.id());
    }
    cluster.settled().await;
    assert_eq!(try_listed(&cluster[1], "robot").await.expect("calm"), expected);
    assert_eq!(cluster[0].stats().user_ids_told, 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidating_all_ends_every_session_of_the_user_and_none_of_others() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, indexed(mode)).await;
        let mut ears = cluster.listen();
        let (mut ada, mut bob) = (Vec::new(), Vec::new());
        for round in 0..9_usize {
            ada.push(log_in(&cluster[round % 3], "ada").await.id());
            bob.push(log_in(&cluster[round % 3], "bob").await.id());
        }
        // As a server does it: in a task of its own.
        let mesh = cluster[1].clone();
        let done =
            tokio::spawn(async move { mesh.invalidate_all("ada").await }).await.expect("no panic").expect("calm");
        assert_eq!((done.ended, done.unconfirmed), (9, Vec::new()), "{mode:?}");
        for (node, id) in cluster.nodes().iter().flat_map(|node| ada.iter().map(move |id| (node, *id))) {
            assert!(node.load(id).await.expect("calm").is_none(), "{mode:?}: {}", node.name());
        }
        listed(&cluster, "ada", &[], "ended").await;
        listed(&cluster, "bob", &bob, "not ada").await;
        for id in ada {
            let told = Event::Invalidated { id };
            eventually(PATIENCE, || check(ears.count(&told) == 1, || "it was not told once".to_owned())).await;
        }
        assert_eq!(cluster[0].invalidate_all("ada").await.expect("calm").ended, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_to_keep_is_kept_also_under_the_id_that_it_has_by_now() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, indexed(mode)).await;
        for round in 0..6_usize {
            let keep = log_in(&cluster[round % 3], "ada").await;
            let before = keep.id();
            for node in cluster.nodes() {
                log_in(node, "ada").await;
            }
            if round > 2 {
                keep.renew_id().await.expect("calm");
            }
            let done = cluster[(round + 1) % 3].invalidate_all_but("ada", before).await.expect("calm");
            assert_eq!((done.ended, done.unconfirmed), (3, Vec::new()), "{mode:?}, round {round}");
            listed(&cluster, "ada", &[keep.id()], "kept").await;
            keep.invalidate().await.expect("calm");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_renewed_while_all_are_ended_does_not_escape() {
    both_at_once(async |mode| {
        let cluster = Cluster::start_with(3, indexed(mode)).await;
        for round in 0..30_usize {
            let session = log_in(&cluster[round % 3], "ada").await;
            let (ended, renewed) = tokio::join!(cluster[round / 3 % 3].invalidate_all("ada"), session.renew_id());
            ended.expect("calm");
            drop(renewed);
            eventually_async(PATIENCE, async || {
                for node in cluster.nodes() {
                    let found = try_listed(node, "ada").await.map_err(|error| error.to_string())?;
                    check(found.is_empty(), || format!("{mode:?}, round {round}: {} lists {found:?}", node.name()))?;
                    let found = node.load(session.id()).await.map_err(|error| error.to_string())?;
                    check(found.is_none(), || format!("{mode:?}, round {round}: {} serves it", node.name()))?;
                }
                Ok(())
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_index_nothing_is_kept_and_the_question_is_refused() {
    let cluster = Cluster::start(2, Mode::PrimaryBackup { backups: 1 }).await;
    log_in(&cluster[0], "ada").await;
    assert!(matches!(cluster[0].sessions_of("ada").await, Err(UserError::NoIndex)));
    assert!(matches!(cluster[1].invalidate_all("ada").await, Err(UserError::NoIndex)));
    assert!(cluster.nodes().iter().all(|node| node.stats().users_indexed == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_go_by_other_rules_cannot_tell() {
    let mut cluster = Cluster::start_with(1, indexed(Mode::PrimaryBackup { backups: 1 })).await;
    log_in(&cluster[0], "ada").await;
    for (name, other) in [("n1", None), ("n2", Some(UserIndex::attribute("login")))] {
        let own = |builder: MeshBuilder| match other {
            Some(index) => builder.user_index(index),
            None => builder.user_index(UserIndex::with("user", |value| String::from_utf8(value.to_vec()).ok())),
        };
        cluster.launch(name, own).await;
    }
    cluster.settled().await;
    for node in cluster.nodes() {
        let found = node.sessions_of("ada").await;
        assert!(matches!(found, Err(UserError::CannotTell { .. })), "{}: {found:?}", node.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_can_come_from_the_settings_and_point_into_an_attribute() {
    let cluster =
        Cluster::start_with(3, |builder| builder.user_attribute("axum-login.data".to_owned()).user_pointer("/user_id"))
            .await;
    let session = cluster[0].create().await.expect("far from full");
    session.insert("axum-login.data", &serde_json::json!({"user_id": 7, "auth_hash": [1, 2]})).expect("JSON");
    session.commit().await.expect("calm");
    listed(&cluster, "7", &[session.id()], "by pointer").await;
    session.insert("axum-login.data", &serde_json::json!({"user_id": null, "auth_hash": null})).expect("JSON");
    session.commit().await.expect("calm");
    listed(&cluster, "7", &[], "logged out").await;
}
