//! `sessionmesh node`: one node with the example application, from its configuration to its orderly end.

mod app;
mod cookie;
mod page;
mod ready_line;
mod settings;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessionmesh::{LeaveError, Mesh};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::app::App;
pub(crate) use self::ready_line::ReadyLine;
use self::settings::Settings;
use crate::cli::{Failure, NodeArgs};

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
    let mut stop = Stop::new().map_err(|error| Failure::Failed(Some(format!("cannot listen for signals: {error}"))))?;
    // The HTTP port first: if it is taken, no other node ever hears of this one.
    let Server { listener, http } = Server::bind(&settings).await.map_err(Failure::Refused)?;
    let starting = Mesh::builder().config(settings.mesh).start();
    let mesh = tokio::select! {
        started = starting => started.map_err(|error| Failure::Refused(error.to_string()))?,
        () = stop.asked() => return Ok(()),
    };
    let app = App { mesh: mesh.clone(), stopping: Arc::default() };
    let stopping = app.stopping.clone();
    let (end, ended) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app::router(app)).with_graceful_shutdown(async {
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
        left = hand_over(&mesh, &stopping, args.drain) => {
            let _ = end.send(());
            let _ = timeout(REQUESTS_END, serving).await;
            left.map_err(|error| Failure::Failed(Some(error.to_string())))
        }
        () = stop.asked() => Err(Failure::Failed(Some("stopped at once; nothing more was handed over".to_owned()))),
    }
}

/// Leaves the cluster while requests are still served.
async fn hand_over(mesh: &Mesh, stopping: &AtomicBool, drain: Duration) -> Result<(), LeaveError> {
    stopping.store(true, Ordering::Relaxed);
    tracing::info!(?drain, "stopping: handing all sessions over");
    mesh.leave(drain).await
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

use listening::Server;

#[allow(clippy::disallowed_types, reason = "the application's HTTP is no traffic of the mesh")]
mod listening {
    use std::net::SocketAddr;

    use tokio::net::TcpListener;

    use super::Settings;

    /// Where visitors come in.
    pub(super) struct Server {
        pub(super) listener: TcpListener,
        pub(super) http: SocketAddr,
    }

    impl Server {
        pub(super) async fn bind(settings: &Settings) -> Result<Self, String> {
            let at = settings.http;
            let failed = |error| format!("cannot listen for HTTP at {at}: {error}; choose another `http` address");
            let listener = TcpListener::bind(at).await.map_err(failed)?;
            let http = listener.local_addr().map_err(failed)?;
            Ok(Self { listener, http })
        }
    }
}

/// Ctrl-C and SIGTERM.
pub(crate) struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// Listens from now on, so that no signal ends the process unseen.
    pub(crate) fn new() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next signal to stop.
    pub(crate) async fn asked(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
