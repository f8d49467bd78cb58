//! Whose sessions this node holds: the local part of the user index.

use std::sync::Mutex;

use sessionmesh_core::id::SessionId;
use sessionmesh_core::session::{Session, ValueBytes};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::users::{UserKey, UserSessions};

use crate::lock::lock;
use crate::user_index::UserIndex;

/// SessionsByUser are spread over so many maps, so that logins seldom wait for each other.
const SHARDS: usize = 16;

/// The sessions in the store by their user. Ended ones are not in it, but expired ones may be, until they are forgotten:
/// whether an expiry stands, only a read can tell.
#[derive(Debug)]
pub(crate) struct SessionsByUser {
    pub(crate) index: UserIndex,
    shards: Vec<Mutex<UserSessions>>,
}

/// What the user of a session was found in.
#[derive(Debug, Default)]
pub(crate) struct Watched(Option<(Stamp, ValueBytes)>);

impl SessionsByUser {
    pub(crate) fn new(index: UserIndex) -> Self {
        Self { index, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    pub(crate) fn watched(&self, session: Option<&Session>) -> Watched {
        Watched(session.and_then(|session| self.index.watched(session)))
    }

    /// Session `id` has changed. To be called under the lock of the store, so that changes come in their order.
    pub(crate) fn changed(&self, id: SessionId, before: &Watched, session: Option<&Session>) {
        let after = self.watched(session);
        let stamp = |watched: &Watched| watched.0.as_ref().map(|(stamp, _)| *stamp);
        if stamp(before) == stamp(&after) {
            return;
        }
        let key = |watched: &Watched| {
            let (_, value) = watched.0.as_ref()?;
            self.index.user_in(value).map(|user| UserKey::of(&user))
        };
        let (before, after) = (key(before), key(&after));
        if before == after {
            return;
        }
        if let Some(user) = before {
            lock(self.shard(user)).remove(user, id);
        }
        if let Some(user) = after {
            lock(self.shard(user)).insert(user, id);
        }
    }

    /// At most `most` sessions of `user` after `after`, ascending, and whether there are more.
    pub(crate) fn page(&self, user: UserKey, after: Option<SessionId>, most: usize) -> (Vec<SessionId>, bool) {
        lock(self.shard(user)).page(user, after, most)
    }

    /// Sessions in the index.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, user: UserKey) -> &Mutex<UserSessions> {
        &self.shards[usize::from(user.as_bytes()[0]) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sessionmesh_core::moment::Moment;
    use sessionmesh_core::session::{Attribute, Expired, IdleLimit, Invalidated, Record};

    use super::*;
    use crate::engine::state::store::Store;
    use sessionmesh_core::entry::Entry;

    const fn stamp(counter: u64) -> Stamp {
        Stamp { counter, node: 1 }
    }

    fn id(number: u8) -> SessionId {
        SessionId::from_bytes([number; 16])
    }

    /// A store with an index of the attribute `user`, and how often its rule was applied.
    fn store() -> (Store, Arc<AtomicUsize>) {
        let applied = Arc::new(AtomicUsize::new(0));
        let counted = applied.clone();
        let index = UserIndex::with("user", move |value| {
            counted.fetch_add(1, Ordering::Relaxed);
            String::from_utf8(value.to_vec()).ok()
        });
        (Store::new(Some(SessionsByUser::new(index))), applied)
    }

    fn change(store: &Store, number: u8, change: impl FnOnce(&mut Session)) {
        store.update(id(number), |held| {
            let new = || Entry::new(Record::new(Session::new(1, IdleLimit { stamp: stamp(1), ms: 1 }), Moment::START));
            held.get_or_insert_with(new).change(|record| change(Arc::make_mut(&mut record.session)));
        });
    }

    fn put(store: &Store, number: u8, key: &str, value: Option<&[u8]>, counter: u64) {
        let attribute = Attribute { key: key.into(), value: value.map(Into::into), stamp: stamp(counter) };
        change(store, number, |session| assert!(session.put(attribute)));
    }

    fn of(store: &Store, user: &str) -> Vec<SessionId> {
        store.users().unwrap().page(UserKey::of(user), None, 100).0
    }

    #[test]
    fn the_index_follows_every_change_of_the_user_and_every_end() {
        let (store, _) = store();
        put(&store, 1, "user", Some(b"ada"), 2);
        put(&store, 2, "user", Some(b"ada"), 2);
        assert_eq!(of(&store, "ada"), [id(1), id(2)]);
        put(&store, 2, "user", Some(b"bob"), 3);
        assert_eq!((of(&store, "ada"), of(&store, "bob")), (vec![id(1)], vec![id(2)]));
        put(&store, 2, "user", None, 4);
        assert!(of(&store, "bob").is_empty());
        let end = Invalidated { successor: None, stamp: stamp(5), retention_ms: 1, since: Moment::START };
        change(&store, 1, |session| assert!(session.invalidate(end)));
        assert_eq!(store.users().unwrap().len(), 0);
        put(&store, 3, "user", Some(b"eve"), 2);
        store.clear();
        assert_eq!(store.users().unwrap().len(), 0);
    }

    #[test]
    fn an_expired_session_stays_in_the_index_since_an_access_elsewhere_may_overrule_the_end() {
        let (store, _) = store();
        put(&store, 1, "user", Some(b"ada"), 2);
        change(&store, 1, |session| assert!(session.expire(Expired { revision: stamp(2), access: Moment::START })));
        assert_eq!(of(&store, "ada"), [id(1)]);
    }

    #[test]
    fn the_rule_is_applied_only_when_its_attribute_changes() {
        let (store, applied) = store();
        put(&store, 1, "user", Some(b"ada"), 2);
        let before = applied.load(Ordering::Relaxed);
        for counter in 3..50 {
            put(&store, 1, "cart", Some(b"tea"), counter);
        }
        assert_eq!(applied.load(Ordering::Relaxed), before);
        assert_eq!(of(&store, "ada"), [id(1)]);
    }

    #[test]
    fn nothing_is_kept_without_a_rule() {
        let store = Store::new(None);
        put(&store, 1, "user", Some(b"ada"), 2);
        assert!(store.users().is_none());
    }
}
