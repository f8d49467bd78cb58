//! Another id for the same session.

use sessionmesh::{CommitError, Event, SessionId};
use sessionmesh_testkit::cluster::{
    Cluster, PATIENCE, both_at_once, check, eventually, eventually_async, fresh, load, settled_and_exact,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_session_lives_under_its_new_id_alone() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        let mut ears = cluster.listen();
        for round in 0..12_usize {
            let id = fresh(&cluster[round % 4]).await;
            let session = load(&cluster[(round / 3) % 4], id).await;
            session.insert("user", "ada").expect("text is JSON");
            session.renew_id().await.expect("calm");
            let successor = session.id();
            assert_ne!(successor, id);
            for node in cluster.nodes() {
                assert!(node.load(id).await.expect("calm").is_none(), "{mode:?}: {} takes the old id", node.name());
                let renewed = load(node, successor).await;
                assert_eq!(renewed.get::<Vec<i32>>("cart").expect("numbers"), Some(vec![1, 2, 3]));
                assert_eq!(renewed.get::<String>("user").expect("text").as_deref(), Some("ada"));
            }
            settled_and_exact(&cluster.all(), &[id, successor]).await;
            let renewed = Event::Renewed { id, successor };
            eventually(PATIENCE, || check(ears.count(&renewed) == 1, || "it was not told once".to_owned())).await;
            assert_eq!(ears.count(&Event::Invalidated { id }), 0, "a renewal is no logout");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_under_way_to_the_old_id_follows() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..12_usize {
            let id = fresh(&cluster[round % 4]).await;
            let late = load(&cluster[(round / 4) % 4], id).await;
            let session = load(&cluster[round % 4], id).await;
            session.renew_id().await.expect("calm");
            let successor = session.id();
            late.insert("late", &round).expect("a number is JSON");
            late.commit().await.expect("it follows");
            settled_and_exact(&cluster.all(), &[id, successor]).await;
            for node in cluster.nodes() {
                assert!(node.load(id).await.expect("calm").is_none());
            }
            follows(&cluster, successor, "late", round, late.id()).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_was_under_way_to_the_old_id_follows() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..12_usize {
            let id = fresh(&cluster[round % 4]).await;
            let late = load(&cluster[(round / 4) % 4], id).await;
            let session = load(&cluster[round % 4], id).await;
            session.renew_id().await.expect("calm");
            late.update("late", |_: Option<usize>| Some(round)).await.expect("it follows");
            follows(&cluster, session.id(), "late", round, late.id()).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_runs_beside_a_renewal_is_not_lost() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..24_usize {
            let id = fresh(&cluster[round % 4]).await;
            let writer = load(&cluster[(round / 4) % 4], id).await;
            let session = load(&cluster[(round + 1) % 4], id).await;
            writer.insert("late", &round).expect("a number is JSON");
            let (written, renewed) = tokio::join!(writer.commit(), session.renew_id());
            written.expect("calm");
            renewed.expect("calm");
            follows(&cluster, session.id(), "late", round, writer.id()).await;
        }
    })
    .await;
}

/// The write shows up on all nodes, at the latest when everything has settled.
async fn follows(cluster: &Cluster, successor: SessionId, key: &str, value: usize, handle: SessionId) {
    eventually_async(PATIENCE / 3, async || {
        for node in cluster.nodes() {
            let found = load(node, successor).await.get::<usize>(key).expect("a number");
            check(found == Some(value), || {
                format!(
                    "{} has {found:?} for {key}; the handle stands at {handle}, renewed is {successor}",
                    node.name()
                )
            })?;
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_renewals_at_once_neither_gets_what_the_other_one_stores() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..12_usize {
            // One of the two may be somebody who had planted the id.
            let id = fresh(&cluster[round % 4]).await;
            let (one, other) = (load(&cluster[round / 4], id).await, load(&cluster[round / 4 + 1], id).await);
            one.insert("one", &round).expect("a number is JSON");
            other.insert("other", &round).expect("a number is JSON");
            let (first, second) = tokio::join!(one.renew_id(), other.renew_id());
            assert!(first.is_ok() || second.is_ok(), "{mode:?}: {first:?} {second:?}");
            for (renewed, handle, key) in [(&first, &one, "one"), (&second, &other, "other")] {
                match renewed {
                    Ok(_) => {
                        assert_ne!(handle.id(), id);
                        for node in cluster.nodes() {
                            let keys = load(node, handle.id()).await.keys();
                            assert!(
                                keys.iter().map(|key| &**key).eq(["cart", key]),
                                "{mode:?} round {round}: {keys:?}"
                            );
                        }
                    }
                    // It came too late, and has made none of its changes.
                    Err(error) => assert!(matches!(error, CommitError::Ended), "{mode:?}: {error}"),
                }
            }
            cluster.serves_none_of(&[id], "the old id").await;
            settled_and_exact(&cluster.all(), &[id, one.id(), other.id()]).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_from_before_a_renewal_cannot_renew_the_session_again() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..4_usize {
            let id = fresh(&cluster[0]).await;
            let (victim, attacker) = (load(&cluster[1], id).await, load(&cluster[round], id).await);
            victim.insert("user", "ada").expect("text is JSON");
            victim.renew_id().await.expect("in time");
            attacker.insert("user", "mallory").expect("text is JSON");
            let refused = attacker.renew_id().await;
            assert!(matches!(refused, Err(CommitError::Ended)), "{mode:?}: {refused:?}");
            let session = load(&cluster[2], victim.id()).await;
            assert_eq!(session.get::<String>("user").expect("text").as_deref(), Some("ada"), "{mode:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_that_races_with_a_renewal_leaves_nobody_logged_in() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..24_usize {
            let id = fresh(&cluster[round % 4]).await;
            let out = load(&cluster[round / 6], id).await;
            let session = load(&cluster[(round / 6 + round) % 4], id).await;
            let (ended, renewed) = tokio::join!(out.invalidate(), session.renew_id());
            ended.expect("calm");
            assert!(matches!(renewed, Ok(_) | Err(CommitError::Ended)), "{mode:?}: {renewed:?}");
            let ids = [id, session.id()];
            cluster.serves_none_of(&ids, &format!("round {round}, both at once")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_with_a_handle_from_before_the_renewal_ends_the_successor_too() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..12_usize {
            let id = fresh(&cluster[round % 4]).await;
            let out = load(&cluster[round / 4], id).await;
            let session = load(&cluster[round % 4], id).await;
            session.renew_id().await.expect("calm");
            out.invalidate().await.expect("calm");
            cluster.serves_none_of(&[session.id()], &format!("round {round}, the old handle")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_never_committed_and_a_handle_used_twice_can_be_renewed() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(3, mode).await;
        let session = cluster[0].create().await.expect("far from full");
        session.insert("n", &0).expect("a number is JSON");
        session.renew_id().await.expect("calm");
        let mut old = session.id();
        for round in 1..5 {
            session.insert("n", &round).expect("a number is JSON");
            session.renew_id().await.expect("calm");
            for node in cluster.nodes() {
                assert!(node.load(old).await.expect("calm").is_none(), "{mode:?}: {}", node.name());
                assert_eq!(load(node, session.id()).await.get::<i32>("n").expect("a number"), Some(round));
            }
            old = session.id();
        }
    })
    .await;
}
