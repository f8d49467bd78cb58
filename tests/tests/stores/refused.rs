//! What the store refuses, and that nothing else is lost with it: values that are too large or nest too deep, and sessions
//! beyond the limit.

use crate::adapter::with_every_adapter;

mod cases {
    use axum::http::StatusCode;
    use sessionmesh_testkit::browser::Browser;

    use crate::adapter::{Adapter, start_with, visitor_with};

    pub(super) async fn a_login_that_is_refused_leaves_the_session_as_it_was<A: Adapter>() {
        for nodes in [1, 2, 4] {
            let (_cluster, apps, _) = start_with::<A>(nodes, |builder| builder.max_value_bytes(1_000_u32)).await;
            for b in &apps {
                let mut visitor = visitor_with(&apps[0], "cart").await;
                let before = visitor.clone();
                // Again and again, for two reasons and on two nodes.
                for (app, refused) in [(b, "bytes?value=1001"), (b, "depth?value=128"), (&apps[0], "bytes?value=2000")]
                {
                    let reply = visitor.get(app, &format!("/login_with_{refused}")).await;
                    assert_eq!((reply.status, reply.cookie()), (StatusCode::INTERNAL_SERVER_ERROR, None), "{refused}");
                    for app in &apps {
                        assert_eq!(visitor.text(app, "/get?key=cart").await, "1", "{nodes} nodes, {refused}");
                        assert_eq!(visitor.text(app, "/get?key=user").await, "none", "{nodes} nodes, {refused}");
                    }
                    visitor.text(b, "/put?key=more&value=8").await;
                    assert_eq!(visitor.cookies, before.cookies);
                }
                visitor.text(b, "/login_with_bytes?value=900").await;
                assert_ne!(visitor.cookies, before.cookies);
                assert_eq!(visitor.text(&apps[0], "/get?key=cart").await, "1");
                assert_eq!(visitor.text(&apps[0], "/get?key=more").await, "8");
                assert_eq!(visitor.text(&apps[0], "/get?key=user").await, "1");
                let mut thief = before;
                assert_eq!(thief.text(b, "/get?key=cart").await, "none", "the old id has ended with the login");
            }
        }
    }

    pub(super) async fn a_logout_ends_a_session_whose_login_was_refused<A: Adapter>() {
        let (_cluster, apps, _) = start_with::<A>(4, |builder| builder.max_value_bytes(1_000_u32)).await;
        let mut visitor = visitor_with(&apps[0], "cart").await;
        let mut thief = visitor.clone();
        visitor.get(&apps[1], "/login_with_bytes?value=1001").await;
        assert_eq!(visitor.text(&apps[2], "/get?key=cart").await, "1");
        visitor.text(&apps[3], "/logout").await;
        for app in &apps {
            assert_eq!(thief.clone().text(app, "/get?key=cart").await, "none");
            thief.text(app, "/put?key=late&value=1").await;
        }
    }

    pub(super) async fn no_full_store_refuses_a_login_of_who_has_a_session<A: Adapter>() {
        for nodes in [1, 2, 4] {
            let (_cluster, apps, _) = start_with::<A>(nodes, |builder| builder.max_sessions(30_u64)).await;
            let mut visitors = Vec::new();
            for _ in 0..20 {
                visitors.push(visitor_with(&apps[0], "cart").await);
            }
            // Robots take every place that becomes free.
            let robots = async {
                for _ in 0..150 {
                    Browser::default().get(&apps[0], "/put?key=robot&value=1").await;
                }
            };
            let logins = async {
                for visitor in &mut visitors {
                    visitor.text(&apps[0], "/login").await;
                    assert_eq!(visitor.text(&apps[nodes - 1], "/get?key=cart").await, "1", "{nodes} nodes");
                    assert_eq!(visitor.text(&apps[nodes - 1], "/get?key=user").await, "1", "{nodes} nodes");
                }
            };
            tokio::join!(robots, logins);
            let refused = Browser::default().get(&apps[0], "/put?key=robot&value=1").await;
            assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR, "the store was full");
        }
    }
}

with_every_adapter!(
    a_login_that_is_refused_leaves_the_session_as_it_was,
    a_logout_ends_a_session_whose_login_was_refused,
    no_full_store_refuses_a_login_of_who_has_a_session,
);
