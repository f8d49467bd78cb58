//! A session that moves to an id in the slots of the node that serves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sessionmesh::{Clock, CommitError, Event, Session, SessionId, SystemClock};
use sessionmesh_testkit::cluster::{
    Cluster, PATIENCE, both_at_once, check, eventually, eventually_async, fresh, load, settled_and_exact,
};

/// A session made on one node, and its handle on the next one, whose home it is not.
async fn elsewhere(cluster: &Cluster, round: usize) -> (SessionId, Session) {
    let id = fresh(&cluster[round % 4]).await;
    (id, load(&cluster[(round + 1 + round / 4 % 3) % 4], id).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_session_is_at_home_and_both_its_ids_are_read_on_every_node() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        let mut ears = cluster.listen();
        for round in 0..12_usize {
            let (id, session) = elsewhere(&cluster, round).await;
            let serving = (round + 1 + round / 4 % 3) % 4;
            session.insert("later", &round).expect("a number is JSON");
            let moved = session.move_home().await.expect("calm");
            let successor = session.id();
            assert!(moved.changed && moved.id == successor && successor != id, "{mode:?}: {moved:?}");
            assert_eq!(*cluster[0].owners(successor)[0], *cluster[serving].name());
            for (node, known) in cluster.nodes().iter().flat_map(|node| [id, successor].map(|known| (node, known))) {
                let found = load(node, known).await;
                assert_eq!(found.id(), successor, "{mode:?}: {} by {known}", node.name());
                assert_eq!(found.get::<Vec<i32>>("cart").expect("numbers"), Some(vec![1, 2, 3]));
                assert_eq!(found.get::<usize>("later").expect("a number"), None, "it was not committed");
                let peeked = node.peek(known).await.expect("calm").expect("it lives");
                assert_eq!(peeked.id(), successor);
            }
            session.commit().await.expect("calm");
            assert_eq!(load(&cluster[round % 4], id).await.get::<usize>("later").expect("a number"), Some(round));
            settled_and_exact(&cluster.all(), &[id, successor]).await;
            let told = Event::Moved { id, successor };
            eventually(PATIENCE, || check(ears.count(&told) == 1, || "it was not told once".to_owned())).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_that_is_at_home_was_never_committed_or_has_no_other_node() {
    both_at_once(async |mode| {
        let mut cluster = Cluster::start(2, mode).await;
        let id = fresh(&cluster[0]).await;
        let session = load(&cluster[0], id).await;
        session.insert("later", &1).expect("a number is JSON");
        assert!(!session.move_home().await.expect("calm").changed);
        assert_eq!(session.id(), id);
        assert!(session.commit().await.expect("calm").changed, "the change stayed in the handle");
        let new = cluster[1].create().await.expect("far from full");
        assert!(!new.move_home().await.expect("calm").changed);

        let away = load(&cluster[1], id).await;
        drop((session, new));
        cluster.crash("n0");
        cluster.settled().await;
        let moved = away.move_home().await.expect("alone");
        assert!(!moved.changed, "{mode:?}: alone it is at home everywhere");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_by_either_id_ends_both() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..16_usize {
            let (id, session) = elsewhere(&cluster, round).await;
            let before = load(&cluster[round / 4], id).await;
            session.move_home().await.expect("calm");
            match round % 3 {
                0 => drop(session.invalidate().await.expect("calm")),
                1 => drop(load(&cluster[round / 4], id).await.invalidate().await.expect("calm")),
                _ => drop(before.invalidate().await.expect("calm")),
            }
            let ids = [id, session.id()];
            cluster.serves_none_of(&ids, &format!("{mode:?}, round {round}")).await;
            settled_and_exact(&cluster.all(), &ids).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_that_races_with_a_move_leaves_nobody_logged_in() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..24_usize {
            let (id, session) = elsewhere(&cluster, round).await;
            let out = load(&cluster[round / 6], id).await;
            let (ended, moved) = tokio::join!(out.invalidate(), session.move_home());
            ended.expect("calm");
            assert!(matches!(moved, Ok(_) | Err(CommitError::Ended)), "{mode:?}: {moved:?}");
            cluster.serves_none_of(&[id, session.id()], &format!("{mode:?}, round {round}")).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_races_with_a_move_leaves_only_its_own_id_readable() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..24_usize {
            let (id, session) = elsewhere(&cluster, round).await;
            let login = load(&cluster[round / 6], id).await;
            login.insert("user", "ada").expect("text is JSON");
            let (renewed, moved) = tokio::join!(login.renew_id(), session.move_home());
            renewed.expect("whoever comes first");
            assert!(matches!(moved, Ok(_) | Err(CommitError::Ended)), "{mode:?}: {moved:?}");
            let renewed = login.id();
            let others: Vec<_> = [id, session.id()].into_iter().filter(|other| *other != renewed).collect();
            cluster.serves_none_of(&others, &format!("{mode:?}, round {round}")).await;
            for node in cluster.nodes() {
                assert_eq!(load(node, renewed).await.get::<String>("user").expect("text").as_deref(), Some("ada"));
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_login_the_id_from_before_a_move_reads_nothing() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..8_usize {
            let (id, session) = elsewhere(&cluster, round).await;
            // A handle from before the move logs in: it follows the move first.
            let login = load(&cluster[(round + 1 + round / 4 % 3) % 4], id).await;
            session.move_home().await.expect("calm");
            login.insert("user", "ada").expect("text is JSON");
            login.renew_id().await.expect("it follows");
            cluster.serves_none_of(&[id, session.id()], &format!("{mode:?}, round {round}")).await;
            assert_eq!(
                load(&cluster[0], login.id()).await.get::<String>("user").expect("text").as_deref(),
                Some("ada")
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_moves_at_once_end_in_one_session_that_all_ids_read_with_all_that_was_written() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..12_usize {
            let id = fresh(&cluster[round % 4]).await;
            let (one, other) = (load(&cluster[(round + 1) % 4], id).await, load(&cluster[(round + 2) % 4], id).await);
            let (first, second) = tokio::join!(one.move_home(), other.move_home());
            assert!(first.is_ok() && second.is_ok(), "{mode:?}: {first:?} {second:?}");
            one.insert("one", &round).expect("a number is JSON");
            other.insert("other", &round).expect("a number is JSON");
            let (first, second) = tokio::join!(one.commit(), other.commit());
            assert!(first.is_ok() && second.is_ok(), "{mode:?}: {first:?} {second:?}");
            let ids = [id, one.id(), other.id()];
            eventually_async(PATIENCE, async || {
                let mut found = std::collections::BTreeSet::new();
                for (node, id) in cluster.nodes().iter().flat_map(|node| ids.map(|id| (node, id))) {
                    let session = node.load(id).await.map_err(|error| error.to_string())?;
                    let session = session.ok_or_else(|| format!("{} has no {id} of {ids:?}", node.name()))?;
                    let keys: Vec<_> = session.keys().iter().map(ToString::to_string).collect();
                    check(keys == ["cart", "one", "other"], || format!("{} has {keys:?}", node.name()))?;
                    found.insert(session.id());
                }
                check(found.len() == 1, || format!("{mode:?}, round {round}: {found:?} live"))
            })
            .await;
        }
    })
    .await;
}

/// A clock that can be put forward.
#[derive(Clone, Debug, Default)]
struct Forward(Arc<AtomicU64>);

impl Clock for Forward {
    fn elapsed(&self) -> Duration {
        SystemClock.elapsed() + Duration::from_secs(self.0.load(Ordering::Acquire))
    }

    fn wall_ms(&self) -> u64 {
        SystemClock.wall_ms()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_after_the_move_the_old_id_has_ended_and_the_new_one_lives() {
    both_at_once(async |mode| {
        let clock = Forward::default();
        let hands = clock.0.clone();
        let cluster = Cluster::start_with(4, move |builder| builder.mode(mode).clock(Arc::new(clock.clone()))).await;
        let (id, session) = elsewhere(&cluster, 0).await;
        session.move_home().await.expect("calm");
        for (ahead, readable) in [(50, true), (61, false)] {
            hands.store(ahead, Ordering::Release);
            // To the nodes it looks as if they all had been stalled for so long.
            eventually_async(PATIENCE, async || {
                for node in cluster.nodes() {
                    let old = node.peek(id).await.map_err(|error| error.to_string())?;
                    let new = node.peek(session.id()).await.map_err(|error| error.to_string())?;
                    assert!(new.is_some(), "{mode:?}: {} after {ahead} s", node.name());
                    assert_eq!(old.is_some(), readable, "{mode:?}: {} after {ahead} s", node.name());
                }
                Ok(())
            })
            .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_the_session_moves_and_the_old_cookie_still_works_when_the_node_is_back() {
    both_at_once(async |mode| {
        let mut cluster = Cluster::start(4, mode).await;
        let id = fresh(&cluster[3]).await;
        cluster.crash("n3");
        cluster.settled().await;
        let away = cluster.nodes().iter().find(|node| *node.owners(id)[0] != *node.name()).expect("three nodes");
        let session = load(away, id).await;
        // As a server does it: in a task of its own.
        let moving = tokio::spawn(async move { session.move_home().await.map(|moved| (moved.changed, session)) });
        let (changed, session) = moving.await.expect("no panic").expect("calm");
        assert!(changed);
        let successor = session.id();
        assert_eq!(*cluster[0].owners(successor)[0], *away.name());
        cluster.join("n3").await;
        for node in cluster.nodes() {
            assert_eq!(load(node, id).await.id(), successor, "{mode:?}: {}", node.name());
        }
    })
    .await;
}
