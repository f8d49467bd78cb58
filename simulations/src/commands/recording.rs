//! One run, with as much kept of it as was asked for.

use std::path::PathBuf;

use clap::Args;
use sessionmesh_simulations::planted::{self, Planted};
use sessionmesh_simulations::run::{Report, play};
use sessionmesh_simulations::scenario::Scenario;

/// What shall be kept of a run.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Print all that happened
    #[arg(long, hide = true)]
    trace: bool,
    /// Write all that happened to a page
    #[arg(long, value_name = "FILE", hide = true)]
    html: Option<PathBuf>,
    /// Keep only what happened from this moment on
    #[arg(long, value_name = "MS", hide = true)]
    from_ms: Option<u64>,
    /// Keep only what happened until this moment
    #[arg(long, value_name = "MS", hide = true)]
    to_ms: Option<u64>,
}

/// Plays `scenario`, with a bug planted if there is one, and writes what is wanted.
pub(super) fn play_wanted(scenario: &Scenario, bug: Option<&Planted>, wanted: &Wanted) -> Result<Report, String> {
    let Wanted { trace, html, from_ms, to_ms } = wanted;
    if *trace || html.is_some() || from_ms.is_some() || to_ms.is_some() {
        return Err("this build does not record runs".to_owned());
    }
    Ok(bug.map_or_else(|| play(scenario), |bug| planted::play_with(bug, scenario)))
}
