//! The store for tower-sessions, all versions of it.

#[cfg(feature = "tower-sessions-0_14")]
mod v0_14;
#[cfg(feature = "tower-sessions-0_15")]
mod v0_15;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use sessionmesh::record_store::{RecordError, RecordStore};
use sessionmesh::{LoadError, Mesh, SessionId, WhenUnsure};
use time::OffsetDateTime;

/// The sessions of a [`Mesh`], as a `SessionStore` of tower-sessions 0.14, 0.15 or both, depending on the features
/// `tower-sessions-0_14` and `tower-sessions-0_15`.
///
/// Clones are the same store. Its cookie names the session by [`SessionId::encode`], so the application, or another
/// layer, finds the same session in the mesh.
///
/// # What is merged
///
/// Each request loads and saves a whole record, and the store does a three-way merge. [`sessionmesh::record_store`]
/// describes it, and also what happens at `Session::cycle_id` and why a logout wins over it. For the merge, a loaded
/// record has one more attribute, [`sessionmesh::record_store::BASE_KEY`], which is never stored. It is in the `data`
/// of the record, so `Session::is_empty` returns `false` after `cycle_id` of a session without attributes.
///
/// No store can prevent this: a request that was sent with the id from before a `cycle_id`, and that stores something,
/// is a new visitor to tower-sessions. It gets a session of its own, whose cookie replaces the good one, so the visitor
/// is logged out. The layer of this crate sets no cookie then.
///
/// # Time-outs
///
/// As with the stock stores, a session ends at the `expiry_date` of its last save; loading does not prolong it. A save
/// without changes, as with `with_always_save(true)`, only notes the access and writes nothing. With
/// `Expiry::AtDateTime`, saves that are a second or more apart set the limit anew, so it is exact to that second.
///
/// # Errors
///
/// A save that comes after the end of its session changes nothing and succeeds: an error would turn the answer into a
/// 500. A save fails, with `Error::Backend`, if it is not known whether the session exists, if the node has left, or if
/// the save would exceed a configured limit.
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

    async fn load_data(&self, id: i128) -> Result<Option<(HashMap<String, Value>, OffsetDateTime)>, LoadError> {
        let loaded = self.records.load(session_id(id)).await?;
        Ok(loaded.map(|loaded| (loaded.values, OffsetDateTime::now_utc().saturating_add(signed(loaded.remaining)))))
    }

    async fn create_data(
        &self,
        data: &mut HashMap<String, Value>,
        expiry_date: OffsetDateTime,
    ) -> Result<i128, RecordError> {
        self.records.create(data, time_to_live(expiry_date)).await.map(record_id)
    }

    async fn save_data(
        &self,
        id: i128,
        data: &HashMap<String, Value>,
        expiry_date: OffsetDateTime,
    ) -> Result<(), RecordError> {
        self.records.save(session_id(id), data, time_to_live(expiry_date)).await
    }

    async fn delete_data(&self, id: i128) -> Result<(), RecordError> {
        self.records.delete(session_id(id)).await
    }
}

impl fmt::Debug for MeshStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshStore").field("node", &self.mesh().name()).finish_non_exhaustive()
    }
}

/// The id in the mesh. Both crates write the same 16 bytes into the cookie.
const fn session_id(id: i128) -> SessionId {
    SessionId::from_bytes(id.to_le_bytes())
}

fn record_id(id: SessionId) -> i128 {
    i128::from_le_bytes(*id.as_bytes())
}

/// The time until `expiry_date`; none once it has passed.
fn time_to_live(expiry_date: OffsetDateTime) -> Duration {
    Duration::try_from(expiry_date - OffsetDateTime::now_utc()).unwrap_or(Duration::ZERO)
}

fn signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

/// Implements the trait of one version of tower-sessions-core; the text is the same in all of them.
macro_rules! session_store {
    ($core:ident) => {
        use $core::session::{Id, Record};
        use $core::session_store::{Error, Result, SessionStore};

        #[async_trait::async_trait]
        impl SessionStore for super::MeshStore {
            async fn create(&self, record: &mut Record) -> Result<()> {
                let created = self.create_data(&mut record.data, record.expiry_date).await;
                record.id = Id(created.map_err(backend)?);
                Ok(())
            }

            async fn save(&self, record: &Record) -> Result<()> {
                self.save_data(record.id.0, &record.data, record.expiry_date).await.map_err(backend)
            }

            async fn load(&self, id: &Id) -> Result<Option<Record>> {
                let loaded = self.load_data(id.0).await.map_err(backend)?;
                Ok(loaded.map(|(data, expiry_date)| Record { id: *id, data, expiry_date }))
            }

            async fn delete(&self, id: &Id) -> Result<()> {
                self.delete_data(id.0).await.map_err(backend)
            }
        }

        fn backend(error: impl std::fmt::Display) -> Error {
            Error::Backend(error.to_string())
        }
    };
}
use session_store;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_of_a_record_names_the_session_in_the_mesh() {
        let id = SessionId::from_bytes(*b"0123456789abcdef");
        assert_eq!(session_id(record_id(id)), id);
        #[cfg(feature = "tower-sessions-0_15")]
        assert_eq!(tower_sessions_core_0_15::session::Id(record_id(id)).to_string(), id.encode());
        #[cfg(feature = "tower-sessions-0_14")]
        assert_eq!(tower_sessions_core_0_14::session::Id(record_id(id)).to_string(), id.encode());
    }

    #[test]
    fn a_date_becomes_a_time_to_live_and_a_past_one_none() {
        let now = OffsetDateTime::now_utc();
        assert_eq!(time_to_live(now - time::Duration::HOUR), Duration::ZERO);
        let hour = time_to_live(now + time::Duration::HOUR);
        assert!(hour <= Duration::from_secs(3600) && hour > Duration::from_secs(3590), "{hour:?}");
        assert_eq!(signed(Duration::MAX), time::Duration::MAX);
    }
}
