//! Runs simulations: one seed, as many as there is time for, or all that every change must pass.

use std::process::ExitCode;

mod commands;

fn main() -> ExitCode {
    commands::main()
}
