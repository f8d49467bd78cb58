//! The text of a session id: the cookie of actix-session, and of the layer for axum.

use sessionmesh::SessionId;

use crate::{Outcome, Target, memory};

/// What reads ids: each id has one text.
pub const TARGET: Target = Target { name: "session_id", check, seeds };

fn check(bytes: &[u8]) -> Outcome {
    let Ok(text) = str::from_utf8(bytes) else { return Outcome::Refused };
    let Ok(id) = memory::within(0, || SessionId::decode(text)) else { return Outcome::Refused };
    assert_eq!(id.encode(), text);
    assert!(!format!("{id} {id:?}").contains(text));
    let heir = id.heir();
    assert!(heir.is_minted() && heir.slot() == id.slot());
    Outcome::Read
}

fn seeds() -> Vec<Vec<u8>> {
    let ids =
        [SessionId::from_bytes([0; 16]), SessionId::from_bytes([0xab; 16]).heir(), SessionId::from_bytes([0xff; 16])];
    ids.map(|id| id.encode().into_bytes()).to_vec()
}
