//! Visitors whose sessions were on nodes that vanished.

use hyper::StatusCode;
use sessionmesh::{Mesh, Mode, WhenUnsure};
use sessionmesh_actix::MeshStore;
use sessionmesh_testkit::browser::Browser;
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, eventually_async};
use sessionmesh_testkit::gate::Gate;
use tokio::time::Instant;

use super::app::{COOKIE, Served, Setup, app, id_of};
use crate::adapter::visitor_with;

/// The application on each node, which asks visitors to come again while it cannot tell.
async fn apps(nodes: &[Mesh], when_unsure: WhenUnsure) -> Vec<Served> {
    let mut apps = Vec::new();
    for node in nodes {
        let store = MeshStore::new(node.clone()).when_unsure(when_unsure);
        apps.push(app(store, Setup::default(), Gate::default()).await);
    }
    apps
}

/// Three of five nodes, and visitors of whose sessions both owners were among the others.
async fn blinded() -> (Cluster, Vec<Browser>) {
    let mut cluster = Cluster::start(5, Mode::PrimaryBackup { backups: 1 }).await;
    let mut visitors = Vec::new();
    for app in &apps(cluster.nodes(), WhenUnsure::Refuse).await[3..] {
        for _ in 0..60 {
            visitors.push(visitor_with(app, "cart").await);
        }
    }
    cluster.settled().await;
    visitors
        .retain(|visitor| cluster[0].owners(id_of(visitor, COOKIE)).iter().all(|name| ["n3", "n4"].contains(&&**name)));
    assert!(visitors.len() > 5, "{} visitors will have lost their sessions", visitors.len());
    let both = (cluster.take("n3"), cluster.take("n4"));
    drop(both);
    cluster.settled().await;
    (cluster, visitors)
}

#[actix_web::test]
async fn who_may_have_had_a_session_is_asked_to_come_again_at_once_until_the_lost_are_given_up() {
    let (cluster, mut lost) = blinded().await;
    let apps = apps(cluster.nodes(), WhenUnsure::Refuse).await;
    let read_deadline = cluster[0].config().read_deadline;
    let visitor = &mut lost[0];
    // The middleware loads the session also for a page that does not ask for it.
    let answer = visitor.get(&apps[0], "/").await;
    assert_eq!((answer.status, answer.cookie()), (StatusCode::INTERNAL_SERVER_ERROR, None));
    let began = Instant::now();
    for round in 0..20 {
        let answer = visitor.get(&apps[round % 3], "/get?key=cart").await;
        assert_eq!((answer.status, answer.cookie()), (StatusCode::INTERNAL_SERVER_ERROR, None));
    }
    assert!(began.elapsed() < 4 * read_deadline, "20 refusals took {:?}", began.elapsed());
    for node in cluster.nodes() {
        assert!(node.forget_lost().is_some(), "this is what hid the session");
    }
    assert_eq!(visitor.text(&apps[1], "/get?key=cart").await, "none");
}

#[actix_web::test]
async fn who_may_have_had_a_session_is_treated_as_new_where_that_is_wanted() {
    let (cluster, lost) = blinded().await;
    let apps = apps(cluster.nodes(), WhenUnsure::TreatAsNew).await;
    for (round, mut visitor) in lost.into_iter().enumerate() {
        let (app, before) = (&apps[round % 3], id_of(&visitor, COOKIE));
        // Right after the loss nothing is settled yet, and then everybody is asked to come again.
        eventually_async(PATIENCE, async || {
            let answer = visitor.get(app, "/").await;
            check(answer.status == StatusCode::OK, || format!("{answer:?}"))
        })
        .await;
        visitor.text(app, "/login").await;
        assert_ne!(id_of(&visitor, COOKIE), before);
        assert_eq!(visitor.text(&apps[(round + 1) % 3], "/get?key=user").await, "1");
    }
}
