//! Fuzz targets for every decoder of bytes from outside, as functions: a fuzzer calls them by the programs in `fuzz_targets`, and
//! the test `replay` on the seeds in `corpus` and on mutations of them.
//!
//! A target panics when a promise is broken: not only "it does not panic", but also what is read is what was written, no
//! more memory is taken than the bytes justify, and nobody without the key is let in.

pub mod memory;
pub mod mutation;
pub mod script;
pub mod stranger;
pub mod targets;

use sessionmesh::Secret;

/// What a target did with an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was what the decoder reads.
    Read,
    /// It was refused, as nearly all inputs of a fuzzer are.
    Refused,
}

impl Outcome {
    /// Read, or refused.
    #[must_use]
    pub const fn of(was_read: bool) -> Self {
        if was_read { Self::Read } else { Self::Refused }
    }
}

/// One decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// As its program and the folder of its seeds are called.
    pub name: &'static str,
    check: fn(&[u8]) -> Outcome,
    seeds: fn() -> Vec<Vec<u8>>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Target {
    /// Gives the decoder these bytes.
    ///
    /// # Panics
    ///
    /// When a promise is broken.
    #[must_use]
    pub fn run(&self, bytes: &[u8]) -> Outcome {
        (self.check)(bytes)
    }

    /// Honest inputs, to begin with.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// A secret of nobody: it stands here, for all to read. What a seed was sealed with must be known when the seed is read.
///
/// # Panics
///
/// Never.
#[must_use]
pub fn public_secret() -> Secret {
    Secret::parse("6f2c5f1d0b7a94e3c8d2417f9ab6035ee19d84c7603bf25a7c1e98d4b3f0a265").expect("it is one")
}
