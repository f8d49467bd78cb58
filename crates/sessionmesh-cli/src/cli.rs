//! The command line, and what its exit codes mean.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::log::Log;
use crate::{demo, multicast_check, node, terminal};

const EXIT_CODES: &str = "\
Exit codes:
  0  it did what was asked
  1  it could not: a step of the demo failed, sessions were not handed over,
     datagrams did not arrive
  2  wrong usage or configuration: an unknown option or key, an address or a
     node name that is in use";

/// Sessions that survive their server, without a session server.
#[derive(Debug, Parser)]
#[command(name = "sessionmesh", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Log to stderr from error, warn, info, debug or trace on [default: RUST_LOG, or warn]
    #[arg(long, global = true, value_name = "LEVEL", display_order = 100)]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a small cluster on this machine, kill a node, and see that nobody is logged out
    #[command(after_help = EXIT_CODES)]
    Demo(DemoArgs),
    /// Run one node with the example application
    #[command(after_help = concat!(
        "The file is TOML: the keys of sessionmesh; `http`, the address of the\n",
        "application; and `route_cookie`, the name of a cookie that tells a balancer\n",
        "the node, if there is to be one:\n\n",
        "  name = \"web-1\"\n  bind = \"127.0.0.1:7700\"\n  http = \"127.0.0.1:8080\"\n\n",
        "Each key is also an environment variable, which wins: SESSIONMESH_NAME, ...\n",
        "SIGTERM or Ctrl-C hands all sessions over and then stops; a second one stops\n",
        "at once.\n\n",
        "Exit codes:\n",
        "  0  stopped, and every session was handed over, or there was none\n",
        "  1  stopped, and some sessions were not handed over\n",
        "  2  not started: the configuration is wrong, or an address or the name is in\n",
        "     use\n",
        "  3  stopped by itself: a part of the node failed; start it again\n",
        "  4  stopped, and no other node stayed to take the sessions: they have ended.\n",
        "     So it is with the last node when all are stopped"
    ))]
    Node(NodeArgs),
    /// Check whether multicast datagrams arrive, before trusting discovery to them
    #[command(after_help = concat!(
        "Without --send and --listen each interface sends to itself, and so does the\n",
        "one that a node with the settings of this environment would take. That shows\n",
        "that this host can do multicast, not that the network carries it. For that,\n",
        "run --listen on one machine and --send on another.\n\n",
        "Exit codes:\n",
        "  0  every interface works; with --listen: something was heard\n",
        "  1  an interface failed; with --listen: nothing was heard\n",
        "  2  wrong usage"
    ))]
    MulticastCheck(MulticastArgs),
}

/// What `demo` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=16))]
    pub(crate) nodes: u16,
    /// Whether every node holds every session, or a primary and its backups
    #[arg(long, value_enum, default_value_t = Mode::PrimaryBackup)]
    pub(crate) mode: Mode,
    /// Copies of a session besides the primary's, in primary-backup
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) backups: u8,
    /// How the nodes find each other: by beacons on loopback, or by the first node's address
    #[arg(long, value_enum, default_value_t = Discovery::Multicast)]
    pub(crate) discovery: Discovery,
    /// HTTP port of the first node, the others use the next ones; 0 takes any free ports
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) http_port: u16,
    /// Stop after the play instead of running until Ctrl-C
    #[arg(long)]
    pub(crate) once: bool,
}

/// What `node` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// Configuration file; without it, environment variables alone
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How long a stop waits for the hand-over
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,
    /// How long /healthz says 503 before the hand-over starts, for a balancer's checks to notice
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) notice: Duration,
    /// Exit when stdin is closed, so that no node outlives the demo that started it
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

