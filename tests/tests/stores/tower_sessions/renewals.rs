//! `cycle_id` is two steps for a store, "delete" and "create"; what others do before, between and after them.

use super::in_both_versions;

mod cases {
    use axum::Router;
    use sessionmesh::{ModeName, SessionId};
    use sessionmesh_axum::MeshStore;
    use sessionmesh_testkit::cluster::Cluster;

    use crate::tower_sessions::app::{Gate, Setup, Version};
    use crate::tower_sessions::visitor::Visitor;

    async fn start<V: Version>(nodes: usize) -> (Cluster, Vec<Router>, Gate) {
        let cluster = Cluster::start(nodes, ModeName::PrimaryBackup).await;
        let gate = Gate::default();
        let app = |node: &sessionmesh::Mesh| V::app(MeshStore::new(node.clone()), Setup::default(), &gate);
        let apps = cluster.nodes().iter().map(app).collect();
        (cluster, apps, gate)
    }

    async fn visitor_with(app: &Router, key: &str) -> Visitor {
        let mut visitor = Visitor::default();
        visitor.text(app, &format!("/put?key={key}&value=1")).await;
        visitor
    }

    /// Sends a slow request, and does `meanwhile` while it waits. Returns the visitor with the cookie of its answer.
    async fn during(
        app: &Router,
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

    pub(super) async fn what_others_wrote_before_the_renewal_goes_along<V: Version>() {
        for nodes in [1, 2, 4] {
            let (_cluster, apps, gate) = start::<V>(nodes).await;
            for b in &apps {
                let visitor = visitor_with(&apps[0], "cart").await;
                let mut other = visitor.clone();
                let mut renewed = during(&apps[0], &gate, &visitor, "/slow_cycle?key=user&value=1", async {
                    other.text(b, "/put?key=theirs&value=1").await;
                    other.text(b, "/remove?key=cart").await;
                })
                .await;
                assert_ne!(renewed.cookie, visitor.cookie);
                assert_eq!(renewed.text(b, "/get?key=theirs").await, "1", "{nodes} nodes");
                assert_eq!(renewed.text(b, "/get?key=cart").await, "none", "{nodes} nodes");
                assert_eq!(renewed.text(b, "/get?key=user").await, "1", "{nodes} nodes");
            }
        }
    }

    pub(super) async fn a_logout_before_a_renewal_wins_on_every_node<V: Version>() {
        for nodes in [1, 2, 4] {
            let (cluster, apps, gate) = start::<V>(nodes).await;
            for b in &apps {
                let visitor = visitor_with(&apps[0], "user").await;
                let mut other = visitor.clone();
                let mut renewed = during(&apps[0], &gate, &visitor, "/slow_cycle", async {
                    other.text(b, "/flush").await;
                })
                .await;
                let id = SessionId::decode(renewed.cookie.as_deref().expect("a cookie")).expect("an id");
                for node in cluster.nodes() {
                    assert!(node.peek(id).await.expect("calm").is_none(), "{nodes} nodes");
                }
                assert_eq!(renewed.text(b, "/get?key=user").await, "none", "{nodes} nodes");
            }
        }
    }

    pub(super) async fn a_logout_between_the_two_steps_wins<V: Version>() {
        let (_cluster, apps, gate) = start::<V>(1).await;
        let visitor = visitor_with(&apps[0], "user").await;
        let mut other = visitor.clone();
        let mut renewed = during(&apps[0], &gate, &visitor, "/cycle_slowly", async {
            other.text(&apps[0], "/flush").await;
        })
        .await;
        assert_eq!(renewed.text(&apps[0], "/get?key=user").await, "none");
    }

    pub(super) async fn after_a_logout_a_renewal_keeps_only_what_it_added<V: Version>() {
        for nodes in [1, 2] {
            let (_cluster, apps, gate) = start::<V>(nodes).await;
            let b = apps.last().expect("a node");
            let visitor = visitor_with(&apps[0], "user").await;
            let mut other = visitor.clone();
            let mut renewed = during(&apps[0], &gate, &visitor, "/slow_cycle?key=note&value=1", async {
                other.text(b, "/flush").await;
            })
            .await;
            assert_eq!(renewed.text(b, "/get?key=user").await, "none", "{nodes} nodes");
            assert_eq!(renewed.text(b, "/get?key=note").await, "1", "{nodes} nodes");
        }
    }

    pub(super) async fn of_two_logins_at_once_both_are_logged_in<V: Version>() {
        for nodes in [1, 2] {
            let (_cluster, apps, gate) = start::<V>(nodes).await;
            let b = apps.last().expect("a node");
            let visitor = visitor_with(&apps[0], "cart").await;
            let mut first = visitor.clone();
            let mut second = during(&apps[0], &gate, &visitor, "/slow_login", async {
                first.text(b, "/login").await;
            })
            .await;
            assert_eq!(first.text(b, "/get?key=user").await, "1", "{nodes} nodes");
            assert_eq!(first.text(b, "/get?key=cart").await, "1", "{nodes} nodes");
            assert_eq!(second.text(b, "/get?key=user").await, "1", "{nodes} nodes");
            // On the same node it is known that no logout was between them.
            let cart = if nodes == 1 { "1" } else { "none" };
            assert_eq!(second.text(b, "/get?key=cart").await, cart, "{nodes} nodes");
        }
    }

    pub(super) async fn a_late_write_to_a_renewed_id_revives_nothing<V: Version>() {
        let (cluster, apps, gate) = start::<V>(2).await;
        let visitor = visitor_with(&apps[0], "user").await;
        let mut renewed = visitor.clone();
        let mut late = during(&apps[0], &gate, &visitor, "/slow_put?key=late&value=1", async {
            renewed.text(&apps[1], "/cycle").await;
        })
        .await;
        assert_eq!(late.cookie, visitor.cookie);
        assert_eq!(late.text(&apps[1], "/get?key=user").await, "none");
        assert_eq!(renewed.text(&apps[0], "/get?key=user").await, "1");
        assert_eq!(cluster[0].stats().sessions, 1);
    }

    pub(super) async fn a_late_write_follows_a_renewal_of_the_library<V: Version>() {
        for nodes in [1, 2, 4] {
            let (cluster, apps, gate) = start::<V>(nodes).await;
            let visitor = visitor_with(&apps[0], "user").await;
            let id = SessionId::decode(visitor.cookie.as_deref().expect("a cookie")).expect("an id");
            let session = cluster[nodes - 1].load(id).await.expect("calm").expect("it lives");
            during(&apps[0], &gate, &visitor, "/slow_put?key=late&value=1", async {
                session.renew_id().await.expect("calm");
            })
            .await;
            let mut renewed = Visitor::with_cookie(&session.id().encode());
            assert_eq!(renewed.text(&apps[0], "/get?key=late").await, "1", "{nodes} nodes");
            // A logout by the old id, that was under way, too, ends the new one.
            visitor.clone().text(&apps[nodes - 1], "/flush").await;
            sessionmesh_testkit::cluster::eventually_async(sessionmesh_testkit::cluster::PATIENCE, async || {
                let user = renewed.clone().text(&apps[0], "/get?key=user").await;
                sessionmesh_testkit::cluster::check(user == "none", || format!("{nodes} nodes: still {user}"))
            })
            .await;
        }
    }
}

in_both_versions!(
    what_others_wrote_before_the_renewal_goes_along,
    a_logout_before_a_renewal_wins_on_every_node,
    a_logout_between_the_two_steps_wins,
    after_a_logout_a_renewal_keeps_only_what_it_added,
    of_two_logins_at_once_both_are_logged_in,
    a_late_write_to_a_renewed_id_revives_nothing,
    a_late_write_follows_a_renewal_of_the_library,
);
