//! Sessionmesh measured beside what people would use instead: in one run, in turns, as ratios.

mod audit;
mod beside;
mod calls;
mod cluster;
mod commands;
mod counts;
mod engine;
mod failover;
mod flood;
mod footprint;
mod growth;
mod http;
mod idle;
mod join;
mod latencies;
mod memory;
mod micro;
mod monotonic;
mod node;
mod observed;
mod payload;
mod pinned;
mod processor;
mod report;
mod run_args;
mod sealed;
mod share;

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
