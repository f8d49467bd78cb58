//! `sessionmesh demo`: a small cluster on this machine, and a fail-over before your eyes.

mod child;
mod cluster;
mod http;
mod play;

use std::time::Duration;

use tokio::time::sleep;

use self::cluster::Cluster;
use crate::cli::{DemoArgs, Failure};
use crate::stop::Stop;
use crate::terminal::{BOLD, FAINT, ODD};

/// Time between two looks at whether all nodes still run.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the demo. However it ends, its nodes end with it.
pub(crate) async fn run(args: &DemoArgs, log: Option<String>) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let mut cluster = tokio::select! {
        played = act(args, log) => played?,
        () = stop.asked() => {
            anstream::println!();
            return Err(Failure::Failed(Some("stopped before the play was over".to_owned())));
        }
    };
    if args.once {
        return Ok(());
    }
    invite(&cluster);
    tokio::select! {
        () = watch(&mut cluster) => Err(Failure::Failed(Some("no node is left".to_owned()))),
        () = stop.asked() => {
            anstream::println!();
            Ok(())
        }
    }
}

async fn act(args: &DemoArgs, log: Option<String>) -> Result<Cluster, Failure> {
    let mut cluster = Cluster::start(args, log).await?;
    if let Err(failure) = play::play(&mut cluster).await {
        for ended in cluster.ended().await {
            anstream::eprintln!("{ended}; see more with --log info");
        }
        return Err(failure);
    }
    Ok(cluster)
}

/// Says what can be done with the running cluster.
fn invite(cluster: &Cluster) {
    let [first, second, ..] = cluster.nodes.as_slice() else { return };
    let (bold, faint) = (BOLD, FAINT);
    let (from, to) = (first.ready.http, second.ready.http);
    let pid = first.pid().unwrap_or_default();
    anstream::println!(
        "
The cluster goes on. Open http://{from} in a browser, log in, then:

  {bold}kill -9 {pid}{bold:#}  {faint}and open http://{to}: you are still logged in{faint:#}

{faint}Ctrl-C ends all nodes.{faint:#}"
    );
}

/// Tells of nodes that end; returns when none is left.
async fn watch(cluster: &mut Cluster) {
    while !cluster.nodes.is_empty() {
        let mut left = Vec::new();
        for mut node in std::mem::take(&mut cluster.nodes) {
            match node.ended().await {
                Some(ended) => {
                    let odd = ODD;
                    anstream::println!("{odd}{ended}{odd:#}");
                }
                None => left.push(node),
            }
        }
        cluster.nodes = left;
        sleep(LOOK).await;
    }
}