/// What `multicast-check` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct MulticastArgs {
    /// Multicast group
    #[arg(long, default_value = "228.0.0.4", value_parser = group)]
    pub(crate) group: Ipv4Addr,
    /// UDP port
    #[arg(long, default_value_t = 45564, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Check only the interface with this address [default: every IPv4 interface]
    #[arg(long, value_name = "IP")]
    pub(crate) interface: Option<Ipv4Addr>,
    /// Configuration file of a node: check the interface that this node would take, too
    #[arg(long, value_name = "FILE", conflicts_with_all = ["interface", "send", "listen"])]
    pub(crate) config: Option<PathBuf>,
    /// Only send, for a --listen on another machine
    #[arg(long, conflicts_with = "listen")]
    pub(crate) send: bool,
    /// Only listen, for a --send on another machine
    #[arg(long)]
    pub(crate) listen: bool,
    /// How long to send or listen [default: 10 with --send or --listen; else 1, which ends early once all is well]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,
    /// How many networks a datagram may cross; more than 1 needs routers that forward multicast
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8))]
    pub(crate) ttl: u8,
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

/// Why a command ends with another exit code than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for did not come about; the message is none if it has been printed.
    Failed(Option<String>),
    /// It was not even tried: usage or configuration is wrong.
    Refused(String),
    /// The node stopped by itself, because a part of it had failed.
    Died(String),
    /// The node stopped as it was told to, and there was nobody to take its sessions.
    NobodyStayed(String),
}

/// For so long the last words of the program may wait for whoever reads them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The program: reads the command line, runs the command, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    let log = match Log::start(std::io::stderr()) {
        Ok(log) => log,
        // Without a thread for the log there are none for a node either.
        Err(_) => return ExitCode::from(1),
    };
    // What a panic says by itself would wait for stderr, and with it the thread that panicked.
    let panics = log.clone();
    std::panic::set_hook(Box::new(move |panic| panics.say(&format!("{panic}"))));
    let outcome = start_log(cli.log.as_deref(), &log, colours).and_then(|()| run(cli, &log));
    let (code, message) = match outcome {
        Ok(()) => (0, None),
        Err(Failure::Failed(message)) => (1, message),
        Err(Failure::Refused(message)) => (2, Some(message)),
        Err(Failure::Died(message)) => (3, Some(message)),
        Err(Failure::NobodyStayed(message)) => (4, Some(message)),
    };
    if let Some(message) = message {
        let bad = if colours { terminal::BAD } else { anstyle::Style::new() };
        log.say(&format!("{bad}error:{bad:#} {message}"));
    }
    log.flush(LAST_WORDS);
    ExitCode::from(code)
}

fn run(cli: Cli, log: &Log) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Failed(Some(format!("cannot start the runtime: {error}"))))?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(&args, cli.log).await,
            Command::Node(args) => node::run(&args, log).await,
            Command::MulticastCheck(args) => multicast_check::run(&args).await,
        }
    });
    // A name look-up of the node may still be under way; nobody needs its answer.
    runtime.shutdown_background();
    outcome
}

fn start_log(wanted: Option<&str>, log: &Log, colours: bool) -> Result<(), Failure> {
    let usual = EnvFilter::builder().with_default_directive(tracing::Level::WARN.into());
    let (filter, wrong) = match wanted {
        Some(text) => {
            let parsed = EnvFilter::builder().parse(text);
            let refused = |error| Failure::Refused(format!("--log {text}: {error}; give a level, for example `info`"));
            (parsed.map_err(refused)?, None)
        }
        None => match usual.clone().from_env() {
            Ok(filter) => (filter, None),
            Err(error) => (usual.parse_lossy(""), Some(error)),
        },
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log.clone())
        .log_internal_errors(false)
        .with_ansi(colours)
        .init();
    if let Some(error) = wrong {
        tracing::warn!(%error, "RUST_LOG is not understood; logging from warn on");
    }
    Ok(())
}

fn group(text: &str) -> Result<Ipv4Addr, String> {
    let is_group = |addr: &Ipv4Addr| addr.is_multicast();
    text.parse().ok().filter(is_group).ok_or_else(|| "not an address from 224.0.0.0 to 239.255.255.255".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_a_multicast_address_is_a_group() {
        assert_eq!(group("228.0.0.4"), Ok(Ipv4Addr::new(228, 0, 0, 4)));
        for other in ["10.0.0.1", "ff02::1", ""] {
            assert!(group(other).is_err(), "{other}");
        }
    }
}
