//! The two forms in which session crates hold an attribute.

use std::hash::Hash;

/// An attribute as a session crate holds it. In the mesh it is JSON text, as [`crate::Session::insert`] writes it, so
/// both sides read each other's attributes.
///
/// `Hash` decides whether an attribute was changed: values that mean the same must hash the same.
pub trait RecordValue: Hash + Sized {
    /// The value that is stored as `bytes`; `None` if they are not such a value.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;

    /// The bytes to store.
    fn to_bytes(&self) -> Vec<u8>;

    /// A value that carries `text`, which is plain ASCII without quotes.
    fn from_text(text: String) -> Self;

    /// The text that [`RecordValue::from_text`] put into this value; `None` if the value cannot contain one.
    fn as_text(&self) -> Option<&str>;
}

/// Parsed JSON, as in tower-sessions. The order of an object's fields makes no difference.
impl RecordValue for serde_json::Value {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    fn from_text(text: String) -> Self {
        Self::String(text)
    }

    fn as_text(&self) -> Option<&str> {
        self.as_str()
    }
}

/// JSON text, as in actix-session.
impl RecordValue for String {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(Self::from)
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_text(text: String) -> Self {
        // Applications that parse every entry must find JSON here, too.
        format!("\"{text}\"")
    }

    fn as_text(&self) -> Option<&str> {
        self.strip_prefix('"')?.strip_suffix('"')
    }
}
