//! What may happen in a configuration of the model.

use crate::cluster::{Budget, NODES};

/// A configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its name.
    pub name: &'static str,
    /// How many nodes are there and ready in the beginning.
    pub nodes: usize,
    /// In which order the nodes rank for each session: the first two that are there own it.
    pub ranks: &'static [[usize; NODES]],
    /// What may happen.
    pub budget: Budget,
    /// Which nodes write: bits.
    pub writers: u8,
}

impl Bounds {
    /// How many sessions there are.
    #[must_use]
    pub const fn sessions(&self) -> usize {
        self.ranks.len()
    }
}
