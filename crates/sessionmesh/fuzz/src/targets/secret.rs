//! The text of a secret.

use sessionmesh::Secret;

use super::super::public_secret;
use crate::{Outcome, Target, memory};

/// What reads secrets: what it takes has enough bytes and is read again from its own text; no output shows the text.
pub const TARGET: Target = Target { name: "secret", check, seeds };

fn check(bytes: &[u8]) -> Outcome {
    let Ok(text) = str::from_utf8(bytes) else { return Outcome::Refused };
    let parsed = memory::within(256 + 2 * text.len(), || Secret::parse(text));
    let shown = format!("{parsed:?} {}", parsed.as_ref().err().map(ToString::to_string).unwrap_or_default());
    let said = text.trim();
    assert!(said.len() < 24 || said.contains(' ') || !shown.contains(said), "an output shows the text");
    let Ok(secret) = parsed else { return Outcome::Refused };
    let written = secret.to_text();
    assert!((44..=1_368).contains(&written.len()), "a secret has 32 to 1,024 bytes");
    assert_eq!(Secret::parse(&written).as_ref(), Ok(&secret));
    Outcome::Read
}

/// Texts of the public secret: in base64, and in hexadecimal.
pub(super) fn texts() -> [String; 2] {
    let base64 = public_secret().to_text().to_string();
    [base64, "6F2C5F1D0B7A94E3C8D2417F9AB6035EE19D84C7603BF25A7C1E98D4B3F0A265".to_owned()]
}

fn seeds() -> Vec<Vec<u8>> {
    let [base64, hexadecimal] = texts();
    let url_safe = base64.replace('+', "-").replace('/', "_");
    let unpadded = base64.trim_end_matches('=').to_owned();
    let spaced = format!("  {hexadecimal}\n");
    [base64, hexadecimal, url_safe, unpadded, spaced].map(String::into_bytes).to_vec()
}
