//! Builds the copy of the source with all mutants in it, once.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use sessionmesh_simulations::mutants::list::Mutant;
use sessionmesh_simulations::mutants::tree;

use super::tests::Suite;
use crate::commands::console::say;

/// The root of the repository.
pub(super) static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let built_in = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // The program may have been taken elsewhere: then it is started where the folder is.
    let root = if built_in.is_dir() { built_in } else { Path::new("..") };
    root.canonicalize().unwrap_or_else(|_| root.to_owned())
});

/// What was built.
#[derive(Debug)]
pub(super) struct Built {
    /// The simulations.
    pub(super) simulations: PathBuf,
    /// The programs of the tests.
    pub(super) suites: Vec<(Suite, PathBuf)>,
    /// The copy of the source.
    pub(super) tree: PathBuf,
}

/// Copies the source, puts all `mutants` into it, and builds the simulations and these test `suites`.
pub(super) fn build(mutants: &[Mutant], plays: bool, suites: &[Suite]) -> Result<Built, String> {
    let shared = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let tests_target = shared.clone().unwrap_or_else(|| ROOT.join("target"));
    let simulations_target = shared.unwrap_or_else(|| ROOT.join("simulations/target"));
    // Not below the folder of the simulations, whose compiler flags are not for the tests.
    let tree = tests_target.join("mutants");
    tree::write(&ROOT, &tree, &tree::changed(&ROOT, mutants)?)?;
    let mut built = Built { simulations: PathBuf::new(), suites: Vec::new(), tree };
    if plays {
        say("building the simulations with all mutants");
        let arguments = ["build", "--release", "--locked", "--bin", "sessionmesh-mutants"];
        cargo(&built.tree.join("simulations"), &simulations_target, &arguments)?;
        built.simulations = simulations_target.join("release/sessionmesh-mutants");
    }
    if !suites.is_empty() {
        say("building the tests with all mutants");
        // At once: what they have in common is built once, with the same features.
        let mut arguments = vec!["test", "--no-run", "--locked", "--lib"];
        suites.iter().for_each(|suite| arguments.extend(suite.target()));
        let told = cargo(&built.tree, &tests_target, &arguments)?;
        for suite in suites {
            let path = executable(&told, suite.program());
            let path = path.ok_or_else(|| format!("cargo did not say where the tests of {} are", suite.name()))?;
            built.suites.push((*suite, built.tree.join(path)));
        }
    }
    Ok(built)
}

/// Where cargo says that the program of this name is, whose file has a hash behind it:
/// "  Executable unittests src/lib.rs (target/debug/deps/sessionmesh_core-0123456789abcdef)".
fn executable<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    told.lines().find_map(|line| {
        let (_, path) = line.trim().strip_prefix("Executable ")?.rsplit_once('(')?;
        let path = path.strip_suffix(')')?;
        let (file, _) = path.rsplit(['/', '\\']).next()?.rsplit_once('-')?;
        (file == name).then_some(path)
    })
}

/// What cargo has to say of it.
fn cargo(folder: &Path, target: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).args(arguments).arg("--target-dir").arg(target).stdout(Stdio::null());
    // Those of the program that runs: another folder has its own.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR").env("CARGO_TERM_COLOR", "never");
    let output = cargo.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(told) } else { Err(format!("what has all mutants in it cannot be built:\n{told}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_tests_is_found_by_its_whole_name() {
        let told = "   Compiling a v0.1.0 (/a)\n    Finished `test` profile in 1s\n\
                    \x20 Executable unittests src/lib.rs (/t/deps/sessionmesh_core-c3f2)\n\
                    \x20 Executable unittests src/lib.rs (/t/deps/sessionmesh-01ad)\n\
                    \x20 Executable tests/inproc/main.rs (t/deps/inproc-dd9e)\n";
        assert_eq!(executable(told, "sessionmesh"), Some("/t/deps/sessionmesh-01ad"));
        assert_eq!(executable(told, "sessionmesh_core"), Some("/t/deps/sessionmesh_core-c3f2"));
        assert_eq!((executable(told, "inproc"), executable(told, "stores")), (Some("t/deps/inproc-dd9e"), None));
    }
}
