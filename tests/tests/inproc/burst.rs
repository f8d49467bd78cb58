//! Many commits in a row that nobody waits for.

use sessionmesh::{Ack, Commit, Mesh, SessionId};
use sessionmesh_testkit::cluster::{Cluster, MODES, settled_and_exact};
use tokio::task::JoinSet;

const SESSIONS: usize = 8;
const COMMITS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_burst_of_local_commits_all_owners_hold_the_last_one() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let mut bursts = JoinSet::new();
        for number in 0..SESSIONS {
            bursts.spawn(burst(cluster[number % 3].clone()));
        }
        let ids = bursts.join_all().await;
        settled_and_exact(&cluster.all(), &ids).await;
        for (node, id) in cluster.nodes().iter().flat_map(|node| ids.iter().map(move |id| (node, *id))) {
            let session = node.load(id).await.expect("calm").expect("it was committed");
            assert_eq!(session.get::<usize>("last").expect("a number"), Some(COMMITS - 1), "{mode:?}");
            let keys: Vec<_> = (0..10).map(|number| format!("k{number}")).collect();
            assert!(keys.iter().all(|key| session.get_bytes(key).is_some()), "{mode:?}: {:?}", session.keys());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_one_session_from_all_nodes_ends_equal_everywhere() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let session = cluster[0].create().await.expect("far from full");
        session.commit().await.expect("calm");
        let id = session.id();
        let mut bursts = JoinSet::new();
        for node in cluster.nodes() {
            let node = node.clone();
            bursts.spawn(async move {
                for number in 0..COMMITS {
                    let session = node.load(id).await.expect("calm").expect("it was committed");
                    session.insert(&format!("only-{}", node.name()), &number).expect("a number is JSON");
                    session.insert("shared", &format!("{}-{number}", node.name())).expect("text is JSON");
                    let Commit { id: changed, .. } =
                        session.commit_with(Ack::Local).await.expect("nothing to wait for");
                    assert_eq!(changed, id);
                }
            });
        }
        bursts.join_all().await;
        settled_and_exact(&cluster.all(), &[id]).await;
        let names = cluster.names();
        let mut shared = Vec::new();
        for node in cluster.nodes() {
            let session = node.load(id).await.expect("calm").expect("it was committed");
            for name in &names {
                let last = session.get::<usize>(&format!("only-{name}")).expect("a number");
                assert_eq!(last, Some(COMMITS - 1), "{mode:?}: {} of {name}", node.name());
            }
            shared.push(session.get::<String>("shared").expect("text"));
        }
        assert!(shared.iter().all(|value| value.is_some() && *value == shared[0]), "{mode:?}: {shared:?}");
    }
}

async fn burst(node: Mesh) -> SessionId {
    let session = node.create().await.expect("far from full");
    session.commit_with(Ack::Local).await.expect("nothing to wait for");
    for number in 0..COMMITS {
        session.insert("last", &number).expect("a number is JSON");
        session.insert(&format!("k{}", number % 10), &number).expect("a number is JSON");
        session.commit_with(Ack::Local).await.expect("nothing to wait for");
    }
    session.id()
}
