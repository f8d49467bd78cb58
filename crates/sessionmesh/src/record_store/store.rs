//! Whole records, on the mesh.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessionmesh_core::id::SessionId;
use sessionmesh_core::moment::millis;
use sessionmesh_core::session::Record;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::base::{BASE_KEY, Base, BaseWriter, base_in, rebase, source_of};
use super::endings::{Deceased, Deleted, Endings, RenewalBase};
use super::error::RecordError;
use super::merge::{Puts, added, three_way};
use super::recent::Recent;
use super::value::RecordValue;
use crate::blindness::WhenUnsure;
use crate::engine::read::{self, Access, Found, SUCCESSORS_MAX};
use crate::engine::write::commit::Change;
use crate::engine::write::end;
use crate::engine::write::user_limit;
use crate::error::{CommitError, LoadError};
use crate::lock::lock;
use crate::mesh::Mesh;

/// A session as a whole record.
#[derive(Clone, Debug)]
pub struct LoadedRecord<V> {
    /// The attributes and, under [`BASE_KEY`], what the next save merges them against. Attributes that are not a `V`
    /// are left out; a save leaves them as they are.
    pub values: HashMap<String, V>,
    /// The time until the session ends, unless it is saved.
    pub remaining: Duration,
}

/// Loads and saves sessions as whole records. Clones are the same store. Save a record in the store that loaded it.
#[derive(Clone, Debug)]
pub struct RecordStore {
    mesh: Mesh,
    when_unsure: WhenUnsure,
    lately: Arc<Mutex<Lately>>,
}

/// What happened lately in this store.
#[derive(Debug)]
struct Lately {
    endings: Endings,
    /// What records were when they were saved last, by their loading: a request may save more than once, and cannot be
    /// given another base in between.
    saved: Recent<u64, Base>,
    /// Of loadings up to this one it may be forgotten that they saved.
    forgotten: Option<u64>,
}

/// Bytes that may be taken by what records were when they were saved.
const SAVED_BYTES_MAX: usize = 32 << 20;

impl Default for Lately {
    fn default() -> Self {
        Self { endings: Endings::default(), saved: Recent::new(SAVED_BYTES_MAX), forgotten: None }
    }
}

impl RecordStore {
    /// A store for the sessions of `mesh`.
    #[must_use]
    pub fn new(mesh: Mesh) -> Self {
        Self { mesh, when_unsure: WhenUnsure::default(), lately: Arc::default() }
    }

    /// How [`RecordStore::load`] treats a visitor whose session may have been on nodes that vanished. Default:
    /// [`WhenUnsure::Refuse`].
    #[must_use]
    pub const fn when_unsure(mut self, when_unsure: WhenUnsure) -> Self {
        self.when_unsure = when_unsure;
        self
    }

