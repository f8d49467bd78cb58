//! Logins with the crates that are usual for it, as the mesh finds them.

use std::collections::BTreeSet;

use sessionmesh::{Mesh, SessionId, UserIndex};
use sessionmesh_testkit::browser::{App, Browser};
use sessionmesh_testkit::cluster::{Cluster, MODES, listed};

/// The logins of two users, by `/login/{user}`, are found and ended on every node. `/me` says who is logged in.
pub(crate) async fn are_found_and_ended<A: App>(
    index: fn() -> UserIndex,
    app: impl AsyncFn(&Mesh) -> A,
    id: fn(&Browser) -> SessionId,
) {
    let ids = |visitors: &[Browser]| visitors.iter().map(id).collect::<BTreeSet<_>>();
    for mode in MODES {
        let cluster = Cluster::start_with(3, move |builder| builder.mode(mode).user_index(index())).await;
        let mut apps = Vec::new();
        for node in cluster.nodes() {
            apps.push(app(node).await);
        }
        let (mut ada, mut bob) = (Vec::new(), Vec::new());
        for app in apps.iter().cycle().take(6) {
            for (name, visitors) in [("7", &mut ada), ("77", &mut bob)] {
                let mut visitor = Browser::default();
                visitor.text(app, &format!("/login/{name}")).await;
                visitors.push(visitor);
            }
        }
        for node in cluster.nodes() {
            assert_eq!(listed(node, "7").await, ids(&ada), "{mode:?}: {}", node.name());
            assert_eq!(listed(node, "77").await, ids(&bob), "{mode:?}: {}", node.name());
        }
        let mut gone = ada.pop().expect("six");
        gone.text(&apps[1], "/logout").await;
        assert_eq!(listed(&cluster[0], "7").await, ids(&ada));

        let done = cluster[1].invalidate_all("7").await.expect("calm");
        assert_eq!((done.ended, done.unconfirmed), (5, Vec::new()), "{mode:?}");
        for app in &apps {
            for (visitors, user) in [(&ada, "nobody"), (&bob, "77")] {
                for visitor in visitors {
                    assert_eq!(visitor.clone().text(app, "/me").await, user, "{mode:?}");
                }
            }
        }
        assert_eq!(listed(&cluster[2], "7").await, BTreeSet::new());
    }
}
