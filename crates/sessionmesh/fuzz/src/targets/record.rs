//! An attribute as stores for other session crates hold it, and the past that a record carries.

use std::collections::HashMap;

use serde_json::Value;
use sessionmesh::UserIndex;
use sessionmesh::fuzzing::{is_base, is_shallow, written_unchanged};
use sessionmesh::record_store::RecordValue;

use crate::{Outcome, Target, memory};

/// What reads attributes: what it reads is written and read again as the same, a record that nobody changed is written
/// nowhere, and no text from outside counts as the past of a record.
pub const TARGET: Target = Target { name: "record", check, seeds };

/// A map of JSON with one entry takes about so many times its bytes.
const JSON_FACTOR: usize = 192;

fn check(bytes: &[u8]) -> Outcome {
    let json = memory::within(4_096 + JSON_FACTOR * bytes.len(), || Value::from_bytes(bytes));
    let user = UserIndex::pointer("login", "/user_id").user_in(bytes);
    let mut values = HashMap::new();
    if let Some(json) = &json {
        assert!(is_shallow(bytes), "what can be read can be written");
        assert_eq!(Value::from_bytes(&json.to_bytes()).as_ref(), Some(json));
        values.insert("login".to_owned(), json.clone());
    }
    assert!(json.is_some() || user.is_none());
    assert!(user.is_none_or(|user| !user.is_empty()));
    if let Some(text) = String::from_bytes(bytes) {
        assert_eq!(text.to_bytes(), bytes);
        assert!(!is_base(&text), "only what this process wrote is the past of a record");
        assert!(text.as_text().is_none_or(|inner| String::from_text(inner.to_owned()) == text));
        let mut texts = HashMap::from([("login".to_owned(), text.clone()), (text.clone(), String::new())]);
        assert_eq!(written_unchanged(&mut texts), Some(0));
        values.insert(text, Value::Null);
    }
    assert_eq!(written_unchanged(&mut values), Some(0));
    Outcome::of(json.is_some())
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#""ada""#,
        r#"{"user_id":7,"auth_hash":[1,2,255]}"#,
        r#"{"user_id":"ada","a":{"b":[null,true,-0.0,1e300,"\u00e4\n"]}}"#,
        "[[[[[[[[1]]]]]]]]",
        "18446744073709551615",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
