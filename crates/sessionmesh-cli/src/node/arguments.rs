//! What `node` takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// What `node` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// Configuration file; without it, only environment variables are used
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Serve metrics, health and the admin API at this address, for example 127.0.0.1:7777
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    /// How long a stop waits for the hand-over
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,
    /// How long /healthz answers 503 before the hand-over starts, so that a balancer's checks notice
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) notice: Duration,
    /// Exit when stdin is closed, so that no node outlives the demo that started it
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}
