//! Whole records, on the mesh.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::millis;
use sessionmesh_core::session::Record;
use tracing::{debug, warn};

use super::base::{BASE_KEY, Base, BaseWriter, base_in, rebase, source_of};
use super::endings::{Deleted, Endings, Heritage};
use super::error::RecordError;
use super::merge::{Puts, added, three_way};
use super::recent::Recent;
use super::value::RecordValue;
use crate::engine::commit::{self, Change};
use crate::engine::login;
use crate::engine::peer::lock;
use crate::engine::read::{self, Access, Found};
use crate::error::{CommitError, LoadError};
use crate::mesh::Mesh;

/// A session as a whole record.
#[derive(Clone, Debug)]
pub struct LoadedRecord<V> {
    /// The attributes, and what they are merged against at the next save, under [`BASE_KEY`]. Attributes that are no `V`
    /// are left out; saving leaves them as they are.
    pub values: HashMap<String, V>,
    /// After how much more time without a save the session ends.
    pub remaining: Duration,
}

/// Loads and saves sessions as whole records. Clones are the same store; a record must be saved where it was loaded.
#[derive(Clone, Debug)]
pub struct RecordStore {
    mesh: Mesh,
    lately: Arc<Mutex<Lately>>,
}

/// What happened lately in this store.
#[derive(Debug, Default)]
struct Lately {
    endings: Endings,
    /// What records were when they were saved last, by their loading: a request may save more than once, and cannot be
    /// given another base in between.
    saved: Recent<u64, Base>,
}

impl RecordStore {
    /// The sessions of `mesh`.
    #[must_use]
    pub fn new(mesh: Mesh) -> Self {
        Self { mesh, lately: Arc::default() }
    }

    /// The mesh that holds the sessions.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The session `id`; `None` if there is no such session, or it has ended. This is no access.
    ///
    /// # Errors
    ///
    /// As [`Mesh::load`].
    pub async fn load<V: RecordValue>(&self, id: SessionId) -> Result<Option<LoadedRecord<V>>, LoadError> {
        let Some((_, record)) = read::load(&self.mesh.node, id, Access::Peek).await? else { return Ok(None) };
        let session = &record.session;
        let count = session.attributes().len();
        let mut writer = BaseWriter::new(source_of(id), count);
        let mut values = HashMap::with_capacity(count + 1);
        for (key, bytes) in session.live() {
            match V::from_bytes(bytes) {
                Some(value) if **key != *BASE_KEY => {
                    writer.add(key, &value);
                    values.insert(String::from(&**key), value);
                }
                _ => debug!(session = %id, key = &**key, "an attribute is not JSON, and left out of the record"),
            }
        }
        values.insert(BASE_KEY.to_owned(), V::from_text(writer.finish()));
        let idle_ms = record.idle_ms(self.mesh.node.now());
        let remaining = Duration::from_millis(session.idle_limit().ms.saturating_sub(idle_ms));
        Ok(Some(LoadedRecord { values, remaining }))
    }

    /// A new session with these attributes, which ends when `ttl` has passed without a save. `values` become the record
    /// of the new session. A record that was loaded from a session that was deleted since is a renewal: see the
    /// [module's documentation](crate::record_store).
    ///
    /// The id is minted by the mesh with 116 random bits in a slot that this node owns, so it is nobody else's.
    ///
    /// # Errors
    ///
    /// [`RecordError::Create`] and [`RecordError::Commit`].
    pub async fn create<V: RecordValue>(
        &self,
        values: &mut HashMap<String, V>,
        ttl: Duration,
    ) -> Result<SessionId, RecordError> {
        let id = self.mesh.create().await?.id();
        let base = base_in(values);
        let heritage = base.as_ref().map(|base| lock(&self.lately).endings.heritage(base.source));
        let (attributes, inherit) = match (&base, heritage) {
            (Some(base), Some(Heritage::All(Some(content)))) => {
                (three_way(Some(base), Some(&content), values), Some(content))
            }
            (Some(base), Some(Heritage::Nothing)) => {
                warn!(session = %id, "a session was renewed that had been logged out; only what was just added is kept");
                let added = added(base, values);
                if added.is_empty() {
                    return Ok(id);
                }
                (added, None)
            }
            _ => (three_way(None, None, values), None),
        };
        let limit = limit_ms(ttl);
        let change = Change { attributes, idle_limit_ms: Some(limit), create: Some(limit), inherit };
        self.commit(id, None, &change).await?;
        rebase(source_of(id), values);
        Ok(id)
    }

