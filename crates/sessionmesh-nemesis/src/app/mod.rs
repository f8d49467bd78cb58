//! The application whose sessions are tested: a login, numbered values, and a logout. Tomcat serves the same as a servlet.

mod mesh;
#[cfg(feature = "redis")]
mod redis;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The attribute with the user of the session.
const USER: &str = "user";
/// The attribute that every write overwrites. Each writes one of its own beside it, with its number.
const LAST: &str = "last";
/// How long requests that are under way may take, once the port is closed.
const REQUESTS_END: Duration = Duration::from_secs(3);

/// One node.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    #[arg(long)]
    name: String,
    /// Where visitors come.
    #[arg(long)]
    http: SocketAddr,
    /// Where other nodes come.
    #[arg(long)]
    bind: SocketAddr,
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<String>,
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Copies on other nodes; none: on all of them.
    #[arg(long)]
    backups: Option<u8>,
    /// Whether a change that too few nodes confirmed in time is answered with an error.
    #[arg(long)]
    refuse_fewer_copies: bool,
    /// Sessions in Redis: where its sentinels are.
    #[arg(long)]
    redis: Option<String>,
}

/// Serves until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match args.redis.clone() {
            None => mesh::serve(args).await,
            #[cfg(feature = "redis")]
            Some(url) => redis::serve(&args, &url).await,
            #[cfg(not(feature = "redis"))]
            Some(_) => anyhow::bail!("built without the feature `redis`"),
        }
    })
}

/// Serves until SIGTERM, or until `failed` ends.
async fn serve_until_told(http: SocketAddr, app: Router, failed: impl Future<Output = ()>) -> anyhow::Result<bool> {
    let listener = TcpListener::bind(http).await.context("cannot listen")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (close, closed) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = closed.await;
    });
    let serving = tokio::spawn(async move { serving.await });
    let told = tokio::select! {
        _ = terminate.recv() => true,
        () = failed => false,
    };
    let _ = close.send(());
    let _ = timeout(REQUESTS_END, serving).await;
    Ok(told)
}

/// The name of the attribute that one write has for itself.
fn own(number: u64) -> String {
    format!("n{number}")
}

/// What an answer tells of a session.
fn told(copies: Option<usize>, user: &str, last: Option<u64>, keys: impl Iterator<Item = impl AsRef<str>>) -> String {
    let numbers: Vec<String> =
        keys.filter_map(|key| Some(key.as_ref().strip_prefix('n')?.parse::<u64>().ok()?.to_string())).collect();
    let copies = copies.map(|copies| format!("copies={copies} ")).unwrap_or_default();
    let last = last.map(|last| last.to_string()).unwrap_or_default();
    format!("{copies}user={user} last={last} n={}", numbers.join(","))
}

/// The answer to a visitor without a session.
fn none() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "none".to_owned())
}

#[derive(Debug, serde::Deserialize)]
struct Login {
    user: String,
}

#[derive(Debug, serde::Deserialize)]
struct Number {
    n: u64,
}
