//! What tower-sessions promises of any store.

use super::in_both_versions;

mod cases {
    use axum::http::StatusCode;
    use cookie::SameSite;
    use sessionmesh::{Mesh, Mode, SessionId};
    use sessionmesh_axum::MeshStore;
    use sessionmesh_testkit::browser::Browser;
    use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, eventually_async};
    use sessionmesh_testkit::gate::Gate;
    use time::Duration;

    use crate::tower_sessions::app::{COOKIE, Setup, Version, id_of};

    const AN_HOUR: Setup = Setup { inactivity: Some(Duration::HOUR), domain: None, always_save: false };
    const BROWSER: Setup = Setup { inactivity: None, domain: None, always_save: false };

    async fn start<V: Version>(setup: Setup) -> (Cluster, axum::Router) {
        let cluster = Cluster::start(1, Mode::PrimaryBackup { backups: 1 }).await;
        let app = V::app(MeshStore::new(cluster[0].clone()), setup, &Gate::default());
        (cluster, app)
    }

    async fn limit(mesh: &Mesh, visitor: &Browser) -> std::time::Duration {
        mesh.peek(id_of(visitor)).await.expect("calm").expect("it lives").max_inactive()
    }

    pub(super) async fn a_request_that_writes_nothing_gets_no_session<V: Version>() {
        let (cluster, app) = start::<V>(AN_HOUR).await;
        assert_eq!(Browser::default().get(&app, "/").await.cookie(), None);
        assert_eq!(Browser::default().text(&app, "/get?key=a").await, "none");
        assert_eq!(cluster[0].stats().sessions, 0);
    }

    pub(super) async fn an_id_that_nobody_made_is_replaced<V: Version>() {
        let (_cluster, app) = start::<V>(AN_HOUR).await;
        let bogus = "AAAAAAAAAAAAAAAAAAAAAA";
        let mut visitor = Browser::with_cookie(COOKIE, bogus);
        visitor.text(&app, "/put?key=a&value=42").await;
        assert_ne!(visitor.cookies.get(COOKIE), Some(bogus));
        assert_eq!(Browser::with_cookie(COOKIE, bogus).text(&app, "/get?key=a").await, "none");
        assert_eq!(visitor.text(&app, "/get?key=a").await, "42");
    }

    pub(super) async fn a_malformed_cookie_is_removed<V: Version>() {
        let (_cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::with_cookie(COOKIE, "malformed");
        let reply = visitor.get(&app, "/").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(visitor.cookies.get(COOKIE), None, "{reply:?}");
    }

    pub(super) async fn the_cookie_has_the_settings_of_the_layer<V: Version>() {
        let (cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::default();
        let cookie = visitor.get(&app, "/put?key=a&value=42").await.cookie().expect("a session was made");
        assert_eq!((cookie.name(), cookie.path()), ("id", Some("/")));
        assert_eq!((cookie.http_only(), cookie.secure()), (Some(true), Some(true)));
        assert_eq!(cookie.same_site(), Some(SameSite::Strict));
        assert_eq!(cookie.max_age(), Some(Duration::HOUR));
        assert_eq!(cookie.value(), id_of(&visitor).encode());
        let limit = limit(&cluster[0], &visitor).await.as_secs_f64();
        assert!((3599.0..=3600.0).contains(&limit), "{limit}");
    }

    pub(super) async fn without_an_expiry_the_cookie_lasts_as_long_as_the_browser<V: Version>() {
        let (_cluster, app) = start::<V>(BROWSER).await;
        let cookie = Browser::default().get(&app, "/put?key=a&value=42").await.cookie();
        assert_eq!(cookie.expect("a session was made").max_age(), None);
    }

    pub(super) async fn what_was_written_is_read<V: Version>() {
        let (cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=a&value=42").await;
        assert_eq!(visitor.text(&app, "/get?key=a").await, "42");
        assert_eq!(visitor.get(&app, "/get?key=a").await.cookie(), None, "reading sets no cookie");
        // The application's other side reads it with its types, and the store reads what that writes.
        let session = cluster[0].load(id_of(&visitor)).await.expect("calm").expect("it lives");
        assert_eq!(session.get::<u32>("a").expect("a number"), Some(42));
        assert_eq!(session.keys().len(), 1, "nothing else is stored");
        session.insert("b", &43).expect("JSON");
        session.insert_bytes("binary", &[0xff_u8][..]);
        session.commit().await.expect("calm");
        assert_eq!(visitor.text(&app, "/get?key=b").await, "43");
        assert_eq!(visitor.text(&app, "/get?key=binary").await, "none");
        visitor.text(&app, "/put?key=a&value=1").await;
        let session = cluster[0].load(id_of(&visitor)).await.expect("calm").expect("it lives");
        assert!(session.get_bytes("binary").is_some(), "what the record cannot carry stays as it is");
    }

    pub(super) async fn removing_the_last_value_keeps_the_session<V: Version>() {
        let (_cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=a&value=42").await;
        let before = visitor.clone();
        visitor.text(&app, "/remove?key=a").await;
        assert_eq!(visitor.text(&app, "/get?key=a").await, "none");
        visitor.text(&app, "/put?key=b&value=1").await;
        assert_eq!((visitor.text(&app, "/get?key=b").await.as_str(), &visitor.cookies), ("1", &before.cookies));
    }

    pub(super) async fn clearing_removes_everything_also_without_loading_first<V: Version>() {
        let (_cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=a&value=42").await;
        visitor.text(&app, "/put?key=b&value=42").await;
        visitor.text(&app, "/clear").await;
        assert_eq!(visitor.text(&app, "/get?key=a").await, "none");
        assert_eq!(visitor.text(&app, "/get?key=b").await, "none");
    }

    pub(super) async fn saving_twice_in_one_request_leaves_what_was_saved_last<V: Version>() {
        let (_cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::default();
        // Once for a session that is new, once for one that was loaded.
        for _ in 0..2 {
            visitor.text(&app, "/save_twice").await;
            assert_eq!(visitor.text(&app, "/get?key=kept").await, "1");
            assert_eq!(visitor.text(&app, "/get?key=passing").await, "none");
        }
    }

    pub(super) async fn cycling_the_id_keeps_the_content_and_ends_the_old_id<V: Version>() {
        let (_cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=a&value=42").await;
        let mut old = visitor.clone();
        visitor.text(&app, "/renew").await;
        assert_ne!(visitor.cookies, old.cookies);
        assert_eq!(visitor.text(&app, "/get?key=a").await, "42");
        assert_eq!(old.text(&app, "/get?key=a").await, "none");
    }

    pub(super) async fn flushing_ends_the_session_and_removes_the_cookie<V: Version>() {
        for domain in [None, Some("localhost")] {
            let (_cluster, app) = start::<V>(Setup { domain, ..AN_HOUR }).await;
            let mut visitor = Browser::default();
            visitor.text(&app, "/put?key=a&value=42").await;
            let mut thief = visitor.clone();
            let cookie = visitor.get(&app, "/logout").await.cookie().expect("a removal");
            assert_eq!((cookie.value(), cookie.max_age()), ("", Some(Duration::ZERO)));
            assert_eq!((cookie.path(), cookie.domain()), (Some("/"), domain));
            assert_eq!(thief.text(&app, "/get?key=a").await, "none");
        }
    }

    pub(super) async fn a_request_can_set_another_expiry<V: Version>() {
        let (cluster, app) = start::<V>(AN_HOUR).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=a&value=42").await;
        let cookie = visitor.get(&app, "/expire_in_a_day").await.cookie().expect("the cookie is new");
        assert_eq!(cookie.max_age(), Some(Duration::DAY));
        let limit = limit(&cluster[0], &visitor).await.as_secs_f64();
        assert!((86_399.0..=86_400.0).contains(&limit), "{limit}");
        assert_eq!(visitor.text(&app, "/get?key=a").await, "42");
    }

    pub(super) async fn a_request_can_change_the_type_of_expiry<V: Version>() {
        let (_cluster, app) = start::<V>(BROWSER).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=a&value=42").await;
        let cookie = visitor.get(&app, "/expire_in_a_day").await.cookie();
        assert_eq!(cookie.expect("the cookie is new").max_age(), Some(Duration::DAY));
        let cookie = visitor.get(&app, "/expire_with_the_browser").await.cookie();
        assert_eq!(cookie.expect("the cookie is new").max_age(), None);
        assert_eq!(visitor.text(&app, "/get?key=a").await, "42");
    }

    pub(super) async fn a_session_ends_at_its_expiry_date_though_it_is_read<V: Version>() {
        // Long enough for a cookie, whose time is in whole seconds.
        let limit = Duration::milliseconds(1_200);
        let (_cluster, app) = start::<V>(Setup { inactivity: Some(limit), ..BROWSER }).await;
        let mut visitor = Browser::default();
        let started = tokio::time::Instant::now();
        visitor.text(&app, "/put?key=a&value=42").await;
        ends(&app, &visitor).await;
        // "Now and so much more" is computed a little before it is saved.
        assert!(
            started.elapsed() >= limit - Duration::milliseconds(20),
            "not before its time: {:?}",
            started.elapsed()
        );
        visitor.text(&app, "/put?key=a&value=42").await;
        let kept = visitor.clone();
        visitor.text(&app, "/expire_now").await;
        ends(&app, &kept).await;
    }

    async fn ends(app: &axum::Router, visitor: &Browser) {
        assert!(visitor.cookies.get(COOKIE).is_some());
        eventually_async(PATIENCE, async || {
            let found = visitor.clone().text(app, "/get?key=a").await;
            check(found == "none", || format!("still {found}"))
        })
        .await;
    }

    pub(super) async fn an_unchanged_save_is_an_access_and_no_write<V: Version>() {
        let (cluster, app) = start::<V>(Setup { always_save: true, ..AN_HOUR }).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=a&value=42").await;
        let id = id_of(&visitor);
        let idle = async || cluster[0].peek(id).await.expect("calm").expect("it lives").idle();
        let before = eventually_async(PATIENCE, async || {
            let idle = idle().await;
            if idle.as_millis() >= 50 { Ok(idle) } else { Err(format!("idle for {idle:?}")) }
        })
        .await;
        let (digest, commits) = (cluster[0].digest(id), cluster[0].stats().commits);
        assert!(visitor.get(&app, "/get?key=a").await.cookie().is_some(), "the cookie is prolonged");
        assert!(idle().await < before);
        assert_eq!((cluster[0].digest(id), cluster[0].stats().commits), (digest, commits));
    }

    pub(super) async fn an_id_that_is_taken_is_replaced_by_one_of_this_node<V: Version>() {
        let cluster = Cluster::start(2, Mode::PrimaryBackup { backups: 1 }).await;
        let store = MeshStore::new(cluster[1].clone());
        let taken = V::create(&store, 1).await;
        assert_ne!(taken, 1);
        for _ in 0..20 {
            let id = V::create(&store, taken).await;
            assert_ne!(id, taken);
            let owners = cluster[1].owners(SessionId::from_bytes(id.to_le_bytes()));
            assert_eq!(*owners[0], *cluster[1].name(), "reads of it are local");
        }
        assert_eq!(cluster[1].stats().sessions, 21);
    }
}

in_both_versions!(
    a_request_that_writes_nothing_gets_no_session,
    an_id_that_nobody_made_is_replaced,
    a_malformed_cookie_is_removed,
    the_cookie_has_the_settings_of_the_layer,
    without_an_expiry_the_cookie_lasts_as_long_as_the_browser,
    what_was_written_is_read,
    removing_the_last_value_keeps_the_session,
    clearing_removes_everything_also_without_loading_first,
    saving_twice_in_one_request_leaves_what_was_saved_last,
    cycling_the_id_keeps_the_content_and_ends_the_old_id,
    flushing_ends_the_session_and_removes_the_cookie,
    a_request_can_set_another_expiry,
    a_request_can_change_the_type_of_expiry,
    a_session_ends_at_its_expiry_date_though_it_is_read,
    an_unchanged_save_is_an_access_and_no_write,
    an_id_that_is_taken_is_replaced_by_one_of_this_node,
);
