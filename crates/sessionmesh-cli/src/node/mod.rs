//! `sessionmesh node`: one node with the example application, from its configuration to its orderly end.

mod app;
mod port;
mod ready_line;
pub(crate) mod settings;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessionmesh::{LeaveError, Mesh};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use self::app::App;
use self::port::Port;
pub(crate) use self::ready_line::ReadyLine;
use crate::cli::{Failure, NodeArgs};
use crate::stop::Stop;

/// How long requests that are under way may take, after the hand-over.
const REQUESTS_END: Duration = Duration::from_secs(5);

/// Runs the node until it is told to stop.
pub(crate) async fn run(args: &NodeArgs) -> Result<(), Failure> {
    if args.until_stdin_closes {
        end_with_stdin();
    }
    let variables =
        std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into()));
    let settings = settings::load(args.config.as_deref(), variables).map_err(Failure::Refused)?;
    let mut stop = Stop::listen()?;
    // The HTTP port first: if it is taken, no other node ever hears of this one.
    let port = Port::take(settings.http).map_err(Failure::Refused)?;
    let starting = Mesh::builder().config(settings.mesh).start();
    let mesh = tokio::select! {
        started = starting => started.map_err(|error| Failure::Refused(error.to_string()))?,
        () = stop.asked() => return Ok(()),
    };
    let (listener, http) = port.open().map_err(Failure::Refused)?;
    let app = App { mesh: mesh.clone(), stopping: Arc::default() };
    let stopping = app.stopping.clone();
    let router = app::router(app, settings.route_cookie).map_err(|error| Failure::Refused(error.to_string()))?;
    let (end, ended) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        // Dropped without a word is as good as asked to end.
        let _ = ended.await;
    });
    let serving = tokio::spawn(async move { serving.await });
    tokio::select! {
        () = mesh.ready() => {
            say(&ReadyLine { name: mesh.name().to_owned(), http, replication: mesh.addr() });
            stop.asked().await;
        }
        () = stop.asked() => {}
    }
    tokio::select! {
        left = hand_over(&mesh, &stopping, args) => {
            let _ = end.send(());
            let _ = timeout(REQUESTS_END, serving).await;
            left.map_err(|error| Failure::Failed(Some(error.to_string())))
        }
        () = stop.asked() => Err(Failure::Failed(Some("stopped at once; nothing more was handed over".to_owned()))),
    }
}

/// Leaves the cluster while requests are still served.
async fn hand_over(mesh: &Mesh, stopping: &AtomicBool, args: &NodeArgs) -> Result<(), LeaveError> {
    stopping.store(true, Ordering::Relaxed);
    sleep(args.notice).await;
    tracing::info!("handing all sessions over");
    mesh.leave(args.drain).await
}

fn say(line: &ReadyLine) {
    anstream::println!("{line}");
    let _ = anstream::stdout().flush();
}

/// Ends this process when its stdin is closed, also if the parent was killed.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}
