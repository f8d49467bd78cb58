//! The settings that a member says it has, which gossip carries as text.

use sessionmesh::Terms;

use crate::{Outcome, Target, memory};

/// What reads terms: what it reads is within the ranges of the settings, and written and read again it is the same.
pub const TARGET: Target = Target { name: "terms", check, seeds };

fn check(bytes: &[u8]) -> Outcome {
    let Ok(text) = str::from_utf8(bytes) else { return Outcome::Refused };
    let Ok(terms) = memory::within(0, || text.parse::<Terms>()) else { return Outcome::Refused };
    assert_eq!(terms.to_string().parse(), Ok(terms));
    Outcome::Read
}

fn seeds() -> Vec<Vec<u8>> {
    let defaults = "1 500 1000 1800000 900000 1000000 256 256 1048576 4194304 0 0";
    let later = format!("{defaults} 17 something else");
    let largest = vec![u64::MAX.to_string(); 12].join(" ");
    [defaults, &later, &largest].map(|text| text.as_bytes().to_vec()).to_vec()
}
