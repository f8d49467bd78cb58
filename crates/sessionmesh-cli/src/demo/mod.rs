//! `sessionmesh demo`: a small cluster on this machine, and a fail-over before your eyes.

mod arguments;
mod child;
mod cluster;
pub(crate) mod play;
mod stage;

use std::net::SocketAddr;
use std::process::Stdio;

pub(crate) use self::arguments::DemoArgs;
use self::cluster::Cluster;
use self::stage::Stage;
use crate::failure::Failure;
use crate::stop::Stop;
use crate::terminal::{BOLD, FAINT};

/// Requests a second of the visitors that the page can switch on, if nothing else is said.
const LOAD: u32 = 100;

/// Runs the demo. However it ends, its nodes end with it.
pub(crate) async fn run(args: &DemoArgs, log: Option<String>) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let mut cluster = Cluster::new(args, log).await?;
    let outcome = act(args, &mut cluster, &mut stop).await;
    cluster.end().await;
    outcome
}

async fn act(args: &DemoArgs, cluster: &mut Cluster, stop: &mut Stop) -> Result<(), Failure> {
    tokio::select! {
        played = start_and_play(args, cluster) => played?,
        () = stop.asked() => {
            anstream::println!();
            return Err(Failure::Failed(Some("stopped before the demonstration was over".to_owned())));
        }
    }
    if args.once {
        return Ok(());
    }
    let first = cluster.nodes.first().map(|node| node.ready.http);
    let mut stage = Stage::open(cluster, args.page, args.load.unwrap_or(LOAD)).await?;
    invite(&stage, first);
    if args.load.is_some() {
        stage.load().switch(true);
    }
    if args.open {
        browse(stage.at());
    }
    tokio::select! {
        () = stage.run(cluster) => {}
        () = stop.asked() => anstream::println!(),
    }
    stage.end().await;
    Ok(())
}

async fn start_and_play(args: &DemoArgs, cluster: &mut Cluster) -> Result<(), Failure> {
    cluster.start(args).await?;
    let played = play::play(cluster).await;
    if played.is_err() {
        for ended in cluster.ended().await {
            anstream::eprintln!("{ended}; see more with --log info");
        }
    }
    played
}

/// Says what can be done with the running cluster.
fn invite(stage: &Stage, first: Option<SocketAddr>) {
    let (bold, faint) = (BOLD, FAINT);
    let shop =
        first.map_or_else(String::new, |http| format!("\n{faint}The shop on the first node: http://{http}{faint:#}"));
    anstream::println!(
        "
The cluster keeps running. Kill, freeze and cut off nodes, and watch:

  {bold}http://{}/{bold:#}
{shop}
{faint}Ctrl-C ends all nodes.{faint:#}",
        stage.at()
    );
}

/// Opens the page in the browser of this desktop, if there is one.
fn browse(at: SocketAddr) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let opened = std::process::Command::new(program)
        .arg(format!("http://{at}/"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opened {
        anstream::eprintln!("no browser could be opened ({program}: {error})");
    }
}
