//! Faults for clusters of real processes in network namespaces, a checker of what their visitors were told, and the same
//! faults for what people would use instead. How to run it: the README of the simulations, "On real processes".

mod app;
mod ask;
mod checker;
mod clock;
mod compare;
mod fault;
mod host;
mod hunt;
mod network;
mod system;
mod tomcat;
mod visitor;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What is missing on this machine: exit code 2.
#[derive(Debug)]
struct Lacking(String);

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

/// Real nodes, real faults, and whether the promises hold.
#[derive(Debug, Parser)]
#[command(name = "nemesis", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play faults against a cluster, and compare what visitors were told with what is promised
    Hunt(hunt::HuntArgs),
    /// Play five faults against this and other systems, and say what each lost
    Compare(compare::CompareArgs),
    /// One node with the application
    #[command(hide = true)]
    Serve(Box<app::ServeArgs>),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Hunt(args) => hunt::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Serve(args) => app::run(*args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("nemesis: {error:#}");
            ExitCode::from(if error.downcast_ref::<Lacking>().is_some() { 2 } else { 1 })
        }
    }
}
