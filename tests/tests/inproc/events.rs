//! Who is told of what, and how often.

use std::sync::Arc;
use std::time::Duration;

use sessionmesh::{Event, SessionId};
use sessionmesh_testkit::cluster::{Cluster, Ears, MODES, PATIENCE, check, eventually};

/// Waits until `event` was told, and checks that it was told `times` in all.
async fn told(ears: &mut Ears, event: &Event, times: usize) {
    eventually(PATIENCE, || {
        let count = ears.count(event);
        assert!(count <= times, "{event:?} was told {count} times: {:?}", ears.heard());
        check(count == times, || format!("{event:?} was told {count} times, not {times}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_of_a_session_is_told_once_in_the_cluster() {
    for mode in MODES {
        let cluster = Cluster::start(4, mode).await;
        let mut ears = cluster.listen();
        let mut rounds: Vec<(SessionId, SessionId, SessionId)> = Vec::new();
        for round in 0..8_usize {
            let [home, elsewhere] = [round % 4, (round / 4 + round + 1) % 4].map(|at| &cluster[at]);
            let created = home.create().await.expect("far from full");
            created.commit().await.expect("calm");
            let id = created.id();

            let session = elsewhere.load(id).await.expect("calm").expect("it was committed");
            session.renew_id().await.expect("calm");
            let successor = session.id();
            let session = home.load(successor).await.expect("calm").expect("it was renewed");
            session.invalidate().await.expect("calm");

            let short = elsewhere.create().await.expect("far from full");
            short.set_max_inactive(Duration::from_millis(300));
            short.commit().await.expect("calm");
            rounds.push((id, successor, short.id()));
        }
        for (id, successor, short) in &rounds {
            for created in [id, successor, short] {
                told(&mut ears, &Event::Created { id: *created }, 1).await;
            }
            told(&mut ears, &Event::Renewed { id: *id, successor: *successor }, 1).await;
            told(&mut ears, &Event::Invalidated { id: *successor }, 1).await;
            told(&mut ears, &Event::Expired { id: *short }, 1).await;
        }
        // All of it has been told now; nothing of it twice, and nothing else of a session.
        let of_sessions = ears.heard().iter().filter(|(_, event)| is_of_session(event)).count();
        assert_eq!(of_sessions, rounds.len() * 6, "{mode:?}: {:?}", ears.heard());
    }
}

fn is_of_session(event: &Event) -> bool {
    event.session().is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_is_told_where_the_session_was_created_and_an_end_on_its_primary() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let mut ears = cluster.listen();
        for node in cluster.nodes() {
            let session = node.create().await.expect("far from full");
            session.commit().await.expect("calm");
            let id = session.id();
            let other = cluster.owners(id)[1];
            other.load(id).await.expect("calm").expect("it was committed").invalidate().await.expect("calm");
            told(&mut ears, &Event::Invalidated { id }, 1).await;
            let by = |wanted: Event| ears_by(&mut ears, &wanted);
            let mut by = by;
            assert_eq!(by(Event::Created { id }), [node.name()]);
            assert_eq!(by(Event::Invalidated { id }), [node.name()], "its primary is where it was minted");
        }
    }
}

fn ears_by(ears: &mut Ears, wanted: &Event) -> Vec<String> {
    ears.heard().into_iter().filter(|(_, event)| event == wanted).map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_is_told_once_of_each_member_that_comes_leaves_or_vanishes() {
    for mode in MODES {
        let mut cluster = Cluster::start(3, mode).await;
        let mut ears = cluster.listen();
        cluster.join("late").await;
        let name: Arc<str> = Arc::from("late");
        told(&mut ears, &Event::MemberUp { name: name.clone() }, 3).await;
        cluster.leave("late").await;
        cluster.settled().await;
        told(&mut ears, &Event::MemberDown { name: name.clone(), planned: true }, 3).await;
        assert_eq!(ears.count(&Event::MemberDown { name: name.clone(), planned: false }), 0, "{mode:?}");

        cluster.join("late").await;
        told(&mut ears, &Event::MemberUp { name: name.clone() }, 6).await;
        cluster.crash("late");
        cluster.settled().await;
        told(&mut ears, &Event::MemberDown { name: name.clone(), planned: false }, 3).await;
        assert_eq!(ears.count(&Event::MemberDown { name, planned: true }), 3, "{mode:?}: only the first time");
        let others = |(_, event): &(String, Event)| match event {
            Event::MemberUp { name } | Event::MemberDown { name, .. } => **name != *"late",
            _ => false,
        };
        let others: Vec<_> = ears.heard().into_iter().filter(others).collect();
        assert!(others.is_empty(), "{mode:?}: nobody else came or went: {others:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_tells_of_no_session() {
    for mode in MODES {
        let mut cluster = Cluster::start(2, mode).await;
        for node in cluster.nodes() {
            sessionmesh_testkit::cluster::create_sessions(node, 50).await;
        }
        let mut ears = cluster.listen();
        let late = cluster.join("late").await;
        ears.add(&late);
        cluster.leave("n0").await;
        cluster.crash("late");
        drop(late);
        cluster.settled().await;
        let of_sessions: Vec<_> = ears.heard().into_iter().filter(|(_, event)| is_of_session(event)).collect();
        assert!(of_sessions.is_empty(), "{mode:?}: {of_sessions:?}");
    }
}
