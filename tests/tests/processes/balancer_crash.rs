//! Behind a real balancer, a visitor does not notice that the node that served the last request is gone.

use hyper::StatusCode;
use sessionmesh_testkit::web::{Kind, NAMES, Site, Visitor};

/// A request of a logged-in visitor, which must succeed at the first try. Who served it.
async fn is_seen(visitor: &mut Visitor, visits: u64) -> String {
    let answer = visitor.is_seen().await;
    assert_eq!(answer.visits(), Some(visits), "{answer:?}");
    answer.served_by().expect("a node answers with its name")
}

/// The node that served a visitor ends, and then the next one: same id, same data, from a node that did not run when
/// the visitor came.
async fn outlives_its_nodes(kind: Kind) {
    // Given one node, and a visitor who is logged in
    let Some(mut site) = Site::open(kind, &["web-1"]).await else { return };
    let mut ada = site.visitor("ada");
    let login = ada.log_in().await.expect("an answer");
    assert_eq!((login.status, login.served_by().as_deref()), (StatusCode::OK, Some("web-1")), "{login:?}");
    let id = ada.session().expect("a cookie").to_owned();
    assert_eq!(is_seen(&mut ada, 1).await, "web-1");
    // When another node starts, and the first stops as planned
    site.start("web-2").await;
    site.is_used("web-2").await;
    site.take("web-1").stop().await;
    // Then the other one serves the same session
    assert_eq!(is_seen(&mut ada, 2).await, "web-2");
    // and when again another one starts, and that one crashes
    site.start("web-3").await;
    site.is_used("web-3").await;
    site.take("web-2").kill().await;
    // the third one does.
    assert_eq!(is_seen(&mut ada, 3).await, "web-3");
    assert_eq!(ada.session(), Some(&*id), "nobody gave the visitor another session");
    // A logout is one there, too.
    assert_eq!(ada.log_out().await.expect("an answer").status, StatusCode::OK);
    assert_eq!(ada.visit().await.expect("an answer").status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_outlives_its_nodes_behind_nginx() {
    outlives_its_nodes(Kind::Nginx).await;
}

#[tokio::test]
async fn a_session_outlives_its_nodes_behind_haproxy() {
    outlives_its_nodes(Kind::Haproxy).await;
}

/// A node crashes between two requests.
async fn crash_goes_unnoticed(kind: Kind) {
    // Given visitors on all nodes
    let Some(mut site) = Site::open(kind, &NAMES).await else { return };
    let mut visitors: Vec<_> = (0..9).map(|number| site.visitor(&format!("visitor {number}"))).collect();
    for visitor in &mut visitors {
        let login = visitor.log_in().await.expect("an answer");
        assert_eq!(login.status, StatusCode::OK, "{login:?}");
    }
    let first = is_seen(&mut visitors[0], 1).await;
    for visitor in &mut visitors[1..] {
        is_seen(visitor, 1).await;
    }
    // When a node crashes
    site.take(&first).kill().await;
    // Then the next request of each of them succeeds, and so does a login.
    for visitor in &mut visitors {
        let server = is_seen(visitor, 2).await;
        assert_ne!(server, first);
    }
    let login = site.visitor("newcomer").log_in().await.expect("an answer");
    assert_eq!(login.status, StatusCode::OK, "{login:?}");
}

#[tokio::test]
async fn a_crash_between_two_requests_goes_unnoticed_behind_nginx() {
    crash_goes_unnoticed(Kind::Nginx).await;
}

#[tokio::test]
async fn a_crash_between_two_requests_goes_unnoticed_behind_haproxy() {
    crash_goes_unnoticed(Kind::Haproxy).await;
}
