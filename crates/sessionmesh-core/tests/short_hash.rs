//! A program of its own, since the key is one for the whole process.

use sessionmesh_core::id::{SessionId, key_short_hashes};

#[test]
fn short_hashes_depend_on_the_first_key_and_on_no_other() {
    let id = SessionId::from_bytes([7; 16]);
    let without = id.to_string();
    key_short_hashes(0x5eed);
    let with = format!("{id:?}");
    assert_ne!(without, with);
    assert!(with.starts_with('#') && with.len() == 9, "{with}");
    key_short_hashes(0xbad);
    assert_eq!(id.to_string(), with);
}
