//! What all stores are tested for, whichever session crate is in front of them.

use sessionmesh::{Mesh, MeshBuilder, Mode};
use sessionmesh_testkit::browser::{App, Browser};
use sessionmesh_testkit::cluster::Cluster;
use sessionmesh_testkit::gate::Gate;

/// A session crate with its store, and an application over it.
///
/// The application answers these with a session, all of them `GET` and most with `?key=..&value=..`: `/put`, `/get`,
/// `/remove`, `/login`, `/renew` (another id), `/logout`, `/login_with_bytes`, `/login_with_depth`; and `/slow_put`,
/// `/slow_login` and `/slow_renew`, which wait at a gate once they have loaded their session.
pub(crate) trait Adapter {
    type App: App;
    /// Whether a session that ended meanwhile is saved under its old id by the stock store.
    const STOCK_KEEPS_THE_ID: bool;

    /// The application over the sessions of a node.
    fn app(node: &Mesh, gate: &Gate) -> impl Future<Output = Self::App>;
    /// The same over a store that behaves as stock stores do, to show that a test can fail.
    fn stock(gate: &Gate) -> impl Future<Output = Self::App>;
}

/// Runs each case, a function over the adapter, with every one.
macro_rules! with_every_adapter {
    ($($case:ident),* $(,)?) => {
        $(mod $case {
            crate::tower_sessions::with_both_versions!($case);

            #[actix_web::test]
            async fn actix_session() {
                super::cases::$case::<crate::actix_session::app::Actix>().await;
            }
        })*
    };
}
pub(crate) use with_every_adapter;

/// The application on each node, with one gate for all.
pub(crate) async fn start<A: Adapter>(nodes: usize) -> (Cluster, Vec<A::App>, Gate) {
    start_with::<A>(nodes, |builder| builder).await
}

/// [`start`], with other settings.
pub(crate) async fn start_with<A: Adapter>(
    nodes: usize,
    adjust: impl Fn(MeshBuilder) -> MeshBuilder + Send + Sync + 'static,
) -> (Cluster, Vec<A::App>, Gate) {
    let adjust = move |builder: MeshBuilder| adjust(builder.mode(Mode::PrimaryBackup { backups: 1 }));
    let cluster = Cluster::start_with(nodes, adjust).await;
    let gate = Gate::default();
    let mut apps = Vec::new();
    for node in cluster.nodes() {
        apps.push(A::app(node, &gate).await);
    }
    (cluster, apps, gate)
}

/// A visitor whose session has this key, with 1.
pub(crate) async fn visitor_with(app: &impl App, key: &str) -> Browser {
    let mut visitor = Browser::default();
    visitor.text(app, &format!("/put?key={key}&value=1")).await;
    visitor
}

/// Sends a slow request, and does `meanwhile` while it waits. Returns the visitor with the cookie of its answer.
pub(crate) async fn during(
    app: &impl App,
    gate: &Gate,
    visitor: &Browser,
    uri: &str,
    meanwhile: impl Future<Output = ()>,
) -> Browser {
    let mut slow = visitor.clone();
    let (_, ()) = tokio::join!(slow.text(app, uri), async {
        gate.loaded().await;
        meanwhile.await;
        gate.open();
    });
    slow
}
