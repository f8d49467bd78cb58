//! Sessions that nobody uses end, once, and not before their time.

use std::time::Duration;

use sessionmesh::{Event, LoadError, MeshBuilder, Mode, SessionId};
use sessionmesh_testkit::busy::Lag;
use sessionmesh_testkit::cluster::{
    Cluster, Ears, PATIENCE, both_at_once, check, eventually, eventually_async, log_in,
};
use tokio::time::{Instant, interval};

const LIMIT: Duration = Duration::from_secs(2);
/// How late a session may end in calm, without what a busy machine adds: a twentieth of the limit between two looks, and
/// the vote and the copies of the end, which take milliseconds; and once more the same, for good measure.
const BOUND: Duration = Duration::from_millis(100 + 500);

async fn cluster(mode: Mode, limit: Duration) -> Cluster {
    Cluster::start_with(4, move |builder: MeshBuilder| builder.mode(mode).max_inactive(limit)).await
}

async fn fresh(cluster: &Cluster, at: usize) -> SessionId {
    log_in(&cluster[at % cluster.nodes().len()], "ada").await.id()
}

fn expired(ears: &mut Ears, id: SessionId) -> usize {
    ears.count(&Event::Expired { id })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_only_read_lives_on() {
    both_at_once(async |mode| {
        let cluster = cluster(mode, LIMIT).await;
        let mut ears = cluster.listen();
        // One is read on its primary alone, one on a backup, one on a stranger or the last backup, one everywhere in turn.
        let mut ids = Vec::new();
        for number in 0..4 {
            ids.push(fresh(&cluster, number).await);
        }
        let mut ticks = interval(LIMIT / 8);
        let start = Instant::now();
        let mut used = [start; 4];
        let mut round = 0;
        while start.elapsed() < LIMIT * 3 {
            ticks.tick().await;
            let last =
                cluster.nodes().iter().find(|node| *node.name() == **cluster[0].owners(ids[2]).last().expect("owners"));
            let stranger = match mode {
                Mode::PrimaryBackup { .. } => cluster.stranger(ids[2]),
                Mode::AllToAll => last.expect("it runs"),
            };
            let readers = [cluster.owners(ids[0])[0], cluster.owners(ids[1])[1], stranger, &cluster[round % 4]];
            for ((reader, id), used) in readers.into_iter().zip(&ids).zip(&mut used) {
                let unused = used.elapsed();
                let found = reader.load(*id).await.expect("calm");
                assert!(found.is_some(), "{mode:?}: {id} on {}, {unused:?} after its last use", reader.name());
                *used = Instant::now();
            }
            round += 1;
        }
        for id in &ids {
            assert_eq!(expired(&mut ears, *id), 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_nobody_uses_ends_once_and_in_time() {
    both_at_once(async |mode| {
        let cluster = cluster(mode, LIMIT).await;
        let mut ears = cluster.listen();
        let lag = Lag::watch();
        let mut ids = Vec::new();
        for number in 0..20 {
            // The access was between the two.
            let before = Instant::now();
            ids.push((fresh(&cluster, number).await, before, Instant::now()));
        }
        for (id, earliest, accessed) in &ids {
            // Looking at it is no access.
            eventually_async(PATIENCE, async || {
                let found = cluster[0].peek(*id).await.map_err(|error| error.to_string())?;
                let age = earliest.elapsed();
                assert!(found.is_some() || age >= LIMIT, "{mode:?}: early, after {age:?}");
                check(expired(&mut ears, *id) > 0, || format!("{mode:?}: {id} not expired after {age:?}"))
            })
            .await;
            let took = lag.take_off(accessed.elapsed());
            assert!(took <= LIMIT + BOUND, "{mode:?}: late, {took:?}");
        }
        for (id, _, _) in &ids {
            for node in cluster.nodes() {
                assert!(node.load(*id).await.expect("calm").is_none(), "{mode:?}: {}", node.name());
            }
        }
        cluster.settled().await;
        for (id, _, _) in &ids {
            assert_eq!(expired(&mut ears, *id), 1, "{mode:?}: {:?}", ears.heard());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_the_remaining_time_goes_on() {
    const LIMIT: Duration = Duration::from_secs(4);
    // The crash has to be noticed, too.
    let bound = LIMIT / 20 + Duration::from_millis(3_500);
    both_at_once(async |mode| {
        let mut cluster = cluster(mode, LIMIT).await;
        let (earliest, lag) = (Instant::now(), Lag::watch());
        let id = fresh(&cluster, 1).await;
        let accessed = Instant::now();
        assert_eq!(&*cluster[0].owners(id)[0], "n1");
        let mut ears = cluster.listen();
        eventually(LIMIT, || check(accessed.elapsed() >= LIMIT / 2, || "half of its time".to_owned())).await;
        cluster.crash("n1");
        let (at_most, at_least) = eventually_async(PATIENCE, async || match cluster[0].peek(id).await {
            Ok(Some(_)) | Err(LoadError::CannotTell { .. }) => Err(format!("{mode:?}: it lives")),
            Ok(None) => Ok((earliest.elapsed(), accessed.elapsed())),
            Err(other) => panic!("{other}"),
        })
        .await;
        assert!(at_most >= LIMIT - LIMIT / 10, "{mode:?}: early, after {at_most:?}");
        assert!(lag.take_off(at_least) <= LIMIT + bound, "{mode:?}: late, after {at_least:?}");
        eventually(PATIENCE, || check(expired(&mut ears, id) == 1, || "not told".to_owned())).await;
        let took = lag.take_off(accessed.elapsed());
        assert!(took <= LIMIT + bound, "{mode:?}: told late, after {took:?}");
        cluster.settled().await;
        assert_eq!(expired(&mut ears, id), 1, "{mode:?}");
        for node in cluster.nodes() {
            assert!(node.load(id).await.expect("calm").is_none(), "{mode:?}: {}", node.name());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_used_through_a_fail_over_lives() {
    const LIMIT: Duration = Duration::from_secs(2);
    both_at_once(async |mode| {
        let mut cluster = cluster(mode, LIMIT).await;
        let id = fresh(&cluster, 1).await;
        let mut ticks = interval(LIMIT / 10);
        let start = Instant::now();
        let mut round = 0;
        while start.elapsed() < LIMIT * 2 {
            ticks.tick().await;
            if round == 5 {
                cluster.crash("n1");
            }
            let node = &cluster[round % cluster.nodes().len()];
            match node.load(id).await {
                Ok(found) => assert!(found.is_some(), "{mode:?}: {} after {:?}", node.name(), start.elapsed()),
                Err(error) => assert!((5..15).contains(&round), "{mode:?}: {error} in round {round}"),
            }
            round += 1;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_has_its_own_limit_and_may_change_it() {
    both_at_once(async |mode| {
        let cluster = cluster(mode, Duration::from_secs(60)).await;
        let mut ears = cluster.listen();
        let with_limit = async |limit: Duration| {
            let session = cluster[0].create().await.expect("far from full");
            session.set_max_inactive(limit);
            session.commit().await.expect("calm");
            session.id()
        };
        let short = with_limit(Duration::from_millis(500)).await;
        let long = with_limit(Duration::from_secs(3_600)).await;
        let lengthened = with_limit(Duration::from_secs(3)).await;
        let shortened = with_limit(Duration::from_secs(3_600)).await;
        let other = cluster[1].load(lengthened).await.expect("calm").expect("it lives");
        assert_eq!(other.max_inactive(), Duration::from_secs(3));
        other.set_max_inactive(Duration::from_secs(60));
        other.commit().await.expect("calm");
        let other = cluster[2].load(shortened).await.expect("calm").expect("it lives");
        other.set_max_inactive(Duration::from_millis(500));
        other.commit().await.expect("calm");
        // The nodes look every three seconds here, a twentieth of their own limit; nobody serves it before that, either.
        for id in [short, shortened] {
            eventually_async(PATIENCE, async || {
                for node in cluster.nodes() {
                    let found = node.peek(id).await.map_err(|error| error.to_string())?;
                    check(found.is_none(), || format!("{mode:?}: {} serves {id}", node.name()))?;
                }
                Ok(())
            })
            .await;
            eventually(PATIENCE, || check(expired(&mut ears, id) == 1, || format!("{mode:?}: {id} not told"))).await;
        }
        for id in [long, lengthened] {
            assert!(cluster[3].load(id).await.expect("calm").is_some(), "{mode:?}");
            assert_eq!(expired(&mut ears, id), 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_and_touching_are_accesses() {
    both_at_once(async |mode| {
        let cluster = cluster(mode, LIMIT).await;
        let (written, touched) = (fresh(&cluster, 0).await, fresh(&cluster, 1).await);
        let writer = cluster[0].load(written).await.expect("calm").expect("it lives");
        let toucher = cluster[1].load(touched).await.expect("calm").expect("it lives");
        let mut ticks = interval(LIMIT / 8);
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < LIMIT * 2 {
            ticks.tick().await;
            count += 1;
            writer.insert("count", &count).expect("a number is JSON");
            writer.commit().await.expect("it lives");
            toucher.touch();
        }
        for node in cluster.nodes() {
            for id in [written, touched] {
                assert!(node.peek(id).await.expect("calm").is_some(), "{mode:?}: {}", node.name());
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_that_is_kept_and_touched_keeps_its_session_alive_from_every_node() {
    both_at_once(async |mode| {
        let cluster = cluster(mode, LIMIT).await;
        let (mut touched, mut committed) = (Vec::new(), Vec::new());
        for node in cluster.nodes() {
            for handles in [&mut touched, &mut committed] {
                let id = fresh(&cluster, 0).await;
                handles.push((node.name(), node.load(id).await.expect("calm").expect("it lives")));
            }
        }
        let mut ticks = interval(LIMIT / 8);
        let start = Instant::now();
        while start.elapsed() < LIMIT * 3 {
            ticks.tick().await;
            touched.iter().for_each(|(_, handle)| handle.touch());
            for (name, handle) in &committed {
                let commit = handle.commit().await.unwrap_or_else(|error| panic!("{mode:?}: {name}: {error}"));
                assert!(!commit.changed);
            }
        }
        for (name, handle) in touched.iter().chain(&committed) {
            assert!(cluster[1].peek(handle.id()).await.expect("calm").is_some(), "{mode:?}: used on {name}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_touch_does_not_bring_an_ended_session_back() {
    both_at_once(async |mode| {
        let cluster = cluster(mode, LIMIT).await;
        let mut ears = cluster.listen();
        let id = fresh(&cluster, 0).await;
        let mut handles = Vec::new();
        for node in cluster.nodes() {
            handles.push(node.peek(id).await.expect("calm").expect("it lives"));
        }
        eventually(PATIENCE, || check(expired(&mut ears, id) == 1, || format!("{mode:?}: not ended"))).await;
        handles.iter().for_each(sessionmesh::Session::touch);
        for node in cluster.nodes() {
            assert!(node.peek(id).await.expect("calm").is_none(), "{mode:?}: {}", node.name());
        }
        cluster.settled().await;
        assert_eq!(expired(&mut ears, id), 1, "{mode:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accesses_of_commits_without_changes_outlive_a_crash() {
    const LIMIT: Duration = Duration::from_secs(2);
    both_at_once(async |mode| {
        let mut cluster = cluster(mode, LIMIT).await;
        let id = fresh(&cluster, 1).await;
        assert_eq!(&*cluster[0].owners(id)[0], "n1");
        let handle = cluster.node("n1").load(id).await.expect("calm").expect("it lives");
        let mut ticks = interval(Duration::from_millis(130));
        let start = Instant::now();
        let mut used = start;
        while start.elapsed() < LIMIT {
            ticks.tick().await;
            used = Instant::now();
            assert!(!handle.commit().await.expect("it lives").changed);
        }
        drop(handle);
        eventually(LIMIT, || check(cluster.node("n1").stats().outbox == 0, || "untold".to_owned())).await;
        cluster.crash("n1");
        // It lives for nine tenths of its limit at least.
        eventually_async(PATIENCE, async || {
            let found = cluster[0].peek(id).await;
            let age = used.elapsed();
            assert!(!matches!(found, Ok(None)) || age >= LIMIT - LIMIT / 10, "{mode:?}: gone after {age:?}");
            check(matches!(found, Ok(None)), || format!("{mode:?}: it lives after {age:?}"))
        })
        .await;
    })
    .await;
}
