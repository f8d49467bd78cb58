//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::http::{self, site};

/// Sessionmesh measured beside what people would use instead: in one run, in turns, as ratios.
#[derive(Debug, Parser)]
#[command(name = "sessionmesh-bench")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Whole requests over HTTP: the same axum application without sessions, with MemoryStore, with Redis, with Sessionmesh
    Http(HttpArgs),
    /// Serves one variant, for `http`, which starts it
    #[command(hide = true)]
    Site(site::SiteArgs),
}

/// How long and how hard.
#[derive(Clone, Debug, Args)]
pub(crate) struct HttpArgs {
    /// How often each variant is measured; its median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// How long each measurement takes, in milliseconds
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    pub(crate) window_ms: u64,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) connections: u16,
    /// Bytes of the attribute that is read and written
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) bytes: u32,
    /// A run of half a minute: fewer and shorter rounds
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write every figure to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl HttpArgs {
    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { self.rounds.min(2) } else { self.rounds }
    }

    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(if self.quick { self.window_ms.min(700) } else { self.window_ms })
    }
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            // The load comes from one thread: the servers get what it leaves.
            Command::Http(args) => {
                tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(http::run(&args))
            }
            Command::Site(args) => {
                tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(site::serve(args))
            }
        }
    }
}
