//! What `demo` takes.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

/// What `demo` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=16))]
    pub(crate) nodes: u16,
    /// Which nodes hold a session: every node, or a primary and its backups
    #[arg(long, value_enum, default_value_t = Mode::PrimaryBackup)]
    pub(crate) mode: Mode,
    /// Copies of a session besides the primary's, in mode primary-backup
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) backups: u8,
    /// How the nodes find each other: by beacons on loopback, or by the first node's address
    #[arg(long, value_enum, default_value_t = Discovery::Multicast)]
    pub(crate) discovery: Discovery,
    /// HTTP port of the first node; the others use the next ports; 0 uses any free ports
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) http_port: u16,
    /// Where the page is served on which nodes can be killed, frozen, cut off and started; port 0 is any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) page: SocketAddr,
    /// Open the page in a browser
    #[arg(long, conflicts_with = "once")]
    pub(crate) open: bool,
    /// Switch on visitors: so many requests a second
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..=5000), conflicts_with = "once")]
    pub(crate) load: Option<u32>,
    /// Stop after the demonstration instead of running until Ctrl-C
    #[arg(long)]
    pub(crate) once: bool,
}

/// Which nodes hold a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    AllToAll,
    PrimaryBackup,
}

/// How the nodes of a demo find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Discovery {
    Multicast,
    Seeds,
}
