//! How thoroughly to measure.

use std::path::PathBuf;

use clap::Args;

/// How thoroughly a run measures.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// A minute's run: fewer and shorter rounds, smaller numbers. Its figures are rough
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often each figure is measured; the median counts
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: Option<u32>,
    /// Write every figure to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl RunArgs {
    /// How often to measure: what was asked for, or else `usual`, or less for a quick run.
    pub(crate) fn rounds(&self, usual: u32) -> u32 {
        self.rounds_or(usual, usual.min(2))
    }

    /// How often to measure: what was asked for, or else `usual`, or `quick` for a quick run.
    pub(crate) fn rounds_or(&self, usual: u32, quick: u32) -> u32 {
        self.rounds.unwrap_or(self.pick(usual, quick))
    }

    /// `usual`, or `quick` for a quick run.
    pub(crate) fn pick<T>(&self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }
}
