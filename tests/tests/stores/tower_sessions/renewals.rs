//! `cycle_id` is two steps for a store, "delete" and "create"; what others do before, between and after them.

use super::in_both_versions;

mod cases {
    use sessionmesh_testkit::browser::Browser;
    use sessionmesh_testkit::cluster::{PATIENCE, check, eventually_async};

    use crate::adapter::{during, start, visitor_with};
    use crate::tower_sessions::app::{COOKIE, Version, id_of};

    pub(super) async fn a_logout_between_the_two_steps_wins<V: Version>() {
        let (_cluster, apps, gate) = start::<V>(1).await;
        let visitor = visitor_with(&apps[0], "user").await;
        let mut other = visitor.clone();
        let mut renewed = during(&apps[0], &gate, &visitor, "/renew_slowly", async {
            other.text(&apps[0], "/logout").await;
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
            let mut renewed = during(&apps[0], &gate, &visitor, "/slow_renew?key=note&value=1", async {
                other.text(b, "/logout").await;
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
            renewed.text(&apps[1], "/renew").await;
        })
        .await;
        assert_eq!(late.cookies, visitor.cookies);
        assert_eq!(late.text(&apps[1], "/get?key=user").await, "none");
        assert_eq!(renewed.text(&apps[0], "/get?key=user").await, "1");
        assert_eq!(cluster[0].stats().sessions, 1);
    }

    pub(super) async fn a_late_write_follows_a_renewal_of_the_library<V: Version>() {
        for nodes in [1, 2, 4] {
            let (cluster, apps, gate) = start::<V>(nodes).await;
            let visitor = visitor_with(&apps[0], "user").await;
            let id = id_of(&visitor);
            let session = cluster[nodes - 1].load(id).await.expect("calm").expect("it lives");
            during(&apps[0], &gate, &visitor, "/slow_put?key=late&value=1", async {
                session.renew_id().await.expect("calm");
            })
            .await;
            let mut renewed = Browser::with_cookie(COOKIE, &session.id().encode());
            assert_eq!(renewed.text(&apps[0], "/get?key=late").await, "1", "{nodes} nodes");
            // A logout by the old id, that was under way, too, ends the new one.
            visitor.clone().text(&apps[nodes - 1], "/logout").await;
            eventually_async(PATIENCE, async || {
                let user = renewed.clone().text(&apps[0], "/get?key=user").await;
                check(user == "none", || format!("{nodes} nodes: still {user}"))
            })
            .await;
        }
    }
}

in_both_versions!(
    a_logout_between_the_two_steps_wins,
    after_a_logout_a_renewal_keeps_only_what_it_added,
    of_two_logins_at_once_both_are_logged_in,
    a_late_write_to_a_renewed_id_revives_nothing,
    a_late_write_follows_a_renewal_of_the_library,
);
