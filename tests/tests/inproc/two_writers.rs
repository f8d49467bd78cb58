//! Requests of one session that write at the same time.

use sessionmesh_testkit::cluster::{Cluster, both_at_once, fresh, load, settled_and_exact};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_different_attributes_on_two_nodes_all_survive() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(3, mode).await;
        for round in 0..30 {
            let id = fresh(&cluster[round % 3]).await;
            let (one, other) = (load(&cluster[0], id).await, load(&cluster[1], id).await);
            one.insert("cart", &round).expect("a number is JSON");
            other.insert("seen", &round).expect("a number is JSON");
            let (first, second) = tokio::join!(one.commit(), other.commit());
            first.expect("calm");
            second.expect("calm");
            // Both commits have returned, so each node shows both.
            for node in cluster.nodes() {
                let session = load(node, id).await;
                let found = (session.get("cart").expect("a number"), session.get("seen").expect("a number"));
                assert_eq!(found, (Some(round), Some(round)), "{mode:?}: {} in round {round}", node.name());
            }
            settled_and_exact(&cluster.all(), &[id]).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writes_to_one_attribute_the_same_wins_on_every_node() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(3, mode).await;
        for round in 0..30 {
            let id = fresh(&cluster[round % 3]).await;
            let (one, other) = (load(&cluster[0], id).await, load(&cluster[1], id).await);
            one.insert("name", "one").expect("text is JSON");
            other.insert("name", "other").expect("text is JSON");
            let (first, second) = tokio::join!(one.commit(), other.commit());
            first.expect("calm");
            second.expect("calm");
            settled_and_exact(&cluster.all(), &[id]).await;
            let mut found = Vec::new();
            for node in cluster.nodes() {
                found.push(load(node, id).await.get::<String>("name").expect("text").expect("one of them won"));
            }
            assert!(["one", "other"].contains(&&*found[0]), "{found:?}");
            assert!(found.iter().all(|name| *name == found[0]), "{mode:?}: {found:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_saw_another_write_wins_over_it() {
    both_at_once(async |mode| {
        let cluster = Cluster::start(3, mode).await;
        let id = fresh(&cluster[0]).await;
        for step in 0..60 {
            let session = load(&cluster[step % 3], id).await;
            let before = session.get::<usize>("step").expect("a number");
            assert_eq!(before, step.checked_sub(1), "{mode:?}: the last write was seen");
            session.insert("step", &step).expect("a number is JSON");
            session.commit().await.expect("calm");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_a_counter_by_many_tasks_on_one_node_lose_none() {
    const TASKS: usize = 16;
    const STEPS: usize = 25;
    both_at_once(async |mode| {
        let cluster = Cluster::start(3, mode).await;
        let id = fresh(&cluster[0]).await;
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let node = cluster[0].clone();
            tasks.spawn(async move {
                let session = load(&node, id).await;
                for _ in 0..STEPS {
                    let add = |count: Option<usize>| Some(count.unwrap_or(0) + 1);
                    session.update("count", add).await.expect("calm").expect("it was set");
                }
            });
        }
        tasks.join_all().await;
        for node in cluster.nodes() {
            let count = load(node, id).await.get::<usize>("count").expect("a number");
            assert_eq!(count, Some(TASKS * STEPS), "{mode:?}: {}", node.name());
        }
        settled_and_exact(&cluster.all(), &[id]).await;
    })
    .await;
}
