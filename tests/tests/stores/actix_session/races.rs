//! Requests of one visitor at the same time, on one node and on several.

use sessionmesh::ModeName;
use sessionmesh_actix::MeshStore;
use sessionmesh_testkit::cluster::Cluster;

use crate::actix_session::app::{Gate, Served, Setup, app};
use crate::actix_session::imitation::LikeRedis;
use crate::actix_session::visitor::Visitor;

/// One node; two, which both hold everything; four, of which some only pass on.
const SIZES: [usize; 3] = [1, 2, 4];

/// The application on each node, with one gate for all.
async fn start(nodes: usize) -> (Cluster, Vec<impl Served>, Gate) {
    let cluster = Cluster::start(nodes, ModeName::PrimaryBackup).await;
    let gate = Gate::default();
    let mut apps = Vec::new();
    for node in cluster.nodes() {
        apps.push(app(MeshStore::new(node.clone()), Setup::default(), gate.clone()).await);
    }
    (cluster, apps, gate)
}

async fn visitor_with(app: &impl Served, key: &str) -> Visitor {
    let mut visitor = Visitor::default();
    visitor.text(app, &format!("/put?key={key}&value=1")).await;
    visitor
}

/// Sends a slow request, and does `meanwhile` while it waits. Returns the visitor with the cookie of its answer.
async fn during(
    app: &impl Served,
    gate: &Gate,
    visitor: &Visitor,
    uri: &str,
    meanwhile: impl Future<Output = ()>,
) -> Visitor {
    let mut slow = visitor.clone();
    let (_, ()) = tokio::join!(slow.text(app, uri), async {
        gate.loaded().await;
        meanwhile.await;
        gate.open();
    });
    slow
}

/// The slow request on `a` writes one entry, the other on `b` another. Returns what is then read of the quick one's.
async fn both_writes(a: &impl Served, b: &impl Served, gate: &Gate) -> [String; 2] {
    let visitor = visitor_with(a, "user").await;
    let mut other = visitor.clone();
    let mut slow = during(a, gate, &visitor, "/slow_put?key=slow&value=1", async {
        other.text(b, "/put?key=quick&value=1").await;
        other.text(b, "/remove?key=user").await;
    })
    .await;
    assert_eq!(slow.text(a, "/get?key=slow").await, "1");
    [other.text(b, "/get?key=quick").await, other.text(b, "/get?key=user").await]
}

#[actix_web::test]
async fn parallel_requests_that_write_different_entries_keep_both() {
    for nodes in SIZES {
        let (_cluster, apps, gate) = start(nodes).await;
        for b in &apps {
            assert_eq!(both_writes(&apps[0], b, &gate).await, ["1", "none"], "{nodes} nodes");
        }
    }
}

#[actix_web::test]
async fn a_store_like_the_one_for_redis_loses_one_of_them() {
    let gate = Gate::default();
    let control = app(LikeRedis::default(), Setup::default(), gate.clone()).await;
    assert_eq!(both_writes(&control, &control, &gate).await, ["none", "1"]);
}

#[actix_web::test]
async fn of_many_requests_at_once_no_write_is_lost() {
    for nodes in SIZES {
        let (_cluster, apps, _) = start(nodes).await;
        let visitor = visitor_with(&apps[0], "user").await;
        let write = async |number: usize| {
            let mut visitor = visitor.clone();
            visitor.text(&apps[number % nodes], &format!("/put?key=k{number}&value={number}")).await;
        };
        futures::future::join_all((0..32).map(write)).await;
        for number in 0..32 {
            let read = visitor.clone().text(&apps[(number + 1) % nodes], &format!("/get?key=k{number}")).await;
            assert_eq!(read, number.to_string(), "{nodes} nodes");
        }
    }
}

/// A slow request on `a` writes after a logout on `b`. Returns its visitor.
async fn late_save(a: &impl Served, b: &impl Served, gate: &Gate) -> (Visitor, Visitor) {
    let visitor = visitor_with(a, "user").await;
    let mut other = visitor.clone();
    let late = during(a, gate, &visitor, "/slow_put?key=late&value=1", async {
        other.text(b, "/purge").await;
    })
    .await;
    (visitor, late)
}

