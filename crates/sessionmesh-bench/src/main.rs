//! Sessionmesh measured beside what people would use instead: in one run, in turns, as ratios.

mod cluster;
mod commands;
mod engine;
mod failover;
mod growth;
mod http;
mod latencies;
mod memory;
mod micro;
mod monotonic;
mod node;
mod payload;
mod processor;
mod report;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match commands::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