    /// Merges what `values` changed since they were loaded into session `id`. It is an access, and the session ends when
    /// `ttl` has passed without another one. A session that has ended stays ended, which is no error.
    ///
    /// # Errors
    ///
    /// [`RecordError::Load`] and [`RecordError::Commit`].
    pub async fn save<V: RecordValue>(
        &self,
        id: SessionId,
        values: &HashMap<String, V>,
        ttl: Duration,
    ) -> Result<(), RecordError> {
        let Some((id, record)) = self.find(id).await? else { return Ok(()) };
        let loaded = base_in(values);
        let saved = loaded.as_ref().and_then(|loaded| lock(&self.lately).saved.get(loaded.load).cloned());
        let puts = three_way(saved.as_ref().or(loaded.as_ref()), Some(&record.session), values);
        let is_changed = !puts.is_empty();
        self.commit(id, Some(&record), &self.change(puts, &record, ttl)).await?;
        if let Some(loaded) = loaded.filter(|_| is_changed) {
            let now = Base::of(loaded.source, loaded.load, values);
            lock(&self.lately).saved.insert(loaded.load, now, values.len() * size_of::<[u64; 2]>());
        }
        Ok(())
    }

    /// An access to session `id`, which ends when `ttl` has passed without another one.
    ///
    /// # Errors
    ///
    /// As [`RecordStore::save`].
    pub async fn touch(&self, id: SessionId, ttl: Duration) -> Result<(), RecordError> {
        let Some((id, record)) = self.find(id).await? else { return Ok(()) };
        self.commit(id, Some(&record), &self.change(Puts::new(), &record, ttl)).await
    }

    /// Ends session `id` for good, on every node.
    ///
    /// # Errors
    ///
    /// [`RecordError::Load`] if it is not known whether there is such a session; [`RecordError::Commit`] if this node has
    /// left the cluster.
    pub async fn delete(&self, id: SessionId) -> Result<(), RecordError> {
        let deleted = match read::find(&self.mesh.node, id, Access::Peek).await? {
            Found::Live(record) => self.end(id, Some(&record)).await?,
            // A logout beats a renewal, and so ends the successor, too.
            Found::Renewed(_) | Found::Moved(_) => self.end(id, None).await?,
            Found::Ended => Deleted::Ended,
            Found::Nothing => Deleted::Nothing,
        };
        lock(&self.lately).endings.note(source_of(id), deleted);
        Ok(())
    }

    async fn end(&self, id: SessionId, record: Option<&Record>) -> Result<Deleted, RecordError> {
        let ended = commit::end(&self.mesh.node, id, record, None, self.mesh.wait()).await?;
        tolerate(id, ended.copies.map(drop))?;
        Ok(ended.content.map_or(Deleted::Ended, Deleted::Live))
    }

    /// The session that is to be changed, after its renewals. Finding it is an access.
    async fn find(&self, id: SessionId) -> Result<Option<(SessionId, Record)>, LoadError> {
        let node = &self.mesh.node;
        let (id, record) = match read::find(node, id, Access::Note).await? {
            Found::Live(record) => (id, Some(record)),
            Found::Renewed(successor) | Found::Moved(successor) => read::resolve(node, successor).await?,
            Found::Ended | Found::Nothing => (id, None),
        };
        if record.is_none() {
            debug!(session = %id, "a session that has ended, or is unknown, was saved; nothing was changed");
        }
        Ok(record.map(|record| (id, record)))
    }

    fn change(&self, puts: Puts, record: &Record, ttl: Duration) -> Change {
        let limit = limit_ms(ttl);
        let is_other = !is_same_limit(record.session.idle_limit().ms, limit);
        Change { attributes: puts, idle_limit_ms: is_other.then_some(limit), ..Change::default() }
    }

    async fn commit(&self, id: SessionId, base: Option<&Record>, change: &Change) -> Result<(), RecordError> {
        if base.is_some() && change.attributes.is_empty() && change.idle_limit_ms.is_none() {
            return Ok(());
        }
        let committed = login::commit(&self.mesh.node, id, base, change, self.mesh.wait()).await;
        tolerate(id, committed.and_then(|committed| committed.copies.map(drop)))
    }
}

/// Turns away the errors that must not spoil a good answer.
fn tolerate(id: SessionId, outcome: Result<(), CommitError>) -> Result<(), RecordError> {
    let Err(error) = outcome else { return Ok(()) };
    match error {
        error if error.was_made() => {
            warn!(session = %id, %error, "a session has fewer copies than it should");
        }
        CommitError::Ended | CommitError::Unknown => {
            debug!(session = %id, "a session ended while it was saved; nothing was changed");
        }
        error => return Err(error.into()),
    }
    Ok(())
}

/// A time-to-live as an idle limit.
fn limit_ms(ttl: Duration) -> u64 {
    millis(ttl).max(1)
}

/// Whether two limits are the same but for the time that passed between computing "now + ttl" and saving it.
pub(super) fn is_same_limit(stored: u64, wanted: u64) -> bool {
    stored == wanted || stored.abs_diff(wanted) < (stored / 10).min(1_000)
}
