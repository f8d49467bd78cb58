//! `sessionmesh completions` and `sessionmesh man`: for shells and for readers of manuals.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;

/// What `completions` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that is to complete commands
    #[arg(value_enum)]
    shell: Shell,
}

/// What `man` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this folder, instead of the one of the program to stdout
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

const PROGRAM: &str = "sessionmesh";

/// Prints the script.
pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, PROGRAM, &mut script);
    print(&script)
}

/// Prints or writes manual pages.
pub(crate) fn man(args: &ManArgs, program: Command) -> Result<(), Failure> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(program).render(&mut page).map_err(|error| failed("make the page", &error))?;
        return print(&page);
    };
    clap_mangen::generate_to(program, folder)
        .map_err(|error| failed(&format!("write pages to {}", folder.display()), &error))
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| failed("write to stdout", &error))
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::Failed(Some(format!("cannot {what}: {error}")))
}
