//! The names of attributes: a site uses a few of them in all its sessions, so that each is kept once.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use sessionmesh_core::session::Session;

/// Names that are shared. Whatever comes when there are so many is kept with its session.
const KEYS_MAX: usize = 1024;
/// The longest name that is shared, in bytes: longer ones are rarely the same in many sessions.
const KEY_BYTES_MAX: usize = 64;

/// The names that were seen so far.
#[derive(Debug, Default)]
pub(crate) struct KeyInterner(RwLock<BTreeSet<Arc<str>>>);

impl KeyInterner {
    /// Lets a session share the names of its attributes with the others.
    pub(crate) fn intern(&self, session: &mut Session) {
        session.replace_keys(|key| self.shared(key));
    }

    fn shared(&self, key: &Arc<str>) -> Arc<str> {
        if let Some(shared) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&**key) {
            return shared.clone();
        }
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if key.len() <= KEY_BYTES_MAX && keys.len() < KEYS_MAX {
            keys.insert(key.clone());
        }
        key.clone()
    }
}

#[cfg(test)]
mod tests {
    use sessionmesh_core::session::{Attribute, IdleLimit};
    use sessionmesh_core::stamp::Stamp;

    use super::*;

    fn session(key: &str) -> Session {
        let mut session = Session::new(0, IdleLimit { stamp: Stamp::ZERO, ms: 1_000 });
        session.put(Attribute { key: key.into(), value: Some([1][..].into()), stamp: Stamp { counter: 1, node: 1 } });
        session
    }

    fn are_shared(keys: &KeyInterner, key: &str) -> bool {
        let (mut one, mut other) = (session(key), session(key));
        let before = one.clone();
        keys.intern(&mut one);
        keys.intern(&mut other);
        assert_eq!(one, before, "the content is the same");
        Arc::ptr_eq(&one.attributes()[0].key, &other.attributes()[0].key)
    }

    #[test]
    fn names_are_shared_up_to_a_length_and_a_number() {
        let keys = KeyInterner::default();
        assert!(are_shared(&keys, "cart"));
        assert!(!are_shared(&keys, &"k".repeat(KEY_BYTES_MAX + 1)));
        for number in 0..KEYS_MAX {
            keys.intern(&mut session(&format!("cart of {number}")));
        }
        assert!(!are_shared(&keys, "one too many"));
        assert!(are_shared(&keys, "cart"));
    }
}
