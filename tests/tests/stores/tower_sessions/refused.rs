//! What the store refuses, and that nothing else is lost with it: values that could not be read again, limits, and what
//! many other visitors do meanwhile.

use super::in_both_versions;

mod cases {
    use axum::Router;
    use axum::http::StatusCode;
    use futures::stream::{self, StreamExt as _};
    use sessionmesh::{MeshBuilder, ModeName};
    use sessionmesh_axum::MeshStore;
    use sessionmesh_testkit::cluster::Cluster;

    use crate::tower_sessions::app::{Gate, Setup, Version};
    use crate::tower_sessions::visitor::Visitor;

    async fn start<V: Version>(
        nodes: usize,
        adjust: impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static,
    ) -> (Cluster, Vec<Router>, Gate) {
        let adjust = move |builder: MeshBuilder| adjust(builder.mode(ModeName::PrimaryBackup));
        let cluster = Cluster::start_with(nodes, adjust).await;
        let gate = Gate::default();
        let app = |node: &sessionmesh::Mesh| V::app(MeshStore::new(node.clone()), Setup::default(), &gate);
        let apps = cluster.nodes().iter().map(app).collect();
        (cluster, apps, gate)
    }

    async fn with_cart(app: &Router) -> Visitor {
        let mut visitor = Visitor::default();
        visitor.text(app, "/put?key=cart&value=7").await;
        visitor
    }

    pub(super) async fn a_login_that_is_refused_leaves_the_session_as_it_was<V: Version>() {
        for nodes in [1, 2, 4] {
            let (_cluster, apps, _) = start::<V>(nodes, |builder| builder.max_value_bytes(1_000_u32)).await;
            for b in &apps {
                let mut visitor = with_cart(&apps[0]).await;
                let before = visitor.cookie.clone();
                // Again and again, for two reasons and on two nodes.
                for (app, refused) in [(b, "bytes?value=1001"), (b, "depth?value=128"), (&apps[0], "bytes?value=2000")]
                {
                    let reply = visitor.get(app, &format!("/login_with_{refused}")).await;
                    assert_eq!((reply.status, &reply.cookie), (StatusCode::INTERNAL_SERVER_ERROR, &None), "{refused}");
                    for app in &apps {
                        assert_eq!(visitor.text(app, "/get?key=cart").await, "7", "{nodes} nodes, {refused}");
                        assert_eq!(visitor.text(app, "/get?key=user").await, "none", "{nodes} nodes, {refused}");
                    }
                    visitor.text(b, "/put?key=more&value=8").await;
                    assert_eq!(visitor.cookie, before);
                }
                visitor.text(b, "/login_with_bytes?value=900").await;
                assert_ne!(visitor.cookie, before);
                assert_eq!(visitor.text(&apps[0], "/get?key=cart").await, "7");
                assert_eq!(visitor.text(&apps[0], "/get?key=more").await, "8");
                assert_eq!(visitor.text(&apps[0], "/get?key=user").await, "1");
                let mut thief = Visitor { cookie: before };
                assert_eq!(thief.text(b, "/get?key=cart").await, "none", "the old id has ended with the login");
            }
        }
    }

    pub(super) async fn a_logout_ends_a_session_whose_login_was_refused<V: Version>() {
        let (_cluster, apps, _) = start::<V>(4, |builder| builder.max_value_bytes(1_000_u32)).await;
        let mut visitor = with_cart(&apps[0]).await;
        let mut thief = visitor.clone();
        visitor.get(&apps[1], "/login_with_bytes?value=1001").await;
        assert_eq!(visitor.text(&apps[2], "/get?key=cart").await, "7");
        visitor.text(&apps[3], "/flush").await;
        for app in &apps {
            assert_eq!(thief.clone().text(app, "/get?key=cart").await, "none");
            thief.text(app, "/put?key=late&value=1").await;
        }
    }

    pub(super) async fn no_full_store_refuses_a_login_of_who_has_a_session<V: Version>() {
        for nodes in [1, 2, 4] {
            let (_cluster, apps, _) = start::<V>(nodes, |builder| builder.max_sessions(30_u64)).await;
            let mut visitors = Vec::new();
            for _ in 0..20 {
                visitors.push(with_cart(&apps[0]).await);
            }
            // Robots take every place that becomes free.
            let robots = async {
                for _ in 0..150 {
                    Visitor::default().get(&apps[0], "/put?key=robot&value=1").await;
                }
            };
            let logins = async {
                for visitor in &mut visitors {
                    visitor.text(&apps[0], "/login").await;
                    assert_eq!(visitor.text(&apps[nodes - 1], "/get?key=cart").await, "7", "{nodes} nodes");
                    assert_eq!(visitor.text(&apps[nodes - 1], "/get?key=user").await, "1", "{nodes} nodes");
                }
            };
            tokio::join!(robots, logins);
            let refused = Visitor::default().get(&apps[0], "/put?key=robot&value=1").await;
            assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR, "the store was full");
        }
    }

    pub(super) async fn what_nests_too_deep_is_refused_when_it_is_saved<V: Version>() {
        let (_cluster, apps, _) = start::<V>(2, |builder| builder).await;
        let mut visitor = with_cart(&apps[0]).await;
        visitor.text(&apps[0], "/put_depth?value=127").await;
        assert_eq!(visitor.text(&apps[1], "/get?key=cart").await, "7");
        let reply = visitor.get(&apps[0], "/put_depth?value=128").await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(visitor.text(&apps[1], "/get?key=cart").await, "7");
        let reply = Visitor::default().get(&apps[0], "/put_depth?value=128").await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "also in a new session");
    }

    /// As many visitors as a store of 1,024 entries would forget the slow one for.
    async fn crowd(app: &Router, uri: &str) {
        stream::iter(0..1_100)
            .for_each_concurrent(16, async |_| {
                let mut visitor = with_cart(app).await;
                visitor.text(app, uri).await;
            })
            .await;
    }

    pub(super) async fn a_removal_is_not_forgotten_for_a_crowd_that_saves<V: Version>() {
        let (_cluster, apps, gate) = start::<V>(1, |builder| builder).await;
        let mut visitor = with_cart(&apps[0]).await;
        let mut slow = visitor.clone();
        tokio::join!(slow.text(&apps[0], "/save_twice_slowly"), async {
            gate.loaded().await;
            crowd(&apps[0], "/put?key=more&value=1").await;
            gate.open();
        });
        assert_eq!(visitor.text(&apps[0], "/get?key=passing").await, "none");
        assert_eq!(visitor.text(&apps[0], "/get?key=cart").await, "7");
    }

    pub(super) async fn a_slow_login_keeps_its_cart_while_a_crowd_logs_out<V: Version>() {
        let (_cluster, apps, gate) = start::<V>(1, |builder| builder).await;
        let visitor = with_cart(&apps[0]).await;
        let mut slow = visitor.clone();
        tokio::join!(slow.text(&apps[0], "/cycle_slowly"), async {
            gate.loaded().await;
            crowd(&apps[0], "/flush").await;
            gate.open();
        });
        assert_ne!(slow.cookie, visitor.cookie);
        assert_eq!(slow.text(&apps[0], "/get?key=cart").await, "7");
    }
}

in_both_versions!(
    a_login_that_is_refused_leaves_the_session_as_it_was,
    a_logout_ends_a_session_whose_login_was_refused,
    no_full_store_refuses_a_login_of_who_has_a_session,
    what_nests_too_deep_is_refused_when_it_is_saved,
    a_removal_is_not_forgotten_for_a_crowd_that_saves,
    a_slow_login_keeps_its_cart_while_a_crowd_logs_out,
);
