//! Whose a session is: the rule by which each node tells.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sessionmesh_core::session::{Session, ValueBytes};
use sessionmesh_core::stamp::Stamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The rule that finds the user of a session in one of its attributes.
///
/// A node with such a rule keeps an index of the sessions it holds, so all nodes of a cluster need the same rule. The
/// rule is applied when that attribute changes, not at each request.
///
/// ```
/// use sessionmesh::UserIndex;
///
/// let index = UserIndex::axum_login();
/// assert_eq!(index.user_in(br#"{"user_id": 7, "auth_hash": null}"#).as_deref(), Some("7"));
/// let index = UserIndex::attribute("user");
/// assert_eq!(index.user_in(br#""ada""#).as_deref(), Some("ada"));
/// ```
#[derive(Clone)]
pub struct UserIndex {
    key: Arc<str>,
    rule: Rule,
}

#[derive(Clone)]
enum Rule {
    Pointer(Arc<str>),
    Own(Arc<OwnRule>),
}

type OwnRule = dyn Fn(&[u8]) -> Option<String> + Send + Sync;

impl UserIndex {
    /// The value of the attribute `key` is the user: a JSON string or number.
    #[must_use]
    pub fn attribute(key: &str) -> Self {
        Self::pointer(key, "")
    }

    /// The user is the JSON string or number at `pointer` (RFC 6901; empty for the whole value) in the attribute `key`.
    /// If there is anything else, or nothing, the session has no user.
    #[must_use]
    pub fn pointer(key: &str, pointer: &str) -> Self {
        Self { key: key.into(), rule: Rule::Pointer(pointer.into()) }
    }

    /// Sessions of `axum-login`: `user_id` in the attribute `axum-login.data`.
    #[must_use]
    pub fn axum_login() -> Self {
        Self::pointer("axum-login.data", "/user_id")
    }

    /// Sessions of `actix-identity`: the attribute `actix_identity.user_id`.
    #[must_use]
    pub fn actix_identity() -> Self {
        Self::attribute("actix_identity.user_id")
    }

    /// A custom rule on the bytes of the attribute `key`. It must return the same user each time, on every node. It is
    /// called while the session is locked, so it must not use the mesh. If it panics, the session has no user.
    #[must_use]
    pub fn with(key: &str, user: impl Fn(&[u8]) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { key: key.into(), rule: Rule::Own(Arc::new(user)) }
    }

    /// The same rule for another attribute, if the application has renamed it.
    #[must_use]
    pub fn in_attribute(self, key: &str) -> Self {
        Self { key: key.into(), ..self }
    }

    /// The attribute that the rule reads.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The user in these bytes of the attribute. An empty string is no user.
    #[must_use]
    pub fn user_in(&self, value: &[u8]) -> Option<String> {
        let user = match &self.rule {
            Rule::Pointer(pointer) => at_pointer(value, pointer),
            Rule::Own(user) => catch_unwind(AssertUnwindSafe(|| user(value))).unwrap_or_else(|_| {
                tracing::error!(key = %self.key, "the rule of the user index panicked; the session has no user");
                None
            }),
        };
        user.filter(|user| !user.is_empty())
    }

    pub(crate) fn user_of(&self, session: &Session) -> Option<String> {
        self.user_in(session.get(&self.key)?)
    }

    /// What the user depends on. As long as it is the same, so is the user.
    pub(crate) fn watched(&self, session: &Session) -> Option<(Stamp, ValueBytes)> {
        let attribute = session.attribute(&self.key)?;
        Some((attribute.stamp, attribute.value.clone()?))
    }

    /// A number that identifies the rule: nodes compare it before they accept each other's lists. For a custom rule it
    /// covers the attribute only.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let (seed, pointer) = match &self.rule {
            Rule::Pointer(pointer) => (1, &**pointer),
            Rule::Own(_) => (2, ""),
        };
        xxh3_64_with_seed(self.key.as_bytes(), xxh3_64_with_seed(pointer.as_bytes(), seed))
    }
}

fn at_pointer(value: &[u8], pointer: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(value).ok()?;
    match json.pointer(pointer)? {
        serde_json::Value::String(user) => Some(user.clone()),
        serde_json::Value::Number(user) => Some(user.to_string()),
        _ => None,
    }
}

impl fmt::Debug for UserIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match &self.rule {
            Rule::Pointer(pointer) => pointer,
            Rule::Own(_) => "a custom rule",
        };
        f.debug_struct("UserIndex").field("key", &self.key).field("rule", &rule).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_text_or_a_number_and_nothing_else() {
        let index = UserIndex::axum_login();
        let user = |json: &str| index.user_in(json.as_bytes());
        assert_eq!(user(r#"{"user_id": "ada"}"#).as_deref(), Some("ada"));
        assert_eq!(user(r#"{"user_id": 18446744073709551615}"#).as_deref(), Some("18446744073709551615"));
        assert_eq!(user(r#"{"user_id": -3}"#).as_deref(), Some("-3"));
        let none = [r#"{"user_id": null}"#, r#"{"user_id": ""}"#, r#"{"user_id": [1]}"#, r#"{"user_id": true}"#];
        for json in none.into_iter().chain([r#"{"user": 1}"#, "7", "", "{", "\u{0}"]) {
            assert_eq!(user(json), None, "{json}");
        }
        assert_eq!(UserIndex::actix_identity().user_in(br#""ada""#).as_deref(), Some("ada"));
    }

    #[test]
    fn hostile_json_is_no_user_and_no_stack_overflow() {
        assert_eq!(UserIndex::attribute("user").user_in(&vec![b'['; 1 << 20]), None);
    }

    #[test]
    fn a_rule_that_panics_finds_no_user() {
        let index = UserIndex::with("user", |value| Some(String::from_utf8(value.to_vec()).unwrap()));
        assert_eq!(index.user_in(b"ada").as_deref(), Some("ada"));
        assert_eq!(index.user_in(&[0xff]), None);
    }

    #[test]
    fn rules_that_differ_are_told_apart() {
        let own = |key: &str| UserIndex::with(key, |_| None);
        let all = [
            UserIndex::axum_login(),
            UserIndex::axum_login().in_attribute("login"),
            UserIndex::attribute("axum-login.data"),
            own("axum-login.data"),
            own("login"),
        ];
        for (at, index) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.fingerprint() != index.fingerprint()), "{index:?}");
        }
        assert_eq!(UserIndex::axum_login().fingerprint(), UserIndex::axum_login().fingerprint());
    }
}
