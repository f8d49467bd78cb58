//! What the stock stores get wrong: requests of one visitor at the same time, on one node and on several.

use super::in_both_versions;

mod cases {
    use axum::Router;
    use axum::http::StatusCode;
    use sessionmesh::ModeName;
    use sessionmesh_axum::MeshStore;
    use sessionmesh_testkit::cluster::Cluster;

    use crate::tower_sessions::app::{Gate, Setup, Version};
    use crate::tower_sessions::visitor::{Reply, Visitor};

    /// One node; two, which both hold everything; four, of which some only pass on.
    const SIZES: [usize; 3] = [1, 2, 4];

    /// The application on each node, with one gate for all.
    async fn start<V: Version>(nodes: usize) -> (Cluster, Vec<Router>, Gate) {
        let cluster = Cluster::start(nodes, ModeName::PrimaryBackup).await;
        let gate = Gate::default();
        let app = |node: &sessionmesh::Mesh| V::app(MeshStore::new(node.clone()), Setup::default(), &gate);
        let apps = cluster.nodes().iter().map(app).collect();
        (cluster, apps, gate)
    }

    async fn login(app: &Router) -> Visitor {
        let mut visitor = Visitor::default();
        visitor.text(app, "/put?key=user&value=1").await;
        visitor
    }

    /// Starts a slow request, does `meanwhile` once it has loaded, and then lets it go on.
    async fn slow(
        app: &Router,
        gate: &Gate,
        visitor: &Visitor,
        uri: &str,
        meanwhile: impl Future<Output = ()>,
    ) -> Reply {
        let mut slow = visitor.clone();
        let request = slow.get(app, uri);
        let (reply, ()) = tokio::join!(request, async {
            gate.loaded().await;
            meanwhile.await;
            gate.open();
        });
        reply
    }

    /// The slow request on `a` writes one attribute, the other on `b` another. Returns what `b` then reads of both.
    async fn both_writes(a: &Router, b: &Router, gate: &Gate) -> [String; 2] {
        let visitor = login(a).await;
        let mut other = visitor.clone();
        slow(a, gate, &visitor, "/slow_put?key=slow&value=1", async {
            other.text(b, "/put?key=quick&value=1").await;
            other.text(b, "/remove?key=user").await;
        })
        .await;
        assert_eq!(other.cookie, visitor.cookie);
        assert_eq!(other.text(a, "/get?key=slow").await, "1");
        [other.text(b, "/get?key=quick").await, other.text(b, "/get?key=user").await]
    }

    pub(super) async fn parallel_requests_that_write_different_keys_keep_both<V: Version>() {
        for nodes in SIZES {
            let (_cluster, apps, gate) = start::<V>(nodes).await;
            for b in &apps {
                assert_eq!(both_writes(&apps[0], b, &gate).await, ["1", "none"], "{nodes} nodes");
            }
        }
    }

    pub(super) async fn the_stock_store_loses_one_of_them<V: Version>() {
        let gate = Gate::default();
        let stock = V::stock(&gate);
        assert_eq!(both_writes(&stock, &stock, &gate).await, ["none", "1"]);
    }

    pub(super) async fn of_many_requests_at_once_no_write_is_lost<V: Version>() {
        for nodes in SIZES {
            let (_cluster, apps, _) = start::<V>(nodes).await;
            let visitor = login(&apps[0]).await;
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

    /// A slow request on `a` writes after a logout on `b`. Returns whether the visitor is logged in again.
    async fn late_save(a: &Router, b: &Router, gate: &Gate) -> (Reply, String) {
        let visitor = login(a).await;
        let mut other = visitor.clone();
        let reply = slow(a, gate, &visitor, "/slow_put?key=late&value=1", async {
            other.text(b, "/flush").await;
        })
        .await;
        let mut thief = visitor.clone();
        let user = thief.text(b, "/get?key=user").await;
        assert_eq!(reply.cookie.as_ref().map(cookie::Cookie::value), visitor.cookie.as_deref(), "no new id");
        (reply, user)
    }

    pub(super) async fn a_slow_request_that_saves_after_a_logout_revives_nothing<V: Version>() {
        for nodes in SIZES {
            let (cluster, apps, gate) = start::<V>(nodes).await;
            for b in &apps {
                let (reply, user) = late_save(&apps[0], b, &gate).await;
                assert_eq!((reply.status, user.as_str()), (StatusCode::OK, "none"), "{nodes} nodes");
            }
            let live: usize = cluster.nodes().iter().map(|node| node.stats().sessions).sum();
            assert_eq!(live, 0);
        }
    }

    pub(super) async fn the_stock_store_logs_in_again<V: Version>() {
        let gate = Gate::default();
        let stock = V::stock(&gate);
        assert_eq!(late_save(&stock, &stock, &gate).await.1, "1");
    }

    pub(super) async fn a_logout_on_one_node_holds_on_the_others_at_once<V: Version>() {
        let (_cluster, apps, _) = start::<V>(4).await;
        for round in 0..8 {
            let mut visitor = login(&apps[round % 4]).await;
            let mut thief = visitor.clone();
            assert_eq!(thief.text(&apps[(round + 1) % 4], "/get?key=user").await, "1");
            visitor.text(&apps[round % 4], "/flush").await;
            for app in &apps {
                assert_eq!(thief.clone().text(app, "/get?key=user").await, "none", "round {round}");
            }
        }
    }

    pub(super) async fn an_id_that_was_cycled_on_one_node_is_refused_on_the_others<V: Version>() {
        let (_cluster, apps, _) = start::<V>(4).await;
        for round in 0..8 {
            let mut visitor = login(&apps[round % 4]).await;
            let mut old = visitor.clone();
            visitor.text(&apps[(round / 2) % 4], "/cycle").await;
            for app in &apps {
                assert_eq!(old.clone().text(app, "/get?key=user").await, "none", "round {round}");
                assert_eq!(visitor.text(app, "/get?key=user").await, "1", "round {round}");
            }
            old.text(&apps[0], "/put?key=late&value=1").await;
            assert_eq!(visitor.text(&apps[0], "/get?key=late").await, "none", "round {round}");
        }
    }

    pub(super) async fn a_write_is_read_on_the_node_that_a_redirect_leads_to<V: Version>() {
        let (_cluster, apps, _) = start::<V>(4).await;
        for round in 0..12 {
            let mut visitor = Visitor::default();
            let (a, b) = (&apps[round % 4], &apps[(round + 1 + round / 4) % 4]);
            visitor.text(a, &format!("/put?key=order&value={round}")).await;
            assert_eq!(visitor.text(b, "/get?key=order").await, round.to_string());
            visitor.text(b, &format!("/put?key=order&value={}", round + 100)).await;
            assert_eq!(visitor.text(a, "/get?key=order").await, (round + 100).to_string());
        }
    }
}

in_both_versions!(
    parallel_requests_that_write_different_keys_keep_both,
    the_stock_store_loses_one_of_them,
    of_many_requests_at_once_no_write_is_lost,
    a_slow_request_that_saves_after_a_logout_revives_nothing,
    the_stock_store_logs_in_again,
    a_logout_on_one_node_holds_on_the_others_at_once,
    an_id_that_was_cycled_on_one_node_is_refused_on_the_others,
    a_write_is_read_on_the_node_that_a_redirect_leads_to,
);
