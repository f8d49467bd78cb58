//! Whose sessions a node holds: users by a key of fixed size, with the ids of their sessions.

use std::collections::BTreeSet;
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::id::SessionId;

/// The seed of user keys. Part of the protocol.
const USER_SEED: u64 = u64::from_be_bytes(*b"smshuser");

/// A user as 128 bits, however long the name is.
///
/// Names that somebody made to collide are possible, so what is found under a key has to be compared with the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SchemaWrite, SchemaRead, Serialize, Deserialize)]
pub struct UserKey([u8; 16]);

impl UserKey {
    /// The key of the user of this name.
    pub fn of(user: &str) -> Self {
        Self(xxh3_128_with_seed(user.as_bytes(), USER_SEED).to_le_bytes())
    }

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The sessions of each user. Nothing is kept of a user without sessions.
#[derive(Debug, Default)]
pub struct UserSessions {
    held: BTreeSet<(UserKey, SessionId)>,
}

impl UserSessions {
    /// Session `id` is one of `user`.
    pub fn insert(&mut self, user: UserKey, id: SessionId) {
        self.held.insert((user, id));
    }

    /// Session `id` is none of `user` any more.
    pub fn remove(&mut self, user: UserKey, id: SessionId) {
        self.held.remove(&(user, id));
    }

    /// At most `most` sessions of `user` after the id `after`, ascending, and whether there are more. Sessions of others
    /// are not looked at.
    pub fn page(&self, user: UserKey, after: Option<SessionId>, most: usize) -> (Vec<SessionId>, bool) {
        let first = Bound::Included((user, SessionId::from_bytes([0; 16])));
        let start = after.map_or(first, |after| Bound::Excluded((user, after)));
        let end = Bound::Included((user, SessionId::from_bytes([u8::MAX; 16])));
        // The largest id has nothing after it, and an empty range is none to `BTreeSet`.
        if after == Some(SessionId::from_bytes([u8::MAX; 16])) {
            return (Vec::new(), false);
        }
        let mut rest = self.held.range((start, end)).map(|(_, id)| *id);
        let ids = rest.by_ref().take(most).collect();
        (ids, rest.next().is_some())
    }

    /// Sessions of all users.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8, last: u8) -> SessionId {
        let mut bytes = [first; 16];
        bytes[15] = last;
        SessionId::from_bytes(bytes)
    }

    #[test]
    fn pages_hold_each_session_of_the_user_once_and_none_of_others() {
        let (ada, bob) = (UserKey::of("ada"), UserKey::of("bob"));
        let mut users = UserSessions::default();
        for number in 0..10 {
            users.insert(ada, id(1, number));
            users.insert(bob, id(1, 100 + number));
        }
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = users.page(ada, after, 4);
            assert!(page.len() == 4 || !more);
            after = page.last().copied();
            all.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(all, (0..10).map(|number| id(1, number)).collect::<Vec<_>>());
    }

    #[test]
    fn the_smallest_and_the_largest_id_are_ids_like_others() {
        let (ada, ends) = (UserKey::of("ada"), [id(0, 0), id(u8::MAX, u8::MAX)]);
        let mut users = UserSessions::default();
        ends.iter().for_each(|end| users.insert(ada, *end));
        assert_eq!(users.page(ada, None, 9), (ends.to_vec(), false));
        assert_eq!(users.page(ada, None, 1), (vec![ends[0]], true));
        assert_eq!(users.page(ada, Some(ends[0]), 9), (vec![ends[1]], false));
        assert_eq!(users.page(ada, Some(ends[1]), 9), (Vec::new(), false));
    }

    #[test]
    fn nothing_is_kept_of_a_user_without_sessions() {
        let mut users = UserSessions::default();
        users.insert(UserKey::of("ada"), id(1, 1));
        users.insert(UserKey::of("ada"), id(1, 1));
        assert_eq!(users.len(), 1);
        users.remove(UserKey::of("bob"), id(1, 1));
        users.remove(UserKey::of("ada"), id(1, 1));
        assert!(users.is_empty());
    }

    /// If this changes, the protocol version must change, too.
    #[test]
    fn the_keys_are_part_of_the_protocol() {
        assert_eq!(u128::from_le_bytes(*UserKey::of("ada").as_bytes()), 0x6ea0_1c9c_2ffc_ccf8_98a1_c6a7_a67f_820b);
    }
}
