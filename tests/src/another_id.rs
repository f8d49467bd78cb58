//! What the tests of renewals and of moves have in common.

use sessionmesh::{Mesh, Session, SessionId};

use crate::cluster::{Cluster, PATIENCE, check, eventually_async};

/// A session with a cart, made on `node`.
///
/// # Panics
///
/// It cannot be made.
pub async fn fresh(node: &Mesh) -> SessionId {
    let session = node.create().await.expect("far from full");
    session.insert("cart", &vec![1, 2, 3]).expect("numbers are JSON");
    session.commit().await.expect("calm");
    session.id()
}

/// The session `id`, as `node` has it.
///
/// # Panics
///
/// It is not there.
pub async fn load(node: &Mesh, id: SessionId) -> Session {
    node.load(id).await.expect("calm").expect("it was committed")
}

/// Waits until no node serves any of these ids.
///
/// # Panics
///
/// One still does after [`PATIENCE`].
pub async fn served_nowhere(cluster: &Cluster, ids: &[SessionId], context: &str) {
    eventually_async(PATIENCE, async || {
        for (id, node) in ids.iter().flat_map(|id| cluster.nodes().iter().map(move |node| (id, node))) {
            let found = node.load(*id).await.map_err(|error| error.to_string())?;
            check(found.is_none(), || format!("{context}: {} serves {id} of {ids:?}", node.name()))?;
        }
        Ok(())
    })
    .await;
}
