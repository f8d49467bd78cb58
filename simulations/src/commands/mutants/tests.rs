//! The tests that are to find what the simulations do not.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use sessionmesh_simulations::mutants::list::{Area, Mutant};
use sessionmesh_simulations::mutants::tree::CHOICE;

use super::build::Built;
use crate::commands::real_time;

/// A program of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// Unit tests of the rules.
    Core,
    /// Unit tests of the library.
    Library,
    /// Unit tests of the layer for axum.
    Axum,
    /// Clusters in one process.
    Inproc,
    /// Session stores of other crates.
    Stores,
}

/// A program of tests that takes longer than this has been made to wait for ever.
const SUITE_MAX: Duration = Duration::from_secs(300);
/// How often is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Suite {
    pub(super) const ALL: [Self; 5] = [Self::Core, Self::Library, Self::Axum, Self::Inproc, Self::Stores];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Core => "sessionmesh-core",
            Self::Library => "sessionmesh",
            Self::Axum => "sessionmesh-axum",
            Self::Inproc => "inproc",
            Self::Stores => "stores",
        }
    }

    /// What cargo is to build.
    pub(super) const fn target(self) -> &'static [&'static str] {
        match self {
            Self::Core => &["-p", "sessionmesh-core"],
            Self::Library => &["-p", "sessionmesh"],
            // With those of the tests in one process it has the features that its own need.
            Self::Axum => &["-p", "sessionmesh-axum"],
            Self::Inproc => &["-p", "sessionmesh-tests", "--test", "inproc"],
            Self::Stores => &["-p", "sessionmesh-tests", "--test", "stores"],
        }
    }

    /// What its file is called, but for a hash.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Core => "sessionmesh_core",
            Self::Library => "sessionmesh",
            Self::Axum => "sessionmesh_axum",
            Self::Inproc => "inproc",
            Self::Stores => "stores",
        }
    }

    /// Where it is started.
    const fn folder(self) -> &'static str {
        match self {
            Self::Core => "crates/sessionmesh-core",
            Self::Library => "crates/sessionmesh",
            Self::Axum => "crates/sessionmesh-axum",
            Self::Inproc | Self::Stores => "tests",
        }
    }

    /// Which of its tests can find a mutant of this area: those whose names have one of these in them, all if there are none;
    /// nothing if there are no such tests.
    pub(super) const fn finds(self, area: Area) -> Option<&'static [&'static str]> {
        match (self, area) {
            (Self::Core | Self::Library, Area::Layer) => None,
            (Self::Core | Self::Library, _) | (Self::Stores, Area::Records) => Some(&[]),
            (Self::Axum, Area::Layer | Area::Moves) => Some(&[]),
            (Self::Inproc, Area::Engine | Area::Core) => Some(&[]),
            (Self::Inproc, Area::Users) => Some(&["users::", "user_limit::"]),
            (Self::Inproc, Area::Moves) => Some(&["moves::", "renew::", "axum_move::"]),
            (Self::Inproc, Area::Layer) => Some(&["axum_"]),
            (Self::Axum | Self::Inproc | Self::Stores, _) => None,
        }
    }
}

/// The first test that fails with this mutant and not without it.
pub(super) fn failing(built: &Built, mutant: &Mutant) -> Result<Option<String>, String> {
    // The tests beside what it changes come first: if they find it, which they do most often, that takes a second.
    let near = near(&mutant.entry.file);
    let nearby = built.suites.iter().filter_map(|(suite, program)| {
        let (folder, filter) = near.as_ref()?;
        (folder == suite.folder()).then(|| (*suite, program, vec![filter.as_str()]))
    });
    let all = built.suites.iter().filter_map(|(suite, program)| {
        let filters = suite.finds(mutant.area)?;
        Some((*suite, program, filters.to_vec()))
    });
    for (suite, program, filters) in nearby.chain(all) {
        let failed = match run(built, suite, program, mutant.number, &filters)? {
            Ran::Passed => continue,
            Ran::Hung => return Ok(Some(format!("{} does not end", suite.name()))),
            Ran::Failed(failed) => failed,
        };
        if failed.is_empty() {
            return Ok(Some(format!("{} ends in the middle", suite.name())));
        }
        // A test that fails without the mutant as well has found nothing.
        for test in &failed {
            let alone = [test.as_str(), "--exact"];
            if let Ran::Passed = run(built, suite, program, 0, &alone)? {
                return Ok(Some(format!("{} {test}", suite.name())));
            }
        }
    }
    Ok(None)
}

/// The folder of the package that a file is in, and what the names of the tests beside it begin with.
fn near(file: &str) -> Option<(String, String)> {
    let (folder, module) = file.split_once("/src/")?;
    let module = module.split('/').next()?.trim_end_matches(".rs");
    Some((folder.to_owned(), format!("{module}::")))
}

enum Ran {
    Passed,
    /// These tests failed; none are known if the program died.
    Failed(Vec<String>),
    Hung,
}

fn run(built: &Built, suite: Suite, program: &Path, number: usize, filters: &[&str]) -> Result<Ran, String> {
    let failed = |error: io::Error| format!("the tests of {} cannot be run: {error}", suite.name());
    let told = built.tree.with_extension("tests.log");
    let log = File::create(&told).map_err(failed)?;
    let mut tests = Command::new(program);
    tests.args(filters).current_dir(built.tree.join(suite.folder())).env(CHOICE, number.to_string());
    // Most tests wait most of the time. Rules are tested with fewer cases than usual, as for planted mistakes.
    tests.env("RUST_TEST_THREADS", "6").env("PROPTEST_CASES", "64");
    tests.stdin(Stdio::null()).stderr(Stdio::null()).stdout(log);
    let Some(status) = wait(&mut tests).map_err(failed)? else { return Ok(Ran::Hung) };
    if status.success() {
        return Ok(Ran::Passed);
    }
    let told = std::fs::read(&told).map_err(failed)?;
    let told = String::from_utf8_lossy(&told);
    let name = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    Ok(Ran::Failed(told.lines().filter_map(name).collect()))
}

/// How it ended; none if it had to be ended.
fn wait(tests: &mut Command) -> io::Result<Option<ExitStatus>> {
    let mut child = tests.spawn()?;
    let until = real_time::now() + SUITE_MAX;
    while real_time::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
