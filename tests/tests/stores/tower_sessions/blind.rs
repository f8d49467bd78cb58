//! Logins and logouts do not need to know the past: neither in calm, nor when more nodes vanished than there are copies.

use super::in_both_versions;

mod cases {
    use axum::Router;
    use axum::http::StatusCode;
    use sessionmesh::{Mesh, Mode, SessionId, WhenUnsure};
    use sessionmesh_axum::MeshStore;
    use sessionmesh_testkit::browser::Browser;
    use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, create_sessions, eventually_async};
    use sessionmesh_testkit::gate::Gate;

    use crate::tower_sessions::app::{COOKIE, Setup, Version};

    fn apps<V: Version>(nodes: &[Mesh]) -> Vec<Router> {
        let app = |node: &Mesh| V::app(MeshStore::new(node.clone()), Setup::default(), &Gate::default());
        nodes.iter().map(app).collect()
    }

    pub(super) async fn a_login_without_a_session_asks_nobody_and_leaves_no_tombstone<V: Version>() {
        let cluster = Cluster::start(3, Mode::PrimaryBackup { backups: 1 }).await;
        let apps = apps::<V>(cluster.nodes());
        let asked = || cluster.nodes().iter().map(|node| node.stats().remote_reads).sum::<u64>();
        let mut logins = 0;
        // A node whose leases lapsed for a moment, on a loaded machine, asks even for what it holds, as it must. So this is
        // about a calm moment, and each round waits for one.
        eventually_async(PATIENCE, async || {
            let before = asked();
            for round in 0..30 {
                let app = &apps[round % 3];
                let mut visitor = match round % 2 {
                    0 => Browser::default(),
                    // A cookie that nobody can have.
                    _ => Browser::with_cookie(COOKIE, "AAAAAAAAAAAAAAAAAAAAAA"),
                };
                visitor.text(app, "/login").await;
                visitor.text(app, "/logout").await;
            }
            logins += 30;
            check(asked() == before, || format!("{} questions for 30 logins", asked() - before))
        })
        .await;
        let ended: usize = cluster.nodes().iter().map(|node| node.stats().ended).sum();
        assert_eq!(ended, 2 * logins, "each logout leaves a tombstone and its copy, and nothing else does");
    }

    /// Three of five nodes, and the ids of sessions of which both owners were among the others.
    async fn blinded() -> (Cluster, Vec<SessionId>) {
        let mut cluster = Cluster::start(5, Mode::PrimaryBackup { backups: 1 }).await;
        let mut ids = Vec::new();
        for node in cluster.nodes() {
            ids.extend(create_sessions(node, 60).await);
        }
        cluster.settled().await;
        let is_lost = |id: &SessionId| cluster[0].owners(*id).iter().all(|name| ["n3", "n4"].contains(&&**name));
        ids.retain(is_lost);
        assert!(ids.len() > 5, "{} sessions will be lost", ids.len());
        let both = (cluster.take("n3"), cluster.take("n4"));
        drop(both);
        cluster.settled().await;
        (cluster, ids)
    }

    pub(super) async fn who_has_no_session_logs_in_while_the_mesh_cannot_tell<V: Version>() {
        let (cluster, lost) = blinded().await;
        let apps = apps::<V>(cluster.nodes());
        for round in 0..36 {
            let app = &apps[round % 3];
            let mut visitor = Browser::default();
            visitor.text(app, "/login").await;
            assert_eq!(visitor.text(&apps[(round + 1) % 3], "/get?key=user").await, "1");
            visitor.text(&apps[(round + 2) % 3], "/login").await;
            visitor.text(app, "/logout").await;
        }
        // The others are asked to come again, keep their cookies, and can log out.
        for (round, id) in lost.iter().enumerate() {
            let app = &apps[round % 3];
            let mut visitor = Browser::with_cookie(COOKIE, &id.encode());
            let reply = visitor.get(app, "/get?key=n").await;
            assert_eq!((reply.status, reply.cookie()), (StatusCode::INTERNAL_SERVER_ERROR, None));
            visitor.text(app, "/logout").await;
            let mut thief = Browser::with_cookie(COOKIE, &id.encode());
            eventually_async(PATIENCE, async || {
                let reply = thief.get(&apps[(round + 1) % 3], "/get?key=n").await;
                check(reply.body == "none", || format!("after the logout: {reply:?}"))
            })
            .await;
        }
    }

    pub(super) async fn who_may_have_had_a_session_is_treated_as_new_where_that_is_wanted<V: Version>() {
        let (cluster, lost) = blinded().await;
        let app = |node: &Mesh| {
            let store = MeshStore::new(node.clone()).when_unsure(WhenUnsure::TreatAsNew);
            V::app(store, Setup::default(), &Gate::default())
        };
        let apps: Vec<_> = cluster.nodes().iter().map(app).collect();
        for (round, id) in lost.iter().enumerate() {
            let app = &apps[round % 3];
            let mut visitor = Browser::with_cookie(COOKIE, &id.encode());
            // Right after the loss nothing is settled yet, and then everybody is asked to come again.
            eventually_async(PATIENCE, async || {
                let reply = visitor.get(app, "/login").await;
                check(reply.status == StatusCode::OK, || format!("{reply:?}"))
            })
            .await;
            assert_ne!(visitor.cookies.get(COOKIE), Some(&*id.encode()));
            assert_eq!(visitor.text(&apps[(round + 1) % 3], "/get?key=user").await, "1");
        }
    }
}

in_both_versions!(
    a_login_without_a_session_asks_nobody_and_leaves_no_tombstone,
    who_has_no_session_logs_in_while_the_mesh_cannot_tell,
    who_may_have_had_a_session_is_treated_as_new_where_that_is_wanted,
);
