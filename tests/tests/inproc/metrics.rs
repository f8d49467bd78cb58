//! Metrics, as a recorder of the facade gets them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sessionmesh::{Ack, CommitError, Event, Mode};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, create_sessions, eventually, unique_name};

/// There is one recorder in a program; the nodes of other tests have other names.
static RECORDER: LazyLock<PrometheusHandle> = LazyLock::new(|| {
    let builder = PrometheusBuilder::new().set_buckets(&[0.001, 0.1]).expect("there are some");
    builder.install_recorder().expect("no other test installs one")
});

/// The series of one node: name and labels, without that of the node, and value.
fn series(node: &str) -> BTreeMap<String, f64> {
    let label = format!("node=\"{node}\"");
    let of_node = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let name = name.contains(&label).then(|| name.replace(&format!("{label},"), "").replace(&label, ""))?;
        Some((name, value.parse().expect("a number")))
    };
    RECORDER.render().lines().filter_map(of_node).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_does_is_counted_and_measured() {
    LazyLock::force(&RECORDER);
    let (a, b) = (unique_name(), unique_name());
    let mut cluster =
        Cluster::start_with(0, |builder| builder.mode(Mode::PrimaryBackup { backups: 1 }).max_value_bytes(100_u32))
            .await;
    let first = cluster.launch(&a, |builder| builder).await;
    first.ready().await;
    cluster.join(&b).await;
    let ids = create_sessions(&first, 20).await;
    for id in &ids {
        assert!(first.load(*id).await.expect("calm").is_some());
    }
    let session = first.load(ids[0]).await.expect("calm").expect("it was committed");
    session.insert("large", &"x".repeat(200)).expect("text");
    assert!(matches!(session.commit().await, Err(CommitError::Limit(_))));
    let local = first.load(ids[1]).await.expect("calm").expect("it was committed");
    local.insert("small", &1).expect("a number");
    local.commit_with(Ack::Local).await.expect("calm");
    cluster.settled().await;
    eventually(PATIENCE, || {
        first.publish_metrics();
        let all = series(&a);
        let is = |name: &str, value: f64| {
            let found = all.get(name).copied();
            check(found == Some(value), || format!("{name} is {found:?}, not {value}"))
        };
        is("sessionmesh_ready{}", 1.0)?;
        is("sessionmesh_members{state=\"ready\"}", 2.0)?;
        let held = all["sessionmesh_sessions{role=\"primary\"}"] + all["sessionmesh_sessions{role=\"replica\"}"];
        check((held - 20.0).abs() < 0.1, || format!("it holds {held}"))?;
        is("sessionmesh_sessions{role=\"transit\"}", 0.0)?;
        is("sessionmesh_commits_total{ack=\"owners\",result=\"acknowledged\"}", 20.0)?;
        is("sessionmesh_commits_total{ack=\"owners\",result=\"refused\"}", 1.0)?;
        is("sessionmesh_commits_total{ack=\"local\",result=\"acknowledged\"}", 1.0)?;
        is("sessionmesh_commit_duration_seconds_count{ack=\"owners\"}", 20.0)?;
        is("sessionmesh_events_total{event=\"limit_reached\"}", 1.0)?;
        is("sessionmesh_events_total{event=\"session_created\"}", 20.0)?;
        is("sessionmesh_events_total{event=\"member_up\"}", 1.0)?;
        is(&format!("sessionmesh_link_up{{peer=\"{b}\"}}"), 1.0)?;
        is(&format!("sessionmesh_outbox_sessions{{peer=\"{b}\"}}"), 0.0)?;
        is("sessionmesh_join_duration_seconds_count{}", 1.0)?;
        check(all["sessionmesh_session_bytes{}"] > 0.0, || "it holds no bytes".to_owned())?;
        check(all["sessionmesh_link_round_trip_seconds_count{}"] > 0.0, || "no ping was answered".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_of_what_is_held_follow_every_change() {
    for mode in [Mode::PrimaryBackup { backups: 1 }, Mode::AllToAll] {
        let mut cluster = Cluster::start(2, mode).await;
        let sums = |cluster: &Cluster| {
            let stats: Vec<_> = cluster.nodes().iter().map(sessionmesh::Mesh::stats).collect();
            let sum = |of: fn(&sessionmesh::Stats) -> usize| stats.iter().map(of).sum::<usize>();
            let bytes: u64 = stats.iter().map(|stats| stats.bytes).sum();
            (sum(|stats| stats.primary), sum(|stats| stats.replica), sum(|stats| stats.owned), bytes)
        };
        let ids = create_sessions(&cluster[0], 10).await;
        cluster.settled().await;
        let (primary, replica, owned, bytes) = sums(&cluster);
        assert_eq!((primary, replica, owned), (10, 10, 20), "{mode:?}");
        let session = cluster[1].load(ids[0]).await.expect("calm").expect("it was committed");
        session.insert("key", &"12345678").expect("text");
        session.commit().await.expect("calm");
        cluster.settled().await;
        assert_eq!(sums(&cluster).3, bytes + 2 * 13, "{mode:?}: 3 of the key, 10 of the value in JSON, on both");
        session.remove("key");
        session.commit().await.expect("calm");
        cluster.settled().await;
        assert_eq!(sums(&cluster).3, bytes + 2 * 3, "{mode:?}: that it was removed is remembered by its key");
        session.invalidate().await.expect("calm");
        cluster.settled().await;
        let (primary, replica, owned, after) = sums(&cluster);
        assert_eq!((primary, replica, owned), (9, 9, 20), "{mode:?}: the tombstone is held, too");
        assert_eq!(after, bytes / 10 * 9, "{mode:?}: all sessions are equal");
        cluster.leave("n1").await;
        cluster.settled().await;
        assert_eq!(sums(&cluster), (9, 0, 10, bytes / 20 * 9), "{mode:?}: one node has all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_are_told_of_is_an_event_and_a_count() {
    let mut cluster = Cluster::start(3, Mode::PrimaryBackup { backups: 1 }).await;
    let mut ears = cluster.listen();
    let count = |node: &sessionmesh::Mesh, event: &str| node.stats().events[event];
    let views = count(&cluster[0], "view_changed");
    cluster.crash("n2");
    let down = Event::MemberDown { name: "n2".into(), planned: false };
    eventually(PATIENCE, || {
        let counts: Vec<_> = cluster.nodes().iter().map(|node| count(node, "member_down")).collect();
        check(counts == [1, 1], || format!("it is counted {counts:?} times"))
    })
    .await;
    eventually(PATIENCE, || check(ears.count(&down) == 2, || "nobody was told".to_owned())).await;
    assert!(count(&cluster[0], "view_changed") > views);
    cluster.leave("n1").await;
    eventually(PATIENCE, || check(count(&cluster[0], "member_left") == 1, || "it has not left".to_owned())).await;
    assert_eq!(count(&cluster[0], "member_down"), 1, "who leaves is not down");
}
