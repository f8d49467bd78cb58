//! What is left of ended sessions: it is bounded, handed over by slots, and ends what somebody else still holds.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use sessionmesh::{CommitError, Mesh, MeshBuilder, Mode, Session, SessionId};
use sessionmesh_testkit::cluster::{Cluster, MODES, PATIENCE, check, eventually, eventually_async};
use sessionmesh_testkit::waiting::Turn;

/// The change was made. On a busy machine the owners confirm it later than a commit waits.
fn made<T>(result: Result<T, CommitError>) {
    assert!(matches!(result, Ok(_) | Err(CommitError::TimedOut { .. })), "{:?}", result.err());
}

/// Sessions that were made on `mesh` and ended: their ids.
async fn make_and_end(mesh: &Mesh, count: usize) -> Vec<SessionId> {
    let one = async |_| {
        let session = mesh.create().await.expect("far from full");
        session.insert("n", &1).expect("a number is JSON");
        made(session.commit().await);
        made(session.invalidate().await);
        session.id()
    };
    stream::iter(0..count).map(one).buffer_unordered(64).collect().await
}

/// On how many of so many nodes a session is.
fn copies(mode: Mode, nodes: usize) -> usize {
    if mode == Mode::AllToAll { nodes } else { 2 }
}

/// Tombstones on all nodes together.
fn held(cluster: &Cluster) -> usize {
    cluster.nodes().iter().map(|node| node.stats().ended).sum()
}

async fn all_held(cluster: &Cluster, mode: Mode, ended: usize) {
    let expected = copies(mode, cluster.nodes().len()) * ended;
    eventually(PATIENCE, || check(held(cluster) == expected, || format!("{mode:?}: {} of {expected}", held(cluster))))
        .await;
}

async fn assert_ended(mesh: &Mesh, ids: &[SessionId]) {
    for id in ids {
        assert!(mesh.load(*id).await.expect("calm").is_none(), "{id} on {}", mesh.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombstones_are_handed_over_by_slots() {
    let _turn = Turn::in_this_process().await;
    const ENDED: usize = 18_000;
    for mode in MODES {
        let mut cluster = Cluster::start(3, mode).await;
        let ids = make_and_end(&cluster[0], ENDED).await;
        cluster.settled().await;
        assert_eq!(held(&cluster), copies(mode, 3) * ENDED, "{mode:?}");

        // A newcomer gets its part of them, and a node that leaves gives away its own.
        let received = |mesh: &Mesh| mesh.stats().deltas_received;
        let newcomer = cluster.join("n3").await;
        all_held(&cluster, mode, ENDED).await;
        // A few for each slot: wholes, and questions whether others hold the same. One by one they would be more than that.
        let slots: BTreeSet<_> = ids.iter().map(SessionId::slot).collect();
        let most = 6 * slots.len() as u64;
        assert!((ENDED as u64) / 2 > most, "{} slots", slots.len());
        assert!(received(&newcomer) <= most, "{mode:?}: {} items", received(&newcomer));

        let before: u64 = cluster.nodes()[1..].iter().map(received).sum();
        cluster.leave("n0").await;
        let items = cluster.nodes().iter().map(received).sum::<u64>() - before;
        assert!(items <= most, "{mode:?}: {items} items");
        all_held(&cluster, mode, ENDED).await;
        assert_ended(&newcomer, &ids).await;
    }
}

/// Sessions that are made and ended on each node, until most of them are forgotten: that takes until the first ones are old
/// enough. Their ids, the last ones last.
async fn flood(cluster: &Cluster, mode: Mode, ids: &mut Vec<SessionId>) {
    let copies = copies(mode, cluster.nodes().len());
    eventually_async(PATIENCE, async || {
        for node in cluster.nodes() {
            ids.extend(make_and_end(node, 300).await);
        }
        let ended = held(cluster);
        check(ended < copies * ids.len() / 2, || format!("{ended} of {} with {copies} copies", ids.len()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_sessions_end_no_more_are_remembered_than_the_bound() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let adjust = move |builder: MeshBuilder| {
            builder.mode(mode).max_tombstones(4_096_u64).commit_deadline(Duration::from_millis(500))
        };
        let mut cluster = Cluster::start_with(3, adjust).await;
        let mut ids = Vec::new();
        flood(&cluster, mode, &mut ids).await;
        cluster.settled().await;
        let forgotten: u64 = cluster.nodes().iter().map(|node| node.stats().tombstones_forgotten).sum();
        let made = (copies(mode, 3) * ids.len()) as u64;
        assert_eq!(held(&cluster) as u64 + forgotten, made, "{mode:?}: what was forgotten is counted");

        // A newcomer takes no more, either.
        let newcomer = cluster.join("n3").await;
        flood(&cluster, mode, &mut ids).await;
        assert_ended(&newcomer, &ids[ids.len() - 1_000..]).await;
    }
}

/// A session that `mesh` read before it ended elsewhere, with a change that is not committed.
async fn about_to_write(mesh: &Mesh, id: SessionId) -> Session {
    let session = mesh.load(id).await.expect("calm").expect("it lives");
    session.insert("late", &1).expect("a number is JSON");
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_write_on_a_newcomer_revives_nothing() {
    let _turn = Turn::in_this_process().await;
    for mode in MODES {
        let mut cluster = Cluster::start(2, mode).await;
        let mut late = Vec::new();
        for _ in 0..50 {
            let session = cluster[0].create().await.expect("far from full");
            session.commit().await.expect("calm");
            late.push(about_to_write(&cluster[1], session.id()).await);
            session.invalidate().await.expect("calm");
        }
        let newcomer = cluster.join("n2").await;
        for session in late {
            // A node that is no owner any more does not know of the end. Owners do, and take nothing.
            let late = session.commit().await;
            assert!(matches!(late, Ok(_) | Err(CommitError::Ended)), "{mode:?}: {late:?}");
            for node in [&cluster[0], &cluster[1], &newcomer] {
                assert_ended(node, &[session.id()]).await;
            }
        }
    }
}
