//! What `--admin` serves: metrics, health and the admin API, on an address of its own.

#![allow(clippy::disallowed_types, reason = "the operators' HTTP is no traffic of the mesh")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Redirect;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use sessionmesh::Mesh;
use sessionmesh_admin::{Admin, Token};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::interval;

use super::settings::AdminSettings;

/// The bounds of the buckets of all latencies, in seconds: a commit on a LAN takes 0.2 ms, and none longer than its deadline.
const BUCKETS: [f64; 11] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 5.0];
/// What was not brought up to date for so long belongs to a peer that has gone.
const IDLE: Duration = Duration::from_secs(10);
/// How often latencies that nobody has asked for are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The address, taken early, so that it is refused before the node starts.
pub(super) struct AdminPort {
    listener: TcpListener,
    token: Option<Token>,
    reveal: bool,
    metrics: PrometheusHandle,
}

impl AdminPort {
    /// Takes the address, and installs the recorder of metrics.
    ///
    /// # Errors
    ///
    /// It cannot be had, anybody could ask there, or the token could be guessed; what to do.
    pub(super) async fn take(at: SocketAddr, settings: AdminSettings) -> Result<Self, String> {
        if settings.token.is_none() && !at.ip().to_canonical().is_loopback() {
            return Err(format!(
                "the admin address {at} can be reached from other machines, and there is no `admin_token`; set one \
                 (`openssl rand -base64 24` makes it), or use 127.0.0.1"
            ));
        }
        let token = settings.token.map(Token::new).transpose().map_err(|error| format!("`admin_token`: {error}"))?;
        let listener = TcpListener::bind(at)
            .await
            .map_err(|error| format!("cannot listen at the admin address {at}: {error}; choose another one"))?;
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .map_err(|error| error.to_string())?
            .idle_timeout(MetricKindMask::GAUGE, Some(IDLE))
            .build_recorder();
        let metrics = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        Ok(Self { listener, token, reveal: settings.reveal, metrics })
    }

    /// Where it is, if any free port was asked for.
    pub(super) fn at(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until the process ends. `drain` is woken when somebody asks for a drain.
    pub(super) fn serve(self, mesh: Mesh, drain: Arc<Notify>) {
        let Self { listener, token, reveal, metrics } = self;
        let upkeep = metrics.clone();
        let mut admin = Admin::new(mesh).reveal(reveal).metrics(move || metrics.render());
        admin = admin.on_drain(move || drain.notify_one());
        if let Some(token) = token {
            admin = admin.token(token);
        }
        // Who types the address wants the page.
        let app = sessionmesh_admin::axum::router::<()>(&admin).route("/", get(async || Redirect::temporary("/page")));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move {
            let keeping = async {
                let mut ticks = interval(UPKEEP);
                loop {
                    ticks.tick().await;
                    upkeep.run_upkeep();
                }
            };
            tokio::select! {
                served = axum::serve(listener, app) => if let Err(error) = served {
                    tracing::error!(%error, "the admin address is not served any more");
                },
                () = keeping => {}
            }
        });
    }
}
