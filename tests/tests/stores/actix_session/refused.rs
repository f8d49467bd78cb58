//! What the store refuses, and that nothing else is lost with it.

use actix_web::http::StatusCode;
use sessionmesh::{MeshBuilder, ModeName};
use sessionmesh_actix::MeshStore;
use sessionmesh_testkit::cluster::Cluster;

use crate::actix_session::app::{Gate, Served, Setup, app};
use crate::actix_session::visitor::Visitor;

async fn start(
    nodes: usize,
    adjust: impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static,
) -> (Cluster, Vec<impl Served>) {
    let adjust = move |builder: MeshBuilder| adjust(builder.mode(ModeName::PrimaryBackup));
    let cluster = Cluster::start_with(nodes, adjust).await;
    let mut apps = Vec::new();
    for node in cluster.nodes() {
        apps.push(app(MeshStore::new(node.clone()), Setup::default(), Gate::default()).await);
    }
    (cluster, apps)
}

async fn with_cart(app: &impl Served) -> Visitor {
    let mut visitor = Visitor::default();
    visitor.text(app, "/put?key=cart&value=7").await;
    visitor
}

#[actix_web::test]
async fn a_login_that_is_refused_leaves_the_session_as_it_was() {
    for nodes in [1, 2, 4] {
        let (_cluster, apps) = start(nodes, |builder| builder.max_value_bytes(1_000_u32)).await;
        let mut visitor = with_cart(&apps[0]).await;
        for (at, refused) in [(0, "bytes?value=1001"), (nodes - 1, "depth?value=128"), (nodes / 2, "bytes?value=2000")]
        {
            let reply = visitor.get(&apps[at], &format!("/login_with_{refused}")).await;
            assert_eq!((reply.status, &reply.cookie), (StatusCode::INTERNAL_SERVER_ERROR, &None), "{refused}");
            for app in &apps {
                assert_eq!(visitor.text(app, "/get?key=cart").await, "7", "{nodes} nodes, {refused}");
                assert_eq!(visitor.text(app, "/get?key=user").await, "none", "{nodes} nodes, {refused}");
            }
        }
        let mut thief = visitor.clone();
        visitor.text(&apps[0], "/login_with_bytes?value=900").await;
        assert_eq!(visitor.text(&apps[nodes - 1], "/get?key=cart").await, "7");
        assert_eq!(visitor.text(&apps[nodes - 1], "/get?key=user").await, "1");
        assert_eq!(thief.text(&apps[0], "/get?key=cart").await, "none", "the old key has ended with the login");
    }
}

#[actix_web::test]
async fn no_full_store_refuses_a_login_of_who_has_a_session() {
    let (_cluster, apps) = start(2, |builder| builder.max_sessions(30_u64)).await;
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
            assert_eq!(visitor.text(&apps[1], "/get?key=cart").await, "7");
            assert_eq!(visitor.text(&apps[1], "/get?key=user").await, "1");
        }
    };
    tokio::join!(robots, logins);
    let refused = Visitor::default().get(&apps[0], "/put?key=robot&value=1").await;
    assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR, "the store was full");
}
