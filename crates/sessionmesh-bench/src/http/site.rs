//! The application that is measured, in each variant.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use clap::{Args, ValueEnum};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sessionmesh::{Ack, Discovery, Mesh, Secret};
use sessionmesh_admin::{Admin, Token};
use sessionmesh_axum::{MeshStore, SessionCookie, SessionLayer};
use tokio::net::TcpListener;
use tower_sessions::cookie::time;
use tower_sessions::{Expiry, MemoryStore, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};

use crate::cluster;

/// Connections to Redis.
const REDIS_POOL: usize = 6;
/// The attribute that is read and written.
pub(crate) const KEY: &str = "a";
/// Who has it may use the admin API. It guards nothing.
pub(crate) const TOKEN: &str = "a-token-for-measuring-only";
/// The buckets of latencies, in seconds, as many as `sessionmesh node` has.
const BUCKETS: [f64; 11] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 5.0];
/// No session ends during a run.
const IDLE: Duration = Duration::from_secs(7_200);

/// What keeps the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Variant {
    /// Nothing: the ceiling.
    Bare,
    /// tower-sessions on its MemoryStore: one process, nothing survives it.
    Memory,
    /// tower-sessions on a local Redis.
    Redis,
    /// tower-sessions on Sessionmesh, two nodes, each commit acknowledged by the other one.
    MeshStore,
    /// Sessionmesh's own layer, likewise.
    MeshLayer,
}

impl Variant {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::MeshStore => "mesh-store",
            Self::MeshLayer => "mesh-layer",
        }
    }
}

/// One server.
#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    variant: Variant,
    #[arg(long)]
    name: String,
    /// Another node.
    #[arg(long)]
    seed: Option<SocketAddr>,
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis: String,
    /// The cluster secret. Whoever lists processes sees it: it is made for one run, and guards nothing.
    #[arg(long, value_parser = Secret::parse)]
    secret: Option<Secret>,
    /// Count for Prometheus, and serve the admin API.
    #[arg(long)]
    observed: bool,
    /// End when standard input does: so it never outlives who started it.
    #[arg(long)]
    attended: bool,
}

