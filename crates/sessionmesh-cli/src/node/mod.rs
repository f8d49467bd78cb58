//! `sessionmesh node`: one node with the example application, from its configuration to its orderly end.

mod admin;
pub(crate) mod app;
mod arguments;
mod cuttable;
mod port;
mod ready_line;
pub(crate) mod settings;
mod visitors;

use std::future::pending;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use sessionmesh::{Failure as NodeFailure, Mesh};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::admin::AdminPort;
use self::app::App;
pub(crate) use self::arguments::NodeArgs;
use self::cuttable::{Cable, Cuttable};
use self::port::Port;
pub(crate) use self::ready_line::ReadyLine;
use self::visitors::{Visitors, visitors_max};
use crate::failure::Failure;
use crate::log::Log;
use crate::open_files;
use crate::stop::Stop;

/// What the demo says to a node that is to be cut off. Every other line plugs it in again.
pub(crate) const PULL: &str = "pull";
/// How long requests that are under way may take, once the port is closed.
const REQUESTS_END: Duration = Duration::from_secs(5);
/// The same when the node has failed, and each request is answered at once that something is wrong.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Runs the node until it is told to stop.
pub(crate) async fn run(args: &NodeArgs, log: &Log) -> Result<(), Failure> {
    let cable = Cable::default();
    if args.until_stdin_closes {
        follow_stdin(cable.clone());
    }
    let visitors_max = visitors_max(open_files::allow_all());
    let settings = settings::load(args.config.as_deref()).map_err(Failure::Refused)?;
    let mut stop = Stop::listen()?;
    // The HTTP port first: if it is taken, no other node ever hears of this one.
    let port = Port::take(settings.http).map_err(Failure::Refused)?;
    // Before the node starts: its latencies go to the recorder that is installed then.
    let admin = match args.admin.or(settings.admin.at) {
        Some(at) => Some(AdminPort::take(at, settings.admin).await.map_err(Failure::Refused)?),
        None => None,
    };
    let mut builder = Mesh::builder().config(settings.mesh);
    if args.until_stdin_closes {
        builder = builder.network(Arc::new(Cuttable(cable.clone())));
    }
    let starting = builder.start();
    let mesh = tokio::select! {
        started = starting => started.map_err(|error| Failure::Refused(error.to_string()))?,
        () = stop.asked() => return Ok(()),
    };
    let (listener, http) = port.open().map_err(Failure::Refused)?;
    let app = App { mesh: mesh.clone(), stopping: Arc::default(), lost_lines: log.lost() };
    let stopping = app.stopping.clone();
    let router = app::router(app, settings.route_cookie).map_err(|error| Failure::Refused(error.to_string()))?;
    let router = if args.until_stdin_closes { router.layer(from_fn_with_state(cable, over)) } else { router };
    let (close, closed) = oneshot::channel::<()>();
    let serving = axum::serve(Visitors::new(listener, visitors_max), router).with_graceful_shutdown(async {
        // Dropped without a word is as good as asked to end.
        let _ = closed.await;
    });
    let door = Door { close, serving: tokio::spawn(async move { serving.await }) };
    let (admin_at, drain) = (admin.as_ref().and_then(AdminPort::at), Arc::new(Notify::new()));
    if let Some(admin) = admin {
        admin.serve(mesh.clone(), drain.clone());
    }
    tokio::select! {
        () = say_when_ready(&mesh, http, admin_at) => {}
        () = stop.asked() => {}
        () = drain.notified() => {}
        failure = mesh.failed() => return Err(died(failure, &stopping, door).await),
    }
    tokio::select! {
        left = hand_over(&mesh, &stopping, door, args) => left,
        () = stop.asked() => Err(Failure::Failed(Some("stopped at once; nothing more was handed over".to_owned()))),
    }
}

/// Visitors come over the same cable: while it is pulled they get no answer, also those whose requests came before.
async fn over(State(cable): State<Cable>, request: Request, next: Next) -> Response {
    cable.plugged_in().await;
    let response = next.run(request).await;
    if cable.is_pulled() {
        cable.plugged_in().await;
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    response
}

/// The way in for visitors.
struct Door {
    close: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Door {
    /// Lets nobody in any more, and waits until those that are in have their answers.
    async fn close(self, patience: Duration) {
        let _ = self.close.send(());
        let _ = timeout(patience, self.serving).await;
    }
}

/// Never ends.
async fn say_when_ready(mesh: &Mesh, http: SocketAddr, admin: Option<SocketAddr>) {
    mesh.ready().await;
    if mesh.is_ready() {
        say(&ReadyLine { name: mesh.name().to_owned(), http, replication: mesh.addr(), admin });
    }
    pending().await
}

/// A node that has failed is of no use to visitors: the others serve them.
async fn died(failure: NodeFailure, stopping: &AtomicBool, door: Door) -> Failure {
    stopping.store(true, Ordering::Relaxed);
    door.close(LAST_ANSWERS).await;
    Failure::Died(failure.to_string())
}

/// Leaves the cluster. First balancers get notice, then the port is closed: what comes later is refused, which every
/// balancer sends elsewhere, and none gets an answer that only some of them would.
async fn hand_over(mesh: &Mesh, stopping: &AtomicBool, door: Door, args: &NodeArgs) -> Result<(), Failure> {
    stopping.store(true, Ordering::Relaxed);
    sleep(args.notice).await;
    door.close(REQUESTS_END).await;
    tracing::info!("handing all sessions over");
    let left = mesh.leave(args.drain).await;
    if let Some(failure) = mesh.failure() {
        return Err(Failure::Died(failure.to_string()));
    }
    match left.map_err(|error| Failure::Failed(Some(error.to_string())))?.ended {
        0 => Ok(()),
        ended => Err(Failure::NobodyStayed(format!(
            "no other node stayed to take the sessions of this one; {ended} sessions ended with it"
        ))),
    }
}

/// Prints the line, without waiting for whoever reads it.
fn say(line: &ReadyLine) {
    let line = line.to_string();
    std::thread::spawn(move || {
        let printed = writeln!(std::io::stdout(), "{line}").and_then(|()| std::io::stdout().flush());
        if let Err(error) = printed {
            tracing::warn!(%error, "could not print the line that says that this node is ready");
        }
    });
}

/// Does what the demo says by stdin, and ends this process when that is closed, also if the parent was killed.
fn follow_stdin(cable: Cable) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            cable.pull(line == PULL);
        }
        std::process::exit(0);
    });
}