#[actix_web::test]
async fn a_slow_request_that_saves_after_a_logout_revives_nothing() {
    for nodes in SIZES {
        let (cluster, apps, gate) = start(nodes).await;
        for b in &apps {
            let (before, mut late) = late_save(&apps[0], b, &gate).await;
            assert_eq!(late.value(), before.value(), "no new key");
            assert_eq!(late.text(b, "/get?key=user").await, "none", "{nodes} nodes");
        }
        let live: usize = cluster.nodes().iter().map(|node| node.stats().sessions).sum();
        assert_eq!(live, 0);
    }
}

#[actix_web::test]
async fn a_store_like_the_one_for_redis_gives_a_new_key_that_is_logged_in() {
    let gate = Gate::default();
    let control = app(LikeRedis::default(), Setup::default(), gate.clone()).await;
    let (before, mut late) = late_save(&control, &control, &gate).await;
    assert_ne!(late.value(), before.value());
    assert_eq!(late.text(&control, "/get?key=user").await, "1");
}

#[actix_web::test]
async fn a_logout_on_one_node_holds_on_the_others_at_once() {
    let (_cluster, apps, _) = start(4).await;
    for round in 0..8 {
        let mut visitor = visitor_with(&apps[round % 4], "user").await;
        let thief = visitor.clone();
        assert_eq!(thief.clone().text(&apps[(round + 1) % 4], "/get?key=user").await, "1");
        visitor.text(&apps[round % 4], "/purge").await;
        for app in &apps {
            assert_eq!(thief.clone().text(app, "/get?key=user").await, "none", "round {round}");
        }
    }
}

#[actix_web::test]
async fn an_id_that_was_renewed_on_one_node_is_refused_on_the_others() {
    let (_cluster, apps, _) = start(4).await;
    for round in 0..8 {
        let mut visitor = visitor_with(&apps[round % 4], "user").await;
        let old = visitor.clone();
        visitor.text(&apps[(round / 2) % 4], "/renew").await;
        assert_ne!(visitor.value(), old.value());
        for app in &apps {
            assert_eq!(old.clone().text(app, "/get?key=user").await, "none", "round {round}");
            assert_eq!(visitor.text(app, "/get?key=user").await, "1", "round {round}");
        }
    }
}

#[actix_web::test]
async fn a_write_is_read_on_the_node_that_a_redirect_leads_to() {
    let (_cluster, apps, _) = start(4).await;
    for round in 0..12 {
        let mut visitor = Visitor::default();
        let (a, b) = (&apps[round % 4], &apps[(round + 1 + round / 4) % 4]);
        visitor.text(a, &format!("/put?key=order&value={round}")).await;
        assert_eq!(visitor.text(b, "/get?key=order").await, round.to_string());
        visitor.text(b, &format!("/put?key=order&value={}", round + 100)).await;
        assert_eq!(visitor.text(a, "/get?key=order").await, (round + 100).to_string());
    }
}

#[actix_web::test]
async fn what_others_wrote_before_a_renewal_goes_along() {
    for nodes in SIZES {
        let (_cluster, apps, gate) = start(nodes).await;
        for b in &apps {
            let visitor = visitor_with(&apps[0], "cart").await;
            let mut other = visitor.clone();
            let mut renewed = during(&apps[0], &gate, &visitor, "/slow_login", async {
                other.text(b, "/put?key=theirs&value=1").await;
                other.text(b, "/remove?key=cart").await;
            })
            .await;
            assert_ne!(renewed.value(), visitor.value());
            assert_eq!(renewed.text(b, "/get?key=theirs").await, "1", "{nodes} nodes");
            assert_eq!(renewed.text(b, "/get?key=cart").await, "none", "{nodes} nodes");
            assert_eq!(renewed.text(b, "/get?key=user").await, "1", "{nodes} nodes");
        }
    }
}

#[actix_web::test]
async fn a_logout_before_a_renewal_wins_on_every_node() {
    for nodes in SIZES {
        let (cluster, apps, gate) = start(nodes).await;
        for b in &apps {
            let visitor = visitor_with(&apps[0], "user").await;
            let mut other = visitor.clone();
            let mut renewed = during(&apps[0], &gate, &visitor, "/slow_renew", async {
                other.text(b, "/purge").await;
            })
            .await;
            assert_eq!(renewed.text(b, "/get?key=user").await, "none", "{nodes} nodes");
        }
        let live: usize = cluster.nodes().iter().map(|node| node.stats().sessions).sum();
        assert_eq!(live, 0);
    }
}