/// Serves until it is killed. Says its addresses once it is ready.
pub(crate) async fn serve(args: SiteArgs) -> anyhow::Result<()> {
    if args.attended {
        std::thread::spawn(|| {
            let ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(i32::from(ended.is_err()));
        });
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut ready = format!("ready {}", listener.local_addr()?);
    let metrics =
        args.observed.then(|| PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()).transpose()?;
    let mut mesh = None;
    if matches!(args.variant, Variant::MeshStore | Variant::MeshLayer) {
        let started = start_mesh(&args).await?;
        let _ = write!(ready, " {}", started.addr());
        mesh = Some(started);
    }
    let admin = mesh.clone().zip(metrics).map(|(mesh, metrics)| admin(mesh, metrics)).transpose()?;
    let app = match (args.variant, mesh) {
        (Variant::Bare, _) => bare(),
        (Variant::Memory, _) => tower(MemoryStore::default()),
        (Variant::Redis, _) => {
            let pool = Pool::new(Config::from_url(&args.redis)?, None, None, None, REDIS_POOL)?;
            pool.connect();
            pool.wait_for_connect().await?;
            tower(RedisStore::new(pool))
        }
        (Variant::MeshStore, Some(mesh)) => tower(MeshStore::new(mesh.clone())).merge(members(mesh)),
        (Variant::MeshLayer, Some(mesh)) => own(mesh.clone())?.merge(members(mesh)),
        (Variant::MeshStore | Variant::MeshLayer, None) => unreachable!("it was started above"),
    };
    let app = app.merge(admin.unwrap_or_default());
    println!("{ready}");
    let listener = listener.tap_io(|stream| {
        // Without it small answers wait for acknowledgements.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await.context("cannot serve")
}

async fn start_mesh(args: &SiteArgs) -> anyhow::Result<Mesh> {
    // The first one has a seed, too: without any it would meet by multicast whatever else runs on this machine.
    let seeds = [cluster::NOBODY.to_owned()].into_iter().chain(args.seed.iter().map(ToString::to_string));
    let builder = Mesh::builder()
        .cluster(args.variant.name())
        .name(args.name.clone())
        .discovery(Discovery::seeds(seeds))
        // The first one is alone for sure: it need not look around for long.
        .discovery_window(Duration::from_millis(if args.seed.is_none() { 50 } else { 1_000 }))
        .ack(Ack::Copies(1))
        .max_inactive(IDLE)
        .secret(Vec::from_iter(args.secret.clone()));
    let mesh = builder.start().await?;
    mesh.ready().await;
    Ok(mesh)
}

/// What a write asks for: a value of so many bytes.
#[derive(serde::Deserialize)]
pub(crate) struct Wanted {
    n: usize,
}

impl Wanted {
    /// Another value each time, and its number: nobody gets away with writing nothing.
    pub(crate) fn value(&self) -> (u64, String) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut value = String::with_capacity(self.n + 20);
        let _ = write!(value, "{number};");
        value.extend(std::iter::repeat_n('x', self.n.saturating_sub(value.len())));
        (number, value)
    }
}

/// The answer to a write: which value a read will tell of.
fn written(number: u64) -> String {
    format!("ok {number}")
}

/// The answer to a read: short, so that not the answer is measured.
fn told(value: Option<&str>) -> (StatusCode, String) {
    match value {
        Some(value) => (StatusCode::OK, format!("{} {}", value.len(), value.split(';').next().unwrap_or_default())),
        None => (StatusCode::NOT_FOUND, "none".to_owned()),
    }
}

type Failed = (StatusCode, String);

fn failed(error: impl std::fmt::Display) -> Failed {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Metrics, the page and the admin API, for who has [`TOKEN`].
fn admin(mesh: Mesh, metrics: PrometheusHandle) -> anyhow::Result<Router> {
    let admin = Admin::new(mesh).token(Token::new(TOKEN.to_owned())?).metrics(move || metrics.render());
    Ok(sessionmesh_admin::axum::router(&admin))
}

/// How many members a node sees, for who waits until all have come together.
fn members(mesh: Mesh) -> Router {
    let count = move || {
        let mesh = mesh.clone();
        async move { format!("members {}", mesh.members().len()) }
    };
    Router::new().route("/members", get(count))
}

/// The same work without anything stored.
pub(crate) fn bare() -> Router {
    async fn read() -> (StatusCode, String) {
        told(Some("1;xxx"))
    }
    async fn write(Query(wanted): Query<Wanted>) -> String {
        let (number, value) = wanted.value();
        std::hint::black_box(value);
        written(number)
    }
    Router::new().route("/read", get(read)).route("/write", get(write)).route("/new", get(write))
}

pub(crate) fn tower<S: SessionStore + Clone>(store: S) -> Router {
    use tower_sessions::Session;

    async fn read(session: Session) -> Result<(StatusCode, String), Failed> {
        Ok(told(session.get::<String>(KEY).await.map_err(failed)?.as_deref()))
    }
    async fn write(session: Session, Query(wanted): Query<Wanted>) -> Result<String, Failed> {
        let (number, value) = wanted.value();
        session.insert(KEY, value).await.map_err(failed)?;
        Ok(written(number))
    }
    let expiry = Expiry::OnInactivity(time::Duration::try_from(IDLE).expect("two hours"));
    let layer = SessionManagerLayer::new(store).with_secure(false).with_expiry(expiry);
    Router::new().route("/read", get(read)).route("/write", get(write)).route("/new", get(write)).layer(layer)
}

pub(crate) fn own(mesh: Mesh) -> anyhow::Result<Router> {
    use sessionmesh_axum::Session;

    async fn read(session: Session) -> Result<(StatusCode, String), Failed> {
        Ok(told(session.get::<String>(KEY).map_err(failed)?.as_deref()))
    }
    async fn write(session: Session, Query(wanted): Query<Wanted>) -> Result<String, Failed> {
        let (number, value) = wanted.value();
        session.insert(KEY, &value).map_err(failed)?;
        Ok(written(number))
    }
    let layer = SessionLayer::new(mesh).cookie(SessionCookie::new("id").secure(false))?;
    Ok(Router::new().route("/read", get(read)).route("/write", get(write)).route("/new", get(write)).layer(layer))
}
