//! `sessionmesh demo`: a small cluster on this machine, and a fail-over before your eyes.

mod arguments;
mod child;
mod cluster;
pub(crate) mod play;

use std::time::Duration;

use tokio::time::sleep;

pub(crate) use self::arguments::DemoArgs;
use self::cluster::Cluster;
use crate::failure::Failure;
use crate::stop::Stop;
use crate::terminal::{BOLD, FAINT, ODD};

/// Time between two looks at whether all nodes still run.
const LOOK: Duration = Duration::from_millis(200);

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
    invite(cluster);
    tokio::select! {
        () = watch(cluster) => Err(Failure::Failed(Some("no node is left".to_owned()))),
        () = stop.asked() => {
            anstream::println!();
            Ok(())
        }
    }
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
fn invite(cluster: &Cluster) {
    let [first, second, ..] = cluster.nodes.as_slice() else { return };
    let (bold, faint) = (BOLD, FAINT);
    let (from, to) = (first.ready.http, second.ready.http);
    let pid = first.pid().unwrap_or_default();
    anstream::println!(
        "
The cluster keeps running. Open http://{from} in a browser, log in, then:

  {bold}kill -9 {pid}{bold:#}  {faint}and open http://{to}: you are still logged in{faint:#}

{faint}Ctrl-C ends all nodes.{faint:#}"
    );
}

/// Tells of nodes that end; returns when none is left.
async fn watch(cluster: &mut Cluster) {
    while !cluster.nodes.is_empty() {
        for ended in cluster.ended().await {
            let odd = ODD;
            anstream::println!("{odd}{ended}{odd:#}");
        }
        sleep(LOOK).await;
    }
}
