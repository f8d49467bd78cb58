//! Clusters under a secret: who has it takes part, who has not is told so and gets nothing, and it changes without a stop.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessionmesh::{Discovery, Mesh, MeshBuilder, Outcome, Secret, SessionId};
use sessionmesh_testkit::cluster::{
    Cluster, MODES, PATIENCE, check, create_sessions, eventually, eventually_async, load, session_with,
    settled_and_exact, unique_name,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How soon an operator learns that secrets differ.
pub(crate) const SAID_WITHIN: Duration = Duration::from_secs(2);

pub(crate) fn seeds(addrs: &[SocketAddr]) -> Discovery {
    Discovery::seeds(addrs.iter().map(ToString::to_string))
}

pub(crate) fn node(cluster: &str, name: &str) -> MeshBuilder {
    Mesh::builder().cluster(cluster).name(name).discovery_window(Duration::from_millis(300)).multicast(false)
}

/// Nodes that have their secrets from this file.
async fn with_file(nodes: usize, file: &Path) -> Cluster {
    let file = file.to_owned();
    Cluster::start_with(nodes, move |builder| builder.secret(Vec::new()).secret_file(Some(file.clone()))).await
}

/// Writes a file of secrets in one step, as an operator's tools do.
fn write(path: &Path, secrets: &[&Secret]) {
    let lines: Vec<String> = secrets.iter().map(|secret| secret.to_text().to_string()).collect();
    let new = path.with_extension("new");
    fs::write(&new, lines.join("\n")).expect("a file can be written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::rename(&new, path).expect("it takes the place of the old one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_under_a_secret_copies_moves_and_survives_a_crash() {
    for mode in MODES {
        let secret = Secret::generate();
        let mut cluster = Cluster::start_with(3, move |builder| builder.mode(mode).secret(secret.clone())).await;
        let ids = create_sessions(&cluster[0], 50).await;
        settled_and_exact(&cluster.all(), &ids).await;
        let large = session_with(&cluster[1], "large", &"x".repeat(700_000)).await.id();
        cluster.join("n3").await;
        cluster.crash("n0");
        for id in ids.iter().chain([&large]) {
            for node in cluster.nodes() {
                let find = async || node.load(*id).await.map_err(|error| error.to_string());
                let found = eventually_async(PATIENCE, find).await;
                assert!(found.is_some(), "{mode:?}: {id} on {}", node.name());
            }
        }
        for node in cluster.nodes() {
            let stats = node.stats();
            let unexpected = [stats.refusals.unknown_secret, stats.refusals.forged, stats.refusals.not_proven];
            assert_eq!((unexpected, stats.insecure), ([0; 3], false));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_different_secrets_or_without_one_never_meet_and_both_learn_why() {
    let name = unique_name();
    let secrets = [Secret::generate().into(), Secret::generate().into(), Vec::new()];
    for (own, others) in [(0, 1), (0, 2), (2, 0)] {
        let own_side: Vec<Secret> = secrets[own].clone();
        let first = node(&name, "first").secret(own_side).discovery(seeds(&["127.0.0.1:1".parse().unwrap()]));
        let first = first.start().await.expect("it starts");
        let second = node(&name, "second").secret(secrets[others].clone()).discovery(seeds(&[first.addr()]));
        let second = second.start().await.expect("it starts");
        let began = Instant::now();
        eventually(SAID_WITHIN, || {
            let counted = |mesh: &Mesh| {
                let refused = mesh.stats().refusals;
                let datagrams = refused.unknown_secret + refused.plain_datagram + refused.sealed_datagram;
                datagrams + refused.no_shared_secret + refused.not_encrypted
            };
            check(counted(&first) > 0, || format!("the first counts {:?}", first.stats().refusals))?;
            let alone = second.alone().ok_or("the second does not say that it is alone")?;
            let outcome = &alone.tried[0].outcome;
            let says = matches!(outcome, Outcome::NotTrusted(_))
                || (others == 2 && matches!(outcome, Outcome::Stranger | Outcome::Silent(_)));
            check(says, || format!("the second says {alone}"))
        })
        .await;
        assert!(began.elapsed() <= SAID_WITHIN + Duration::from_secs(1));
        timeout(PATIENCE, second.ready()).await.expect("it goes on alone");
        assert_eq!((first.members().len(), second.members().len()), (1, 1));
    }
}

/// Waits until this node is alone, since no node that it was told of trusts it.
pub(crate) async fn finds_nobody_that_trusts_it(node: &Mesh) {
    timeout(PATIENCE, node.ready()).await.expect("alone");
    let tried = node.alone().expect("it is alone").tried;
    assert!(tried.iter().all(|tried| matches!(tried.outcome, Outcome::NotTrusted(_))), "{tried:?}");
}

/// Writes and reads on all nodes until it is stopped. How many requests failed, of how many.
pub(crate) struct Load(Arc<AtomicBool>, JoinHandle<(usize, usize)>);

impl Load {
    pub(crate) fn on(nodes: &[Mesh], ids: &[SessionId]) -> Self {
        let (nodes, ids, stop) = (nodes.to_vec(), ids.to_vec(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut failed, mut number) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let (node, id) = (&nodes[number % nodes.len()], ids[number % ids.len()]);
                number += 1;
                let done = match node.load(id).await {
                    Ok(Some(session)) => session.insert("written", &number).is_ok() && session.commit().await.is_ok(),
                    _ => false,
                };
                failed += usize::from(!done);
                tokio::task::yield_now().await;
            }
            (failed, number)
        });
        Self(stop, task)
    }

    /// Ends it. No request may have failed, and all sessions must be there on all nodes.
    pub(crate) async fn lost_nothing(self, nodes: &[Mesh], ids: &[SessionId]) {
        self.0.store(true, Ordering::Relaxed);
        let (failed, all) = self.1.await.expect("it ends when it is told to");
        assert!(failed == 0 && all > 100, "{failed} of {all} requests failed");
        for id in ids {
            for node in nodes {
                load(node, *id).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_running_cluster_changes_under_load_and_newcomers_with_any_of_its_keys_get_in() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let [old, new] = [Secret::generate(), Secret::generate()];
    let file = folder.path().join("secret");
    write(&file, &[&old]);
    let mut cluster = with_file(3, &file).await;
    let ids = create_sessions(&cluster[0], 30).await;
    let nodes = cluster.nodes().to_vec();
    let writing = Load::on(&nodes, &ids);
    // What each newcomer has, at each step, and whether it shares a key with all.
    for step in [vec![&old, &new], vec![&new, &old], vec![&new]] {
        write(&file, &step);
        for node in &nodes {
            assert_eq!(node.reload_secrets().await.expect("the file is good"), step.len());
        }
        for (kind, keys) in [("old", vec![&old]), ("new", vec![&new]), ("both", vec![&old, &new])] {
            if !keys.iter().any(|key| step.contains(key)) {
                continue;
            }
            let keys: Vec<Secret> = keys.into_iter().cloned().collect();
            let name = format!("{kind}{}", step.len());
            cluster.launch(&name, |builder| builder.secret(keys).secret_file(None)).await;
            cluster.settled().await;
            cluster.leave(&name).await;
        }
    }
    writing.lost_nothing(&nodes, &ids).await;
    // Who has the old one alone is out.
    let seed: Vec<SocketAddr> = nodes.iter().map(Mesh::addr).collect();
    let name = nodes[0].config().cluster.clone();
    let late = node(&name, "late").secret(old).discovery(seeds(&seed)).start().await.expect("it starts");
    finds_nobody_that_trusts_it(&late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_followed_and_one_that_cannot_be_used_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let [old, new] = [Secret::generate(), Secret::generate()];
    let file = folder.path().join("secret");
    write(&file, &[&old]);
    let cluster = with_file(2, &file).await;
    let id = create_sessions(&cluster[0], 1).await[0];
    // Readable by others; no secret at all.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let refused = cluster[0].reload_secrets().await.expect_err("others can read it").to_string();
    assert!(refused.contains("chmod"), "{refused}");
    write(&file, &[]);
    let refused = cluster[0].reload_secrets().await.expect_err("it is empty").to_string();
    assert!(refused.contains("keygen"), "{refused}");
    load(&cluster[1], id).await;
    // Nobody says that it has changed: it is looked at.
    write(&file, &[&new, &old]);
    let name = cluster[0].config().cluster.clone();
    let addrs: Vec<SocketAddr> = cluster.nodes().iter().map(Mesh::addr).collect();
    let newcomer = node(&name, "new").secret(new).discovery(seeds(&addrs)).start().await.expect("it starts");
    eventually(PATIENCE, || check(newcomer.members().len() == 3, || format!("{:?}", newcomer.members()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_cluster_gets_its_secret_one_node_after_the_other_and_loses_nothing() {
    let secret = Secret::generate();
    let mut cluster = Cluster::start_with(3, |builder| builder.secret(Vec::new())).await;
    let ids = create_sessions(&cluster[0], 30).await;
    let half = |builder: MeshBuilder| builder.secret(secret.clone()).accept_plaintext(true);
    let on = |builder: MeshBuilder| builder.secret(secret.clone());
    for name in ["n0", "n1", "n2"] {
        cluster.leave(name).await;
        cluster.launch(name, half).await;
        cluster.settled().await;
    }
    for name in ["n0", "n1", "n2"] {
        cluster.leave(name).await;
        cluster.launch(name, on).await;
        cluster.settled().await;
    }
    settled_and_exact(&cluster.all(), &ids).await;
    for id in ids {
        for node in cluster.nodes() {
            load(node, id).await;
        }
    }
}
