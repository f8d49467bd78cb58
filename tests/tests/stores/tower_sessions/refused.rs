//! What only tower-sessions lets a request do: save what could not be read again without a login, and twice.

use super::in_both_versions;

mod cases {
    use axum::Router;
    use axum::http::StatusCode;
    use futures::stream::{self, StreamExt as _};
    use sessionmesh_testkit::browser::Browser;

    use crate::adapter::{start, visitor_with};
    use crate::tower_sessions::app::Version;

    pub(super) async fn what_nests_too_deep_is_refused_when_it_is_saved<V: Version>() {
        let (_cluster, apps, _) = start::<V>(2).await;
        let mut visitor = visitor_with(&apps[0], "cart").await;
        visitor.text(&apps[0], "/put_depth?value=127").await;
        assert_eq!(visitor.text(&apps[1], "/get?key=cart").await, "1");
        let reply = visitor.get(&apps[0], "/put_depth?value=128").await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(visitor.text(&apps[1], "/get?key=cart").await, "1");
        let reply = Browser::default().get(&apps[0], "/put_depth?value=128").await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "also in a new session");
    }

    /// As many visitors as a store of 1,024 entries would forget the slow one for.
    async fn crowd(app: &Router, uri: &str) {
        stream::iter(0..1_100)
            .for_each_concurrent(16, async |_| {
                let mut visitor = visitor_with(app, "cart").await;
                visitor.text(app, uri).await;
            })
            .await;
    }

    pub(super) async fn a_removal_is_not_forgotten_for_a_crowd_that_saves<V: Version>() {
        let (_cluster, apps, gate) = start::<V>(1).await;
        let mut visitor = visitor_with(&apps[0], "cart").await;
        let mut slow = visitor.clone();
        tokio::join!(slow.text(&apps[0], "/save_twice_slowly"), async {
            gate.loaded().await;
            crowd(&apps[0], "/put?key=more&value=1").await;
            gate.open();
        });
        assert_eq!(visitor.text(&apps[0], "/get?key=passing").await, "none");
        assert_eq!(visitor.text(&apps[0], "/get?key=cart").await, "1");
    }

    pub(super) async fn a_slow_login_keeps_its_cart_while_a_crowd_logs_out<V: Version>() {
        let (_cluster, apps, gate) = start::<V>(1).await;
        let visitor = visitor_with(&apps[0], "cart").await;
        let mut slow = visitor.clone();
        tokio::join!(slow.text(&apps[0], "/renew_slowly"), async {
            gate.loaded().await;
            crowd(&apps[0], "/logout").await;
            gate.open();
        });
        assert_ne!(slow.cookies, visitor.cookies);
        assert_eq!(slow.text(&apps[0], "/get?key=cart").await, "1");
    }
}

in_both_versions!(
    what_nests_too_deep_is_refused_when_it_is_saved,
    a_removal_is_not_forgotten_for_a_crowd_that_saves,
    a_slow_login_keeps_its_cart_while_a_crowd_logs_out,
);
