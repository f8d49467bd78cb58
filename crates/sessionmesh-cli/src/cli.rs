//! The command line, and what its exit codes mean.

use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config_check::{self, ConfigArgs};
use crate::demo::{self, DemoArgs};
use crate::failure::Failure;
use crate::keygen::{self, KeygenArgs};
use crate::log::Log;
use crate::multicast_arguments::MulticastArgs;
use crate::multicast_check;
use crate::node::{self, NodeArgs};
use crate::operator::{self, EndArgs, OperatorArgs, SessionArgs, UserArgs, WatchArgs};
use crate::shell::{self, CompletionsArgs, ManArgs};
use crate::terminal;

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure: a step of the demo failed, sessions were not handed over,
     datagrams did not arrive
  2  wrong usage or configuration: an unknown option or key, an address or a
     node name that is in use";

const OPERATOR_HELP: &str = "\
It asks a running node that was started with --admin. On the machine of that node\n\
no token is needed; elsewhere it is SESSIONMESH_ADMIN_TOKEN. --admin may also be\n\
SESSIONMESH_ADMIN.

Exit codes:
  0  done; for `status`: the node is ready
  1  the answer is no: not ready, no such session or user
  2  wrong usage, the node cannot be reached, or it refuses";

/// Sessions that survive their server, without a session server.
#[derive(Debug, Parser)]
#[command(name = "sessionmesh", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Lowest level to log to stderr: error, warn, info, debug or trace [default: RUST_LOG, or warn]
    #[arg(long, global = true, value_name = "LEVEL", display_order = 100)]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a small cluster on this machine, kill a node, and check that nobody is logged out
    #[command(after_help = EXIT_CODES)]
    Demo(DemoArgs),
    /// Run one node with the example application
    #[command(after_help = concat!(
        "The file is TOML. It has the keys of sessionmesh; `http`, the address of the\n",
        "application; and `route_cookie`, optional, the name of a cookie that names\n",
        "the node for a balancer:\n\n",
        "  name = \"web-1\"\n  bind = \"127.0.0.1:7700\"\n  http = \"127.0.0.1:8080\"\n\n",
        "Each key is also an environment variable, which overrides the file:\n",
        "SESSIONMESH_NAME, ...\n\n",
        "SIGTERM or Ctrl-C hands all sessions over and then stops; a second one stops\n",
        "at once.\n\n",
        "Exit codes:\n",
        "  0  stopped; every session was handed over, or there was none\n",
        "  1  stopped, but some sessions were not handed over\n",
        "  2  not started: the configuration is wrong, or an address or the node name\n",
        "     is in use\n",
        "  3  stopped by itself: a part of the node failed; start it again\n",
        "  4  stopped; no other node stayed to take the sessions, so they have ended.\n",
        "     This is normal for the last node when all nodes are stopped"
    ))]
    Node(NodeArgs),
    /// Make a cluster secret: with it, traffic between nodes is encrypted, and only who has it takes part
    #[command(after_help = concat!(
        "It is 32 random bytes in base64. Give the same one to every node: as `secret` in\n",
        "its file, in SESSIONMESH_SECRET, or in a file that `secret_file` names and that\n",
        "others on the machine cannot read (with --file it is made so).\n\n",
        "To change the secret of a running cluster: add the new one as a second line of\n",
        "the file on every node, then make it the first line on every node, then remove\n",
        "the old one. The nodes notice by themselves.\n\n",
        "Exit codes:\n",
        "  0  made\n",
        "  1  it could not be written, or the file exists\n",
        "  2  wrong usage"
    ))]
    Keygen(KeygenArgs),
    /// How a node is: ready or why not, what it holds, and what a person should know of
    #[command(after_help = OPERATOR_HELP)]
    Status(OperatorArgs),
    /// The members of the cluster, and the link to each
    #[command(after_help = OPERATOR_HELP)]
    Members(OperatorArgs),
    /// One session: its owners, and whether their copies are equal
    #[command(after_help = OPERATOR_HELP)]
    Session(SessionArgs),
    /// The sessions of a user, on whatever nodes they are
    #[command(after_help = OPERATOR_HELP)]
    User(UserArgs),
    /// End one session, or all sessions of a user
    #[command(after_help = OPERATOR_HELP)]
    End(EndArgs),
    /// What a node does, drawn as it happens: rates, members, events
    #[command(after_help = OPERATOR_HELP)]
    Top(OperatorArgs),
    /// What happens, as it happens: a line for each event, until the node stops
    #[command(after_help = OPERATOR_HELP)]
    Watch(WatchArgs),
    /// Have a node hand over all it holds and stop, as SIGTERM does
    #[command(after_help = OPERATOR_HELP)]
    Drain(OperatorArgs),
    /// Check settings, and compare them with those of a running node
    #[command(after_help = concat!(
        "Exit codes:\n",
        "  0  valid; with --against: as on the running node\n",
        "  1  valid, but another one than on the running node\n",
        "  2  not valid, wrong usage, or the node cannot be reached"
    ))]
    Config(ConfigArgs),
    /// Print a script that completes commands in a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them into a folder
    Man(ManArgs),
    /// Check whether multicast datagrams arrive, before you use them for discovery
    #[command(after_help = concat!(
        "Without --send and --listen, each interface sends to itself, and so does the\n",
        "one that a node with the settings of this environment would use. This shows\n",
        "that this host can do multicast, not that the network carries it. To check\n",
        "the network, run --listen on one machine and --send on another.\n\n",
        "Exit codes:\n",
        "  0  every interface works; with --listen: something was heard\n",
        "  1  an interface failed; with --listen: nothing was heard\n",
        "  2  wrong usage"
    ))]
    MulticastCheck(MulticastArgs),
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
            Command::Keygen(args) => keygen::run(&args),
            Command::Status(args) => operator::status(&args).await,
            Command::Members(args) => operator::members(&args).await,
            Command::Session(args) => operator::session(&args).await,
            Command::User(args) => operator::user(&args).await,
            Command::End(args) => operator::end(&args).await,
            Command::Config(args) => config_check::run(&args).await,
            Command::Completions(args) => shell::completions(&args, Cli::command()),
            Command::Man(args) => shell::man(&args, Cli::command()),
            Command::Top(args) => operator::top::run(&args).await,
            Command::Watch(args) => operator::watch(&args).await,
            Command::Drain(args) => operator::drain(&args).await,
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
            let refused = |error| Failure::Refused(format!("--log {text}: {error}; use a level, for example `info`"));
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
        tracing::warn!(%error, "RUST_LOG is invalid; logging warn and above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
