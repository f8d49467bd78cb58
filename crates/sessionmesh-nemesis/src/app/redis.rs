//! The application on tower-sessions, with its store for Redis.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_sessions_0_14::cookie::time;
use tower_sessions_0_14::{Expiry, Session, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{
    ClientLike as _, Config, ConnectionConfig, PerformanceConfig, Pool, ReconnectPolicy,
};
use tower_sessions_redis_store::fred::types::config::UnresponsiveConfig;

use super::{LAST, Login, Number, ServeArgs, USER, none, own, serve_until_told, told};

/// Connections to Redis, as in the documentation of the store.
const POOL: usize = 6;
/// Between two attempts to connect again.
const RECONNECT_MS: u32 = 100;
/// A command that takes longer has failed.
const COMMAND_WITHIN: Duration = Duration::from_secs(1);
/// A connection on which nothing was answered for so long is closed.
const UNRESPONSIVE: Duration = Duration::from_secs(2);
/// No session ends by time.
const IDLE: time::Duration = time::Duration::minutes(30);

/// The crate does not tell the names of attributes, so the numbers are in one more.
const ALL: &str = "all";

type Failed = (StatusCode, String);

fn failed(error: impl std::fmt::Display) -> Failed {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

pub(super) async fn serve(args: &ServeArgs, url: &str) -> anyhow::Result<ExitCode> {
    let performance = PerformanceConfig { default_command_timeout: COMMAND_WITHIN, ..PerformanceConfig::default() };
    let connection = ConnectionConfig {
        connection_timeout: COMMAND_WITHIN,
        internal_command_timeout: COMMAND_WITHIN,
        unresponsive: UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: Duration::from_millis(250) },
        ..ConnectionConfig::default()
    };
    let again = ReconnectPolicy::new_constant(0, RECONNECT_MS);
    let pool = Pool::new(Config::from_url(url)?, Some(performance), Some(connection), Some(again), POOL)?;
    pool.connect();
    pool.wait_for_connect().await?;
    let layer = SessionManagerLayer::new(RedisStore::new(pool))
        .with_secure(false)
        .with_name("id")
        .with_expiry(Expiry::OnInactivity(IDLE));
    let app = Router::new()
        .route("/login", post(login))
        .route("/write", post(write))
        .route("/read", get(read))
        .route("/logout", post(logout))
        .layer(layer)
        .route("/status", get(|| async { "ready=true" }));
    serve_until_told(args.http, app, std::future::pending()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn shown(session: &Session) -> Result<Option<String>, Failed> {
    let Some(user) = session.get::<String>(USER).await.map_err(failed)? else { return Ok(None) };
    let last = session.get::<u64>(LAST).await.map_err(failed)?;
    let all = session.get::<Vec<u64>>(ALL).await.map_err(failed)?.unwrap_or_default();
    Ok(Some(told(None, &user, last, all.into_iter().map(own))))
}

async fn login(session: Session, Query(Login { user }): Query<Login>) -> Result<String, Failed> {
    session.insert(USER, &user).await.map_err(failed)?;
    session.save().await.map_err(failed)?;
    Ok(told(None, &user, None, std::iter::empty::<&str>()))
}

/// Answers with what was there before.
async fn write(session: Session, Query(Number { n }): Query<Number>) -> Result<Response, Failed> {
    let Some(before) = shown(&session).await? else { return Ok(none().into_response()) };
    let mut all = session.get::<Vec<u64>>(ALL).await.map_err(failed)?.unwrap_or_default();
    all.push(n);
    session.insert(ALL, &all).await.map_err(failed)?;
    session.insert(LAST, &n).await.map_err(failed)?;
    // Here, so that an error is an answer, too.
    session.save().await.map_err(failed)?;
    Ok(before.into_response())
}

async fn read(session: Session) -> Result<Response, Failed> {
    Ok(shown(&session).await?.map_or_else(|| none().into_response(), IntoResponse::into_response))
}

async fn logout(session: Session) -> Result<Response, Failed> {
    if shown(&session).await?.is_none() {
        return Ok(none().into_response());
    }
    session.flush().await.map_err(failed)?;
    Ok("ok".into_response())
}
