//! Behind a sticky balancer a visitor stays with the node that the route cookie names, and is served elsewhere without
//! a failed request once that node is gone.

use hyper::StatusCode;
use sessionmesh_testkit::web::{Kind, NAMES, Site, Visitor};

/// So many requests show that it was no chance: of nodes in turn, no two in a row are the same.
const LOOKS: u64 = 6;

/// A request of a logged-in visitor, which must succeed at the first try. Who served it.
async fn is_seen(visitor: &mut Visitor) -> String {
    visitor.is_seen().await.served_by().expect("a node answers with its name")
}

/// One node serves all requests. Which.
async fn stays(visitor: &mut Visitor) -> String {
    let first = is_seen(visitor).await;
    for _ in 1..LOOKS {
        assert_eq!(is_seen(visitor).await, first, "{} with the route {:?}", visitor.user(), visitor.route());
    }
    first
}

async fn sticks(kind: Kind) {
    // Given visitors on all nodes, some of each
    let Some(mut site) = Site::open(kind, &NAMES).await else { return };
    let mut visitors = Vec::new();
    for name in NAMES {
        for number in 0..3 {
            let mut visitor = site.visitor(&format!("visitor {number} of {name}"));
            visitor.set_route(name);
            // Then a login goes to the node of the route cookie,
            let login = visitor.log_in().await.expect("an answer");
            assert_eq!((login.status, login.served_by().as_deref()), (StatusCode::OK, Some(name)), "{login:?}");
            // and every further request, too.
            assert_eq!(stays(&mut visitor).await, name);
            visitors.push((name, visitor));
        }
    }
    // When a node crashes
    site.take("web-1").kill().await;
    for (name, visitor) in &mut visitors {
        // Then its visitors are served by one that lives, from the first request on,
        let server = is_seen(visitor).await;
        assert_ne!(server, "web-1");
        // stay with that one, and the others notice nothing.
        assert_eq!(stays(visitor).await, server);
        assert!(*name == "web-1" || server == *name, "{} moved from {name} to {server}", visitor.user());
        let answer = visitor.visit().await.expect("an answer");
        assert_eq!(answer.visits(), Some(2 * LOOKS + 2), "{answer:?}");
    }
}

#[tokio::test]
async fn a_visitor_stays_with_a_node_while_it_lives_behind_nginx() {
    sticks(Kind::NginxSticky).await;
}

#[tokio::test]
async fn a_visitor_stays_with_a_node_while_it_lives_behind_haproxy() {
    sticks(Kind::HaproxySticky).await;
}

async fn any_node_will_do(kind: Kind) {
    let Some(site) = Site::open(kind, &NAMES).await else { return };
    for route in ["web-9", "web-1_first", "any_node", "127.0.0.1:1", "", "../web-1"] {
        let mut visitor = site.visitor("ada");
        visitor.set_route(route);
        let login = visitor.log_in().await.expect("an answer");
        assert_eq!(login.status, StatusCode::OK, "{route:?}: {login:?}");
        // The node that answered has named itself since.
        let server = stays(&mut visitor).await;
        assert_eq!(login.served_by().as_deref(), Some(&*server), "{route:?}");
    }
}

#[tokio::test]
async fn a_route_that_names_no_node_leads_to_any_node_behind_nginx() {
    any_node_will_do(Kind::NginxSticky).await;
}

#[tokio::test]
async fn a_route_that_names_no_node_leads_to_any_node_behind_haproxy() {
    any_node_will_do(Kind::HaproxySticky).await;
}
