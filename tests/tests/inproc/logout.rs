//! A logout holds, whatever is still under way.

use sessionmesh::{CommitError, Event, SessionId};
use sessionmesh_testkit::cluster::{
    Cluster, Ears, MODES, PATIENCE, check, eventually, load, log_in, settled_and_exact,
};

async fn is_gone_everywhere(cluster: &Cluster, id: SessionId, when: &str) {
    for node in cluster.nodes() {
        let found = node.load(id).await.expect("calm");
        assert!(found.is_none(), "{when}: {} still has {id}", node.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_holds_on_every_node_at_once() {
    for mode in MODES {
        let cluster = Cluster::start(4, mode).await;
        for round in 0..12 {
            let id = log_in(&cluster[round % 4], "ada").await.id();
            load(&cluster[(round / 4) % 4], id).await.invalidate().await.expect("calm");
            is_gone_everywhere(&cluster, id, "after the logout").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_save_does_not_revive_an_ended_session() {
    for mode in MODES {
        let cluster = Cluster::start(4, mode).await;
        let mut ears = cluster.listen();
        let mut ids = Vec::new();
        for round in 0..16 {
            let id = log_in(&cluster[round % 4], "ada").await.id();
            let late = load(&cluster[(round / 4) % 4], id).await;
            load(&cluster[round % 4], id).await.invalidate().await.expect("calm");
            late.insert("late", &round).expect("a number is JSON");
            let saved = late.commit().await;
            // Without a tombstone at hand the writer may learn of the end only from the owners.
            assert!(matches!(saved, Ok(_) | Err(CommitError::Ended)), "{mode:?}: {saved:?}");
            is_gone_everywhere(&cluster, id, "after the late save").await;
            let again = late.commit().await;
            assert!(matches!(again, Ok(_) | Err(CommitError::Ended)), "{mode:?}: {again:?}");
            ids.push(id);
        }
        settled_and_exact(&cluster.all(), &ids).await;
        for id in &ids {
            is_gone_everywhere(&cluster, *id, "in the end").await;
        }
        each_was_told_once(&mut ears, &ids).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_wins_over_saves_that_run_beside_it() {
    for mode in MODES {
        let cluster = Cluster::start(4, mode).await;
        let mut ears = cluster.listen();
        let mut ids = Vec::new();
        for round in 0..24_usize {
            let id = log_in(&cluster[round % 4], "ada").await.id();
            let [out, one, other] = [round / 4, round, round + 1].map(|at| &cluster[at % 4]);
            let (out, one, other) = (load(out, id).await, load(one, id).await, load(other, id).await);
            one.insert("one", &round).expect("a number is JSON");
            other.insert("other", &round).expect("a number is JSON");
            let (ended, first, second) = tokio::join!(out.invalidate(), one.commit(), other.commit());
            ended.expect("calm");
            for saved in [first, second] {
                assert!(matches!(saved, Ok(_) | Err(CommitError::Ended)), "{mode:?}: {saved:?}");
            }
            is_gone_everywhere(&cluster, id, "after a race").await;
            ids.push(id);
        }
        settled_and_exact(&cluster.all(), &ids).await;
        each_was_told_once(&mut ears, &ids).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_twice_and_on_two_nodes_at_once_is_one_logout() {
    for mode in MODES {
        let cluster = Cluster::start(4, mode).await;
        let mut ears = cluster.listen();
        let mut ids = Vec::new();
        for round in 0..12 {
            let id = log_in(&cluster[round % 4], "ada").await.id();
            let (one, other) = (load(&cluster[0], id).await, load(&cluster[1], id).await);
            let (first, second) = tokio::join!(one.invalidate(), other.invalidate());
            first.expect("calm");
            second.expect("calm");
            one.invalidate().await.expect("it has ended already");
            is_gone_everywhere(&cluster, id, "after two logouts").await;
            ids.push(id);
        }
        settled_and_exact(&cluster.all(), &ids).await;
        each_was_told_once(&mut ears, &ids).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_stays_ended_when_its_owners_change() {
    for mode in MODES {
        let mut cluster = Cluster::start(3, mode).await;
        let mut ids = Vec::new();
        for round in 0..30 {
            let id = log_in(&cluster[round % 3], "ada").await.id();
            load(&cluster[(round + 1) % 3], id).await.invalidate().await.expect("calm");
            ids.push(id);
        }
        cluster.join("n3").await;
        cluster.leave("n0").await;
        cluster.settled().await;
        settled_and_exact(&cluster.all(), &ids).await;
        for id in &ids {
            is_gone_everywhere(&cluster, *id, "after a join and a leave").await;
        }
    }
}

async fn each_was_told_once(ears: &mut Ears, ids: &[SessionId]) {
    eventually(PATIENCE, || {
        ids.iter().try_for_each(|id| {
            let told = ears.count(&Event::Invalidated { id: *id });
            assert!(told <= 1, "the end of {id} was told {told} times");
            check(told == 1, || format!("the end of {id} was not told"))
        })
    })
    .await;
}