    /// The mesh that holds the sessions.
    #[must_use]
    pub const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Loads the session `id`. Returns `None` if there is no such session, or it has ended; with
    /// [`WhenUnsure::TreatAsNew`] also if it may have been lost. This is not an access.
    ///
    /// # Errors
    ///
    /// As [`Mesh::load`].
    pub async fn load<V: RecordValue>(&self, id: SessionId) -> Result<Option<LoadedRecord<V>>, LoadError> {
        let (id, record) = match self.look(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) if error.is_lasting() && self.when_unsure == WhenUnsure::TreatAsNew => {
                debug!(%error, "the visitor is treated as one without a session");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
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
                _ => debug!(session = %id, key = &**key, "an attribute is not JSON; it is left out of the record"),
            }
        }
        values.insert(BASE_KEY.to_owned(), V::from_text(writer.finish()));
        let idle_ms = record.idle_ms(self.mesh.node.now());
        let remaining = Duration::from_millis(session.idle_limit().ms.saturating_sub(idle_ms));
        Ok(Some(LoadedRecord { values, remaining }))
    }

    /// Creates a session with these attributes, which ends when `ttl` has passed without a save. `values` become the
    /// record of the new session. If they were loaded from a session that has been deleted since, this is a renewal:
    /// see the [module's documentation](crate::record_store).
    ///
    /// The mesh mints the id, with 100 random bits in a slot that this node owns, so no other session has it.
    ///
    /// # Errors
    ///
    /// [`RecordError::Create`], [`RecordError::Commit`] and [`RecordError::Value`]. If a limit, or a value that could
    /// not be read again, refuses a renewal, nothing is lost: the deleted id still finds the session as it was then.
    /// `max_sessions` refuses no renewal.
    pub async fn create<V: RecordValue>(
        &self,
        values: &mut HashMap<String, V>,
        ttl: Duration,
    ) -> Result<SessionId, RecordError> {
        let Some(base) = base_in(values) else {
            return self.create_new(three_way(None, None, values)?, values, ttl).await;
        };
        match self.renewal_base(base.source) {
            RenewalBase::All(deceased) => match self.renew(&base, &deceased, values, ttl).await {
                Ok(id) => Ok(id),
                Err(error) => {
                    self.restore(&deceased, &error).await;
                    Err(error)
                }
            },
            RenewalBase::Nothing => {
                warn!("a renewed session had been logged out; only attributes that this request added are kept");
                let added = added(&base, values)?;
                if added.is_empty() {
                    return Ok(self.mesh.node.mint());
                }
                self.create_new(added, values, ttl).await
            }
        }
    }

    fn renewal_base(&self, source: u64) -> RenewalBase {
        lock(&self.lately).endings.renewal_base(source)
    }

    async fn create_new<V: RecordValue>(
        &self,
        attributes: Puts,
        values: &mut HashMap<String, V>,
        ttl: Duration,
    ) -> Result<SessionId, RecordError> {
        let id = self.mesh.create().await?.id();
        let limit = limit_ms(ttl);
        let change = Change { attributes, idle_limit_ms: Some(limit), create: Some(limit), ..Change::default() };
        self.commit(id, None, &change).await?;
        rebase(source_of(id), values);
        Ok(id)
    }

    /// The second half of a renewal: a new session that takes the place of `deceased`.
    async fn renew<V: RecordValue>(
        &self,
        base: &Base,
        deceased: &Deceased,
        values: &mut HashMap<String, V>,
        ttl: Duration,
    ) -> Result<SessionId, RecordError> {
        let inherit = deceased.content.clone();
        let attributes = three_way(inherit.is_some().then_some(base), inherit.as_deref(), values)?;
        let id = self.mesh.node.mint();
        let limit = limit_ms(ttl);
        let (idle_limit_ms, create) = (Some(limit), Some(limit));
        self.commit(id, None, &Change { attributes, idle_limit_ms, create, inherit, replaces: true }).await?;
        if deceased.has_heir {
            self.end(deceased.id.heir(), None).await?;
        }
        rebase(source_of(id), values);
        Ok(id)
    }

    /// Keeps what `deceased` held, since what was to replace it was refused. Its own id has ended for good, so it goes on
    /// as the heir of that id, which this store looks for under the old one.
    async fn restore(&self, deceased: &Deceased, error: &RecordError) {
        let Some(content) = deceased.content.clone() else { return };
        let is_refused = matches!(error, RecordError::Commit(CommitError::Limit(_)) | RecordError::Value(_));
        let mut has_heir = deceased.has_heir;
        if is_refused && !has_heir {
            warn!(session = %deceased.id, %error, "a renewal was refused; the session keeps its old id");
            let create = Some(content.idle_limit().ms);
            let change = Change { create, inherit: Some(content), replaces: true, ..Change::default() };
            has_heir = match self.commit(deceased.id.heir(), None, &change).await {
                Ok(()) => true,
                Err(error) => {
                    warn!(session = %deceased.id, %error, "a session whose renewal was refused could not be kept");
                    false
                }
            };
        }
        lock(&self.lately).endings.give_back(deceased.id, has_heir);
    }

    /// Merges into session `id` what was changed in `values` since they were loaded. This is an access, and the session
    /// ends when `ttl` has passed without another one. A session that has ended stays ended; that is not an error.
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
        let saved = loaded.as_ref().map(|loaded| self.saved_before(loaded, &record, values)).transpose()?.flatten();
        let puts = three_way(saved.as_ref().or(loaded.as_ref()), Some(&record.session), values)?;
        let is_changed = !puts.is_empty();
        self.commit(id, Some(&record), &self.change(puts, &record, ttl)).await?;
        if let Some(loaded) = loaded.filter(|_| is_changed) {
            let saved = Base::of(loaded.source, loaded.load, values);
            let bytes = values.len() * size_of::<[u64; 2]>();
            let now = self.mesh.node.now();
            let mut lately = lock(&self.lately);
            let dropped = lately.saved.insert(loaded.load, saved, bytes, now);
            lately.forgotten = lately.forgotten.max(dropped);
        }
        Ok(())
    }

    /// What a record was when it was saved before, if it was.
    ///
    /// Where that may be forgotten, an attribute that it has not got may be one that it wrote and removed again, or one
    /// that another request of this node has written meanwhile. Then nothing is done, rather than the wrong thing.
    fn saved_before<V: RecordValue>(
        &self,
        loaded: &Base,
        record: &Record,
        values: &HashMap<String, V>,
    ) -> Result<Option<Base>, RecordError> {
        let lately = lock(&self.lately);
        let saved = lately.saved.get(loaded.load).cloned();
        if saved.is_some() || lately.forgotten < Some(loaded.load) {
            return Ok(saved);
        }
        let me = self.mesh.node.identity.hash.0;
        let live = record.session.attributes().iter().filter(|attribute| attribute.value.is_some());
        let is_unclear = |key: &str| !loaded.has(key) && !values.contains_key(key);
        let unclear = live.filter(|attribute| attribute.stamp.node == me && is_unclear(&attribute.key)).count();
        if unclear > 0 { Err(RecordError::TooOld) } else { Ok(None) }
    }

    /// Notes an access to session `id`, which ends when `ttl` has passed without another one.
    ///
    /// # Errors
    ///
    /// As [`RecordStore::save`].
    pub async fn touch(&self, id: SessionId, ttl: Duration) -> Result<(), RecordError> {
        let Some((id, record)) = self.find(id).await? else { return Ok(()) };
        self.commit(id, Some(&record), &self.change(Puts::new(), &record, ttl)).await
    }

    /// Ends session `id` for good, on every node. This needs no knowledge of the session: if it is not known whether
    /// the session exists, it has ended all the same on the reachable nodes, and on the others as soon as they can be
    /// reached. An id that nobody can have (see [`SessionId::is_minted`]), such as session crates make up for visitors
    /// without a session, causes no query.
    ///
    /// # Errors
    ///
    /// [`RecordError::Commit`] if this node has left the cluster.
    pub async fn delete(&self, id: SessionId) -> Result<(), RecordError> {
        if !id.is_minted() {
            return Ok(());
        }
        let until = read::deadline_of_a_read(&self.mesh.node);
        let deleted = match read::find_once(&self.mesh.node, id, Access::Peek, until).await {
            Some(Found::Nothing) => Deleted::Nothing,
            Some(Found::Ended) => Deleted::Ended,
            Some(Found::Live(record)) => self.end(id, Some(&record)).await?,
            // A logout beats a renewal, and so ends the successor, too.
            Some(Found::Renewed { .. } | Found::Moved(_)) | None => self.end(id, None).await?,
        };
        let heir = if matches!(deleted, Deleted::Ended) { self.heir(id, Access::Peek, until).await } else { None };
        let (id, deleted) = match heir {
            Some((heir, record)) => (heir, self.end(heir, Some(&record)).await?),
            None => (id, deleted),
        };
        lock(&self.lately).endings.note(id, deleted, self.mesh.node.now());
        Ok(())
    }

    async fn end(&self, id: SessionId, record: Option<&Record>) -> Result<Deleted, RecordError> {
        let ended = end::end_session(&self.mesh.node, id, record, None, self.mesh.wait()).await?;
        tolerate(id, ended.copies.map(drop))?;
        Ok(match ended.content {
            Some(content) => Deleted::Live(content),
            None if ended.before => Deleted::Ended,
            None => Deleted::Nothing,
        })
    }

    /// The session `id` to read it. This is no access.
    async fn look(&self, id: SessionId) -> Result<Option<(SessionId, Record)>, LoadError> {
        let node = &self.mesh.node;
        if let Some(record) = read::live_here(node, id, Access::Peek, node.now()) {
            return Ok(Some((id, record)));
        }
        let until = read::deadline_of_a_read(node);
        match Box::pin(read::look_until(node, id, Access::Peek, until)).await? {
            (id, Found::Live(record)) => Ok(Some((id, record))),
            (id, Found::Ended) => Ok(self.heir(id, Access::Peek, until).await),
            _ => Ok(None),
        }
    }

    /// The session that is to be changed, after its renewals. Finding it is an access.
    async fn find(&self, id: SessionId) -> Result<Option<(SessionId, Record)>, LoadError> {
        let node = &self.mesh.node;
        let until = read::deadline_of_a_read(node);
        let found = match read::find(node, id, Access::Note, until).await? {
            Found::Live(record) => Some((id, record)),
            Found::Renewed { successor, .. } | Found::Moved(successor) => {
                let (id, record) = read::resolve(node, successor, until).await?;
                record.map(|record| (id, record))
            }
            Found::Ended => self.heir(id, Access::Note, until).await,
            Found::Nothing => None,
        };
        if found.is_none() {
            debug!(session = %id, "a session that has ended, or is unknown, was saved; nothing was changed");
        }
        Ok(found)
    }

    /// The session that goes on as the heir of one that has ended, if there is one: see [`RecordStore::create`].
    async fn heir(&self, ended: SessionId, access: Access, until: Instant) -> Option<(SessionId, Record)> {
        let mut id = ended;
        for _ in 0..SUCCESSORS_MAX {
            id = id.heir();
            match read::find_once(&self.mesh.node, id, access, until).await? {
                Found::Live(record) => return Some((id, record)),
                Found::Ended => {}
                Found::Nothing | Found::Renewed { .. } | Found::Moved(_) => return None,
            }
        }
        None
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
        let committed = user_limit::commit_with_user_limit(&self.mesh.node, id, base, change, self.mesh.wait()).await;
        tolerate(id, committed.and_then(|committed| committed.copies.map(drop)))
    }
}

/// Turns away the errors that must not spoil a good answer.
fn tolerate(id: SessionId, outcome: Result<(), CommitError>) -> Result<(), RecordError> {
    let Err(error) = outcome else { return Ok(()) };
    match error {
        error if error.was_made() => {
            warn!(session = %id, %error, "a session has fewer copies than asked for");
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
