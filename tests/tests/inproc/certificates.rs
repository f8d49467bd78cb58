//! Clusters whose nodes have certificates of a PKI in place of the secret.

use std::sync::Arc;
use std::time::Duration;

use sessionmesh::{Mesh, MeshBuilder, Outcome, Secret};
use sessionmesh_testkit::authority::{self, Authority, Files, Wanted};
use sessionmesh_testkit::cluster::{
    Cluster, PATIENCE, check, create_sessions, eventually, eventually_async, load, session_with, settled_and_exact,
    unique_name,
};
use tokio::time::{Instant, timeout};

use crate::secrets::{Load, SAID_WITHIN, finds_nobody_that_trusts_it, node, seeds};

/// Has a node use these files, and accept the names of the shop.
fn with(builder: MeshBuilder, files: &Files) -> MeshBuilder {
    let builder = builder.secret(Vec::new()).tls_names(vec!["*.shop".to_owned()]);
    builder.tls_cert(Some(files.cert())).tls_key(Some(files.key())).tls_ca(Some(files.ca()))
}

fn files(signer: &Authority, trusted: &str) -> Files {
    Files::new(&signer.sign(&Wanted::good(&["web.shop"])), trusted)
}

/// Nodes that all have these files.
async fn cluster_with(nodes: usize, files: Arc<Files>) -> Cluster {
    Cluster::start_with(nodes, move |builder| with(builder, &files)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_certificates_alone_copies_grows_and_survives_a_crash_without_a_datagram() {
    let root = Authority::new("root");
    let mut cluster = cluster_with(3, Arc::new(files(&root, root.pem()))).await;
    let ids = create_sessions(&cluster[0], 50).await;
    settled_and_exact(&cluster.all(), &ids).await;
    let large = session_with(&cluster[1], "large", &"x".repeat(700_000)).await.id();
    // With a certificate and a name of its own.
    let own = Files::new(&root.sign(&Wanted::good(&["spiffe://shop/web", "web-4.shop"])), root.pem());
    cluster.launch("n3", |builder| with(builder, &own)).await;
    cluster.settled().await;
    cluster.crash("n0");
    cluster.settled().await;
    for id in ids.iter().chain([&large]) {
        for node in cluster.nodes() {
            let find = async || node.load(*id).await.map_err(|error| error.to_string());
            assert!(eventually_async(PATIENCE, find).await.is_some(), "{id} on {}", node.name());
        }
    }
    for node in cluster.nodes() {
        let stats = node.stats();
        assert_eq!((stats.refusals.plain_datagram, stats.refusals.sealed_datagram, stats.insecure), (0, 0, false));
        let remaining = stats.certificate_remaining.expect("it has one");
        assert!(remaining > Duration::from_secs(23 * 60 * 60), "{remaining:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_their_authority_change_under_load_and_newcomers_get_in() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let both = format!("{}{}", old.pem(), new.pem());
    let shared = Arc::new(files(&old, old.pem()));
    let mut cluster = cluster_with(3, shared.clone()).await;
    let ids = create_sessions(&cluster[0], 30).await;
    let nodes = cluster.nodes().to_vec();
    let writing = Load::on(&nodes, &ids);
    for (step, (signer, trusted)) in [(&old, &*both), (&new, &*both), (&new, new.pem())].into_iter().enumerate() {
        shared.replace(&signer.sign(&Wanted::good(&["web.shop"])), trusted);
        for node in &nodes {
            node.reload_certificates().await.expect("the files are good");
        }
        for (kind, its) in [("old", &old), ("new", &new)].into_iter().filter(|(kind, _)| step < 2 || *kind == "new") {
            let (name, own) = (format!("{kind}{step}"), files(its, &both));
            cluster.launch(&name, |builder| with(builder, &own)).await;
            cluster.settled().await;
            cluster.leave(&name).await;
        }
    }
    writing.lost_nothing(&nodes, &ids).await;
    // Who has a certificate of the old authority is out.
    let addrs: Vec<_> = nodes.iter().map(Mesh::addr).collect();
    let name = nodes[0].config().cluster.clone();
    let late =
        with(node(&name, "late"), &files(&old, &both)).discovery(seeds(&addrs)).start().await.expect("it starts");
    finds_nobody_that_trusts_it(&late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_followed_and_such_that_cannot_be_used_change_nothing() {
    let (root, foreign) = (Authority::new("root"), Authority::new("foreign"));
    let shared = Arc::new(files(&root, root.pem()));
    let cluster = cluster_with(2, shared.clone()).await;
    let id = create_sessions(&cluster[0], 1).await[0];
    let (now, good) = (authority::now(), || Wanted::good(&["web.shop"]));
    let day = Duration::from_secs(24 * 60 * 60);
    for (signed, part) in [
        (foreign.sign(&good()), "has signed it"),
        (root.sign(&Wanted { from: now - 2 * day, until: now - day, ..good() }), "is valid from"),
        (root.sign(&Wanted::good(&["web.bank"])), "web.bank"),
    ] {
        shared.replace(&signed, root.pem());
        let refused = cluster[0].reload_certificates().await.expect_err("it is not good").to_string();
        assert!(refused.contains(part), "{refused}");
        load(&cluster[1], id).await;
    }
    // Nobody says that they have changed: they are looked at.
    shared.replace(&root.sign(&Wanted { until: now + 30 * day, ..good() }), root.pem());
    eventually(PATIENCE, || {
        let remaining = cluster[0].stats().certificate_remaining;
        check(remaining > Some(29 * day), || format!("the certificate in use ends in {remaining:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_with_its_certificate_and_comes_back_with_the_next_one() {
    let root = Authority::new("root");
    let [lasting, ending] = [Arc::new(files(&root, root.pem())), Arc::new(files(&root, root.pem()))];
    let mut cluster = cluster_with(1, lasting).await;
    // Whole seconds are all that a certificate knows.
    let soon = authority::now() + Duration::from_secs(4);
    ending.replace(&root.sign(&Wanted { until: soon, ..Wanted::good(&["web.shop"]) }), root.pem());
    cluster.launch("n1", |builder| with(builder, &ending)).await;
    cluster.settled().await;
    let refused = |cluster: &Cluster| cluster[0].stats().refusals.certificate_not_valid_now;
    assert_eq!(refused(&cluster), 0);
    eventually(PATIENCE, || check(refused(&cluster) > 0, || "links are not dialled anew".to_owned())).await;
    eventually(PATIENCE, || check(cluster[0].members().len() == 1, || "it is still a member".to_owned())).await;
    assert_eq!(cluster[1].stats().certificate_remaining, Some(Duration::ZERO));
    ending.replace(&root.sign(&Wanted::good(&["web.shop"])), root.pem());
    cluster[1].reload_certificates().await.expect("it is good");
    cluster.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_do_not_accept_each_other_never_meet_and_both_learn_why() {
    let (root, foreign) = (Authority::new("root"), Authority::new("foreign"));
    let name = unique_name();
    let nobody = seeds(&["127.0.0.1:1".parse().expect("an address")]);
    let own = files(&root, root.pem());
    let first = with(node(&name, "first"), &own).discovery(nobody).start().await.expect("it starts");
    let at = || seeds(&[first.addr()]);
    let trusts_both = format!("{}{}", root.pem(), foreign.pem());
    let of_foreign = files(&foreign, &trusts_both);
    let of_bank = Files::new(&root.sign(&Wanted::good(&["web.bank"])), root.pem());
    let second = [
        with(node(&name, "bank"), &of_bank).tls_names(vec!["*".to_owned()]),
        with(node(&name, "foreign"), &of_foreign),
        node(&name, "secret").secret(Secret::generate()),
        node(&name, "plain").secret(Vec::new()),
    ];
    for builder in second {
        let other = builder.discovery(at()).start().await.expect("it starts");
        let began = Instant::now();
        let before = first.stats().refusals;
        eventually(SAID_WITHIN, || {
            let alone = other.alone().ok_or("it does not say that it is alone")?;
            let outcome = &alone.tried[0].outcome;
            let says = matches!(outcome, Outcome::NotTrusted(_) | Outcome::Stranger | Outcome::Silent(_));
            check(says, || format!("{} says {alone}", other.name()))?;
            check(first.stats().refusals != before, || format!("{} is not counted", other.name()))
        })
        .await;
        assert!(began.elapsed() <= SAID_WITHIN + Duration::from_secs(1));
        timeout(PATIENCE, other.ready()).await.expect("it goes on alone");
        assert_eq!((first.members().len(), other.members().len()), (1, 1), "{}", other.name());
    }
    let refused = first.stats().refusals;
    assert!(refused.name_not_allowed > 0 && refused.not_proven > 0, "{refused:?}");
    assert!(refused.other_cluster > 0 && refused.not_encrypted > 0, "{refused:?}");
    assert_eq!(first.stats().bytes_decoded, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_cluster_gets_its_certificates_one_node_after_the_other_and_loses_nothing() {
    let root = Authority::new("root");
    let shared = files(&root, root.pem());
    let mut cluster = Cluster::start_with(3, |builder| builder.secret(Vec::new())).await;
    let ids = create_sessions(&cluster[0], 30).await;
    for plain_too in [true, false] {
        for name in ["n0", "n1", "n2"] {
            cluster.leave(name).await;
            cluster.launch(name, |builder| with(builder, &shared).accept_plaintext(plain_too)).await;
            cluster.settled().await;
        }
    }
    settled_and_exact(&cluster.all(), &ids).await;
    for id in ids {
        for node in cluster.nodes() {
            load(node, id).await;
        }
    }
}
