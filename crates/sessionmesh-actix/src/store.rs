//! The store for actix-session.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time;
use sessionmesh::record_store::RecordStore;
use sessionmesh::{Mesh, SessionId, WhenUnsure};
use tracing::debug;

/// The sessions of a [`Mesh`], as a [`SessionStore`] of actix-session 0.11. Clones are the same store; make one before
/// the `HttpServer`, and give each worker a clone.
///
/// The key in the cookie is [`SessionId::encode`]; actix-session signs or encrypts it.
///
/// # What is merged
///
/// Each request loads and saves the whole state, and the store does a three-way merge. [`sessionmesh::record_store`]
/// describes it, and also what happens at `Session::renew` and why a logout wins over it. For the merge, a loaded state
/// has one more entry, [`sessionmesh::record_store::BASE_KEY`], which is never stored. `Session::entries` shows it:
/// JSON text that reveals nothing about the session.
///
/// No store can prevent this: a request that was sent with the key from before a `renew`, and that stores something, is
/// a new visitor to actix-session. It gets a session of its own, whose cookie replaces the good one, so the visitor is
/// logged out.
///
/// # Errors
///
/// A change that comes after the end of its session changes nothing, and succeeds with the same key: nobody is logged
/// in again. Loads and changes fail if it is not known whether the session exists. Changes also fail if the node has
/// left, or if they would exceed a configured limit. actix-session then answers 500 and keeps the cookie.
#[derive(Clone)]
pub struct MeshStore {
    records: RecordStore,
}

impl MeshStore {
    /// A store for the sessions of `mesh`.
    #[must_use]
    pub fn new(mesh: Mesh) -> Self {
        Self { records: RecordStore::new(mesh) }
    }

    /// How the store treats a visitor whose session may have been lost with nodes that vanished. Default:
    /// [`WhenUnsure::Refuse`], which answers 500 and keeps the cookie.
    #[must_use]
    pub fn when_unsure(self, when_unsure: WhenUnsure) -> Self {
        Self { records: self.records.when_unsure(when_unsure) }
    }

    /// The mesh that holds the sessions.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        self.records.mesh()
    }
}

impl fmt::Debug for MeshStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshStore").field("node", &self.mesh().name()).finish_non_exhaustive()
    }
}

impl SessionStore for MeshStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        let Some(id) = session_id(key) else { return Ok(None) };
        let loaded = self.records.load(id).await.map_err(|error| LoadError::Other(error.into()))?;
        Ok(loaded.map(|loaded| loaded.values))
    }

    async fn save(&self, mut state: HashMap<String, String>, ttl: &time::Duration) -> Result<SessionKey, SaveError> {
        let created = self.records.create(&mut state, unsigned(*ttl)).await;
        let id = created.map_err(|error| SaveError::Other(error.into()))?;
        SessionKey::try_from(id.encode()).map_err(|error| SaveError::Other(error.into()))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        ttl: &time::Duration,
    ) -> Result<SessionKey, UpdateError> {
        if let Some(id) = session_id(&key) {
            let saved = self.records.save(id, &state, unsigned(*ttl)).await;
            saved.map_err(|error| UpdateError::Other(error.into()))?;
        }
        Ok(key)
    }

    async fn update_ttl(&self, key: &SessionKey, ttl: &time::Duration) -> Result<(), anyhow::Error> {
        let Some(id) = session_id(key) else { return Ok(()) };
        Ok(self.records.touch(id, unsigned(*ttl)).await?)
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        let Some(id) = session_id(key) else { return Ok(()) };
        Ok(self.records.delete(id).await?)
    }
}

/// The session that a cookie names; `None` if it is the key of another store.
fn session_id(key: &SessionKey) -> Option<SessionId> {
    let id = SessionId::decode(key.as_ref()).ok();
    if id.is_none() {
        debug!("the key in a session cookie is not from this store; there is no such session");
    }
    id
}

fn unsigned(ttl: time::Duration) -> Duration {
    Duration::try_from(ttl).unwrap_or(Duration::ZERO)
}
