//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::report::{Chapter, Figures, Machine, Page};
use crate::run_args::RunArgs;
use crate::{
    audit, beside, calls, counts, engine, failover, flood, footprint, growth, http, idle, join, micro, node, observed,
    sealed,
};

/// Sessionmesh measured beside what people would use instead: in one run, in turns, as ratios.
#[derive(Debug, Parser)]
#[command(name = "sessionmesh-bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The engine without HTTP: commits per second and their latency
    Engine(RunArgs),
    /// Whole requests over HTTP: the same application without sessions, with what people use now, and with Sessionmesh
    Http(RunArgs),
    /// Requests over HTTP to another build of this program and to this one, in turns within seconds
    Beside(beside::BesideArgs),
    /// What a crash, a hang and a slow peer cost: nodes as processes that are killed and stopped
    Failover(RunArgs),
    /// How much memory a session takes, on each node
    Memory(RunArgs),
    /// How long a newcomer takes to get its sessions, and what readers notice of it
    Join(RunArgs),
    /// What nodes take that have nothing to do
    Idle(RunArgs),
    /// What a secret costs: commits, writes over HTTP, joins and idle nodes with one and without, in turns
    Sealed(RunArgs),
    /// What it costs to be looked at: requests with the page open and metrics scraped each second, and without, in turns
    Observed(RunArgs),
    /// What visitors notice of a flood of forged ids, and what each costs
    Flood(RunArgs),
    /// What it costs that nodes compare their copies, where nothing differs
    Audit(RunArgs),
    /// What more nodes cost: commits and idling on 2 to 64 nodes, and a join at 1,000
    Growth(RunArgs),
    /// Single operations: time and allocations
    Micro(RunArgs),
    /// Instructions and allocations of single operations, counted by valgrind: compared with those that are noted
    Counts(counts::CountsArgs),
    /// System calls and context switches for each request over HTTP, as perf sees them
    Calls(RunArgs),
    /// All of them but `beside` and `counts`; writes docs/performance.md with its plots
    All(AllArgs),
    /// Serves one variant, for `http`, which starts it
    #[command(hide = true)]
    Site(http::site::SiteArgs),
    /// Runs one node, for parts that kill it
    #[command(hide = true)]
    Node(node::NodeArgs),
    /// Performs one operation, for `counts`, which has it counted
    #[command(hide = true)]
    Counted { operation: String },
}

#[derive(Clone, Debug, Args)]
struct AllArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The folder of performance.md
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))]
    docs: PathBuf,
}

/// What a subcommand does: it measures, notes the figures, and tells of them.
type Measure = fn(&RunArgs, &mut Figures) -> anyhow::Result<Chapter>;

/// What `all` measures, in this order.
const ALL: [(&str, Measure); 13] = [
    ("http", http::run),
    ("engine", engine::run),
    ("failover", failover::run),
    ("join", join::run),
    ("memory", footprint::run),
    ("idle", idle::run),
    ("sealed", sealed::run),
    ("observed", observed::run),
    ("flood", flood::run),
    ("micro", micro::run),
    ("calls", calls::run),
    ("audit", audit::run),
    ("growth", growth::run),
];

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if !matches!(self.command, Command::Node(_) | Command::Site(_) | Command::Counted { .. }) {
            end_on_signals()?;
        }
        match self.command {
            Command::Engine(args) => single(engine::run, &args),
            Command::Http(args) => single(http::run, &args),
            Command::Beside(args) => {
                let measure = |run: &RunArgs, figures: &mut Figures| beside::run(&args.baseline, run, figures);
                single(measure, &args.run)
            }
            Command::Failover(args) => single(failover::run, &args),
            Command::Memory(args) => single(footprint::run, &args),
            Command::Join(args) => single(join::run, &args),
            Command::Idle(args) => single(idle::run, &args),
            Command::Sealed(args) => single(sealed::run, &args),
            Command::Observed(args) => single(observed::run, &args),
            Command::Flood(args) => single(flood::run, &args),
            Command::Audit(args) => single(audit::run, &args),
            Command::Growth(args) => single(growth::run, &args),
            Command::Micro(args) => single(micro::run, &args),
            Command::Calls(args) => single(calls::run, &args),
            Command::Counts(args) => counts::run(&args),
            Command::Counted { operation } => counts::perform(&operation),
            Command::All(args) => all(&args),
            Command::Node(args) => node::serve(&args),
            Command::Site(args) => {
                tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(http::site::serve(args))
            }
        }
    }
}

/// Ends the program by SIGINT and SIGTERM, in all its parts: the one over HTTP listens for them, too, to remove its
/// servers, and whoever has listened once gets no more signals by default. Nodes end with their standard input.
fn end_on_signals() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tokio::time::sleep(REMOVED_WITHIN).await;
        });
        eprintln!("error: ended by a signal");
        std::process::exit(ENDED_BY_SIGNAL);
    });
    Ok(())
}

/// How long the part over HTTP may take to remove its servers.
const REMOVED_WITHIN: Duration = Duration::from_secs(3);
/// The exit code of shells for a program that SIGINT has ended.
const ENDED_BY_SIGNAL: i32 = 130;

fn single(measure: impl Fn(&RunArgs, &mut Figures) -> anyhow::Result<Chapter>, args: &RunArgs) -> anyhow::Result<()> {
    let mut figures = Figures::default();
    let chapter = measure(args, &mut figures)?;
    println!("\n{}", chapter.markdown(&figures, None));
    write_json(args, &figures, &Machine::here())
}

fn all(args: &AllArgs) -> anyhow::Result<()> {
    let machine = Machine::here();
    let mut figures = Figures::default();
    let mut chapters = Vec::new();
    for (name, measure) in ALL {
        println!("# {name}");
        let chapter = measure(&args.run, &mut figures).with_context(|| format!("`{name}` failed"))?;
        println!("\n{}", chapter.markdown(&figures, None));
        chapters.push(chapter);
        // After each part, so that a run that ends early keeps what it has.
        let page = Page { machine: &machine, quick: args.run.quick, figures: &figures, chapters: &chapters };
        page.write(&args.docs)?;
    }
    println!("written: {}", args.docs.join("performance.md").display());
    write_json(&args.run, &figures, &machine)
}

fn write_json(args: &RunArgs, figures: &Figures, machine: &Machine) -> anyhow::Result<()> {
    let Some(file) = &args.json else { return Ok(()) };
    let text = serde_json::json!({ "machine": machine, "quick": args.quick, "figures": figures.json() });
    write(file, &format!("{text:#}\n"))?;
    println!("all figures: {}", file.display());
    Ok(())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
