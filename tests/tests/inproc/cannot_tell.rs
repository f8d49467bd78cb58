//! When more nodes vanish than there are copies, "no such session" is not said.

use std::time::Duration;

use futures::future::join_all;
use sessionmesh::{LoadError, Mode, SessionId};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, create_sessions, eventually_async, settled_and_exact};
use tokio::time::{Instant, sleep};

/// Sessions on every node, and how many of their owners are among `n3` and `n4`.
async fn with_sessions(mode: Mode) -> (Cluster, Vec<(SessionId, usize)>) {
    // What cannot be told costs each of them the read deadline.
    let deadline = Duration::from_millis(500);
    let cluster = Cluster::start_with(5, move |builder| builder.mode(mode).read_deadline(deadline)).await;
    let mut ids = Vec::new();
    for node in cluster.nodes() {
        ids.extend(create_sessions(node, 40).await);
    }
    settled_and_exact(&cluster.all(), &ids).await;
    let lost = |id: SessionId| cluster[0].owners(id).iter().filter(|name| ["n3", "n4"].contains(&&***name)).count();
    let ids = ids.into_iter().map(|id| (id, lost(id))).collect();
    (cluster, ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_owners_all_vanished_is_not_called_ended() {
    let (mut cluster, ids) = with_sessions(Mode::PrimaryBackup { backups: 1 }).await;
    let lost: Vec<_> = ids.iter().filter(|(_, gone)| *gone == 2).map(|(id, _)| *id).collect();
    let kept: Vec<_> = ids.iter().filter(|(_, gone)| *gone < 2).map(|(id, _)| *id).collect();
    assert!(lost.len() > 3 && kept.len() > 100, "{} lost, {} kept", lost.len(), kept.len());
    let both = (cluster.take("n3"), cluster.take("n4"));
    drop(both);
    // From the first moment, through the change of the view, and well after it.
    let until = Instant::now() + Duration::from_secs(4);
    let mut answers = 0;
    while Instant::now() < until {
        let (node, id) = (&cluster[answers % 3], lost[answers % lost.len()]);
        let found = node.load(id).await;
        assert!(matches!(found, Err(LoadError::CannotTell { .. })), "answer {answers} of {}: {found:?}", node.name());
        answers += 1;
        let (node, id) = (&cluster[answers % 3], kept[answers % kept.len()]);
        let found = node.load(id).await;
        assert!(!matches!(found, Ok(None)), "answer {answers} of {} for a session with an owner", node.name());
        sleep(Duration::from_millis(1)).await;
    }
    cluster.settled().await;
    for node in cluster.nodes() {
        // Each takes the read deadline, so all are asked for at once.
        for found in join_all(lost.iter().map(|id| node.load(*id))).await {
            assert!(matches!(found, Err(LoadError::CannotTell { .. })), "{}: {found:?}", node.name());
        }
        for id in &kept {
            eventually_async(PATIENCE, async || {
                let found = node.load(*id).await.map_err(|error| error.to_string())?;
                assert!(found.is_some(), "{}: {id} has an owner that lives", node.name());
                Ok(())
            })
            .await;
        }
    }
    settled_and_exact(&cluster.all(), &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_of_slots_whose_owners_vanished_it_cannot_tell_at_once_and_until_it_is_told_to_forget_them() {
    let (mut cluster, ids) = with_sessions(Mode::PrimaryBackup { backups: 1 }).await;
    let lost: Vec<_> = ids.iter().filter(|(_, gone)| *gone == 2).map(|(id, _)| *id).collect();
    // An id in a slot that `n0` owns.
    let told = cluster[0].create().await.expect("far from full").id();
    assert!(cluster.nodes().iter().all(|node| node.blindness().is_none() && node.stats().blindness.is_none()));
    let both = (cluster.take("n3"), cluster.take("n4"));
    drop(both);
    cluster.settled().await;
    let node = &cluster[0];
    let blindness = node.blindness().expect("two nodes and their common slots are missed");
    let missing: Vec<&str> = blindness.missing.iter().map(|name| &**name).collect();
    assert_eq!((missing, blindness.cut_off), (vec!["n3", "n4"], false));
    // A tenth; on a loaded machine also what they owned while one of the others was not seen for a moment.
    assert!((0.05..0.5).contains(&blindness.share()), "{blindness:?}");
    assert!(blindness.at_most <= node.config().max_inactive && blindness.at_most > Duration::from_secs(60));
    assert_eq!(node.stats().blindness.map(|blindness| blindness.missing), Some(blindness.missing));

    // Nobody needs to wait to hear it: a hundred questions take less than four waits would.
    let deadline = node.config().read_deadline;
    eventually_async(PATIENCE, async || {
        let (began, mut lasting) = (Instant::now(), true);
        for at in 0..100 {
            let found = node.load(lost[at % lost.len()]).await;
            lasting &= matches!(found, Err(LoadError::CannotTell { lasting: true, .. }));
        }
        let took = began.elapsed();
        check(lasting && took < deadline * 4, || format!("lasting: {lasting}, {took:?} for 100 questions"))
    })
    .await;
    // Of all other slots it can tell.
    eventually_async(PATIENCE, async || {
        let found = node.load(told).await;
        check(matches!(found, Ok(None)), || format!("{found:?} for an id that nobody had"))
    })
    .await;

    for node in cluster.nodes() {
        assert!(node.forget_lost().is_some() && node.blindness().is_none() && node.forget_lost().is_none());
        eventually_async(PATIENCE, async || {
            let found = node.load(lost[0]).await;
            check(matches!(found, Ok(None)), || format!("{found:?} after the missing were given up"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_tell_again_once_the_missing_are_back_without_their_copies() {
    let (mut cluster, ids) = with_sessions(Mode::PrimaryBackup { backups: 1 }).await;
    let lost: Vec<_> = ids.iter().filter(|(_, gone)| *gone == 2).map(|(id, _)| *id).collect();
    let both = (cluster.take("n3"), cluster.take("n4"));
    drop(both);
    cluster.settled().await;
    assert!(matches!(cluster[1].load(lost[0]).await, Err(LoadError::CannotTell { .. })));
    cluster.join("n3").await;
    assert!(matches!(cluster[1].load(lost[0]).await, Err(LoadError::CannotTell { .. })), "n4 may hold it");
    cluster.join("n4").await;
    for node in cluster.nodes() {
        eventually_async(PATIENCE, async || {
            let found = node.load(lost[0]).await;
            check(matches!(found, Ok(None)), || format!("{found:?} on {}", node.name()))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_that_vanished_takes_no_session_along_and_none_is_said_again_soon() {
    let (mut cluster, ids) = with_sessions(Mode::PrimaryBackup { backups: 1 }).await;
    cluster.crash("n4");
    let never = cluster[0].create().await.expect("far from full").id();
    for (id, _) in &ids {
        let found = cluster[0].load(*id).await;
        assert!(!matches!(found, Ok(None)), "{id} is there or cannot be told: {found:?}");
    }
    cluster.settled().await;
    for (id, _) in &ids {
        assert!(cluster[1].load(*id).await.expect("calm again").is_some());
    }
    eventually_async(PATIENCE, async || {
        let found = cluster[1].load(never).await;
        check(matches!(found, Ok(None)), || format!("{found:?} for a session that never was"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_every_node_holds_all_two_that_vanish_cost_nothing() {
    let (mut cluster, ids) = with_sessions(Mode::AllToAll).await;
    let both = (cluster.take("n3"), cluster.take("n4"));
    drop(both);
    for (id, _) in &ids {
        assert!(!matches!(cluster[2].load(*id).await, Ok(None)));
    }
    cluster.settled().await;
    for (id, _) in &ids {
        assert!(cluster[1].load(*id).await.expect("calm again").is_some());
    }
}
