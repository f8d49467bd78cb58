//! Visitors of the axum layer whose sessions may have been lost with nodes that vanished.

use axum::http::StatusCode;
use sessionmesh::{Mode, WhenUnsure};
use sessionmesh_axum::SessionLayer;
use sessionmesh_testkit::browser::Browser;
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, eventually_async};
use sessionmesh_testkit::site::{SESSION, routes, site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_asked_to_come_again_or_go_on_as_new_ones_as_the_site_wants_it() {
    let mut cluster = Cluster::start(5, Mode::PrimaryBackup { backups: 1 }).await;
    let mut lost = Vec::new();
    {
        let site = site(cluster.node("n3"), routes());
        while lost.len() < 3 {
            let mut browser = Browser::default();
            assert_eq!(browser.post(&site, "/login/ada").await.status, StatusCode::OK);
            let owners = cluster[0].owners(browser.id().expect("logged in"));
            if owners.iter().all(|name| ["n3", "n4"].contains(&&**name)) {
                lost.push(browser);
            }
        }
    }
    let both = (cluster.take("n3"), cluster.take("n4"));
    drop(both);
    cluster.settled().await;
    let careful = site(&cluster[0], routes());
    let easy = routes().layer(SessionLayer::new(cluster[1].clone()).when_unsure(WhenUnsure::TreatAsNew));
    let elsewhere = site(&cluster[2], routes());
    for mut browser in lost {
        let id = browser.id();
        let page = browser.ask(&careful, "GET", "/read/user").await;
        assert_eq!((page.status, page.sets(SESSION)), (StatusCode::SERVICE_UNAVAILABLE, false));
        // Right after the loss nothing is settled yet, and then everybody is asked to come again.
        eventually_async(PATIENCE, async || {
            let page = browser.ask(&easy, "GET", "/read/user").await;
            check(page.status == StatusCode::OK && page.body == "none" && !page.sets(SESSION), || format!("{page:?}"))
        })
        .await;
        assert_eq!(browser.id(), id, "who stores nothing keeps the cookie");
        assert_eq!(browser.post(&easy, "/login/ada").await.status, StatusCode::OK);
        assert_ne!(browser.id(), id);
        assert_eq!(browser.text(&elsewhere, "/read/user").await, "ada");
        // Nobody else is affected.
        let mut other = Browser::default();
        assert_eq!(other.post(&careful, "/login/eve").await.status, StatusCode::OK);
        assert_eq!(other.text(&elsewhere, "/read/user").await, "eve");
    }
}
