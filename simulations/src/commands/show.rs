//! The scenario of a seed.

use clap::Args;

use super::Outcome;
use super::arguments::Which;
use super::console::say;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, String> {
    say(arguments.which.named()?.scenario.to_string().trim_end());
    Ok(Outcome::Fine)
}
