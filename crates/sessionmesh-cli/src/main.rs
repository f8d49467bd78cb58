//! The `sessionmesh` program. All of it is in the library part of this crate, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    sessionmesh_cli::main()
}
