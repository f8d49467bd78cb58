//! One run, with as much kept of it as was asked for.

use std::fs::File;
use std::io::{BufWriter, stdout};
use std::path::PathBuf;

use clap::Args;
use sessionmesh_simulations::planted::Planted;
use sessionmesh_simulations::record::timeline::Window;
use sessionmesh_simulations::record::{Recorder, diagram, text};
use sessionmesh_simulations::run::{Extras, Report, play_with};
use sessionmesh_simulations::scenario::Scenario;

use super::console::say;

/// What shall be kept of a run.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// Print what every node did, in the order of time
    #[arg(long)]
    trace: bool,
    /// Draw what every node did, as a page to open in a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show heartbeats, too
    #[arg(long)]
    heartbeats: bool,
    /// Show only what happened from this moment on [page: default 4 s before the end]
    #[arg(long, value_name = "MS")]
    from_ms: Option<u64>,
    /// Show only what happened until this moment
    #[arg(long, value_name = "MS")]
    to_ms: Option<u64>,
}

/// Plays `scenario`, with a bug planted if there is one, and writes what is wanted.
pub(super) fn play_wanted(scenario: &Scenario, bug: Option<&Planted>, wanted: &Wanted) -> Result<Report, String> {
    let recorder = if wanted.trace || wanted.html.is_some() { Recorder::on() } else { Recorder::off() };
    if (scenario.secret || scenario.certificates) && (wanted.trace || wanted.html.is_some()) {
        say(
            "what these nodes say is sealed and not shown: replay a file without `secret: true` and `certificates: true`\n",
        );
    }
    let extras = Extras { bug: bug.map(|planted| planted.bug), recorder: recorder.clone() };
    let report = play_with(scenario, &extras);
    let window = (wanted.from_ms.is_some() || wanted.to_ms.is_some())
        .then(|| Window { from_ms: wanted.from_ms.unwrap_or(0), to_ms: wanted.to_ms.unwrap_or(u64::MAX) });
    if wanted.trace {
        let options = text::Options { window: window.unwrap_or(Window::ALL), background: wanted.heartbeats };
        // A reader that has seen enough closes the pipe.
        let _ = text::write(&recorder.timeline(), options, BufWriter::new(stdout().lock()));
    }
    if let Some(path) = &wanted.html {
        let options = diagram::Options { title: title(scenario), window, background: true };
        File::create(path)
            .and_then(|file| diagram::write(&recorder.timeline(), &options, BufWriter::new(file)))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(report)
}

fn title(scenario: &Scenario) -> String {
    format!("Seed {}, {}\n{scenario}", scenario.seed, scenario.kind.name())
}
