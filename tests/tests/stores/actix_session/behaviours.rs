//! What actix-session demands of any store.

use std::time::Duration;

use actix_session::config::{CookieContentSecurity, TtlExtensionPolicy};
use actix_session::storage::{SessionKey, SessionStore as _};
use actix_web::cookie::time;
use hyper::StatusCode;
use sessionmesh::Mode;
use sessionmesh_actix::MeshStore;
use sessionmesh_testkit::browser::Browser;
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, eventually_async};
use sessionmesh_testkit::gate::Gate;

use crate::actix_session::app::{COOKIE, Setup, app, id_of};

const SECURITIES: [CookieContentSecurity; 2] = [CookieContentSecurity::Signed, CookieContentSecurity::Private];

async fn one_node() -> (Cluster, MeshStore) {
    let cluster = Cluster::start(1, Mode::PrimaryBackup { backups: 1 }).await;
    let store = MeshStore::new(cluster[0].clone());
    (cluster, store)
}

#[actix_web::test]
async fn what_was_written_is_read_and_the_cookie_has_its_settings() {
    let (cluster, store) = one_node().await;
    for security in SECURITIES {
        let app = app(store.clone(), Setup { security, ..Setup::default() }, Gate::default()).await;
        let mut visitor = Browser::default();
        assert_eq!(visitor.get(&app, "/").await.cookie(), None, "no session without content");
        let cookie = visitor.get(&app, "/put?key=a&value=42").await.cookie().expect("a session was made");
        assert_eq!((cookie.name(), cookie.path(), cookie.domain()), (COOKIE, Some("/"), Some("localhost")));
        assert_eq!(cookie.max_age(), Some(time::Duration::HOUR));
        assert_eq!(visitor.text(&app, "/get?key=a").await, "42");
        visitor.text(&app, "/put?key=b&value=43").await;
        visitor.text(&app, "/remove?key=a").await;
        assert_eq!(visitor.text(&app, "/get?key=a").await, "none");
        assert_eq!(visitor.text(&app, "/get?key=b").await, "43");
        visitor.text(&app, "/clear").await;
        assert_eq!(visitor.text(&app, "/get?key=b").await, "none");
    }
    assert_eq!(cluster[0].stats().sessions, 2);
}

#[actix_web::test]
async fn the_expiry_is_refreshed_on_changes_only() {
    let (_cluster, store) = one_node().await;
    let app = app(store, Setup::default(), Gate::default()).await;
    let mut visitor = Browser::default();
    visitor.text(&app, "/put?key=a&value=1").await;
    assert_eq!(visitor.get(&app, "/get?key=a").await.cookie(), None);
    let cookie = visitor.get(&app, "/put?key=a&value=2").await.cookie().expect("refreshed");
    assert_eq!(cookie.max_age(), Some(time::Duration::HOUR));
}

#[actix_web::test]
async fn the_expiry_is_refreshed_on_every_request_if_so_configured_and_that_is_no_write() {
    let (cluster, store) = one_node().await;
    let setup = Setup { policy: TtlExtensionPolicy::OnEveryRequest, ..Setup::default() };
    let app = app(store, setup, Gate::default()).await;
    let mut visitor = Browser::default();
    visitor.text(&app, "/put?key=a&value=1").await;
    let id = id_of(&visitor, COOKIE);
    let idle = async || cluster[0].peek(id).await.expect("calm").expect("it lives").idle();
    let before = eventually_async(PATIENCE, async || {
        let idle = idle().await;
        if idle >= Duration::from_millis(50) { Ok(idle) } else { Err(format!("idle for {idle:?}")) }
    })
    .await;
    let (digest, commits) = (cluster[0].digest(id), cluster[0].stats().commits);
    assert!(visitor.get(&app, "/get?key=a").await.cookie().is_some());
    assert!(idle().await < before);
    assert_eq!((cluster[0].digest(id), cluster[0].stats().commits), (digest, commits));
}

#[actix_web::test]
async fn a_session_ends_when_its_time_has_passed_though_it_is_read() {
    let (_cluster, store) = one_node().await;
    let setup = Setup { ttl: time::Duration::milliseconds(1_200), ..Setup::default() };
    let app = app(store, setup, Gate::default()).await;
    let mut visitor = Browser::default();
    let started = tokio::time::Instant::now();
    visitor.text(&app, "/put?key=a&value=1").await;
    eventually_async(PATIENCE, async || {
        let found = visitor.text(&app, "/get?key=a").await;
        check(found == "none", || format!("still {found}"))
    })
    .await;
    // Moments count whole milliseconds.
    assert!(started.elapsed() >= Duration::from_millis(1_199), "not before its time: {:?}", started.elapsed());
}

#[actix_web::test]
async fn a_login_renews_the_id_and_a_logout_ends_it() {
    let (cluster, store) = one_node().await;
    for security in SECURITIES {
        let app = app(store.clone(), Setup { security, ..Setup::default() }, Gate::default()).await;
        let mut visitor = Browser::default();
        visitor.text(&app, "/put?key=counter&value=2").await;
        assert_eq!(visitor.get(&app, "/protected/get?key=counter").await.status, StatusCode::NOT_FOUND);
        let mut anonymous = visitor.clone();
        visitor.text(&app, "/login").await;
        assert_ne!(visitor.cookies, anonymous.cookies);
        assert_eq!(visitor.text(&app, "/protected/get?key=counter").await, "2");
        assert_eq!(anonymous.text(&app, "/get?key=counter").await, "none");
        let mut thief = visitor.clone();
        let cookie = visitor.get(&app, "/logout").await.cookie().expect("a removal");
        assert_eq!((cookie.max_age(), cookie.path()), (Some(time::Duration::ZERO), Some("/")));
        assert_eq!(thief.text(&app, "/get?key=user").await, "none");
        assert_eq!(thief.get(&app, "/protected/get?key=counter").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(cluster[0].stats().sessions, 0);
}

#[actix_web::test]
async fn the_key_of_another_store_is_no_session_and_no_error() {
    let (cluster, store) = one_node().await;
    let key = || SessionKey::try_from("k".repeat(64)).expect("short enough");
    let ttl = time::Duration::HOUR;
    assert_eq!(store.load(&key()).await.expect("no error"), None);
    assert_eq!(store.update(key(), [("a".to_owned(), "1".to_owned())].into(), &ttl).await.expect("no error"), key());
    store.update_ttl(&key(), &ttl).await.expect("no error");
    store.delete(&key()).await.expect("no error");
    assert_eq!(cluster[0].stats().sessions, 0);
}
