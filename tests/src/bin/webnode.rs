//! The program `sessionmesh`, as tests of this package start it: cargo builds only the own programs of a package for its
//! tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    sessionmesh_cli::main()
}
