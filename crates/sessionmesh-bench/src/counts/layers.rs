//! Requests through the layers, without sockets: what routes, cookies and sessions cost, and nothing of the server.

use actix_session::SessionMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_web::cookie::Key;
use actix_web::dev::{Service as _, ServiceResponse};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{COOKIE, SET_COOKIE};
use sessionmesh_actix::MeshStore;
use tokio::runtime::Runtime;
use tower_layer::Identity;
use tower_service::Service;

use super::nodes::{alone, runtime};
use super::operations::Work;
use crate::http::site::{self, KEY, Wanted};

const READ: &str = "/read";
const WRITE: &str = "/write?n=256";

/// A read without sessions: what all others cost beyond it is theirs.
pub(super) fn bare_read(times: u32) -> anyhow::Result<Work> {
    requests_to(runtime()?, site::bare(), times, READ, "id=none")
}

/// A write without sessions.
pub(super) fn bare_write(times: u32) -> anyhow::Result<Work> {
    requests_to(runtime()?, site::bare(), times, WRITE, "id=none")
}

/// A read without sessions in a layer that does nothing: what axum takes for any layer.
pub(super) fn empty_layer_read(times: u32) -> anyhow::Result<Work> {
    requests_to(runtime()?, site::bare().layer(Identity::new()), times, READ, "id=none")
}

/// A read through the own layer.
pub(super) fn axum_read(times: u32) -> anyhow::Result<Work> {
    axum(times, READ, site::own)
}

/// A write through the own layer.
pub(super) fn axum_write(times: u32) -> anyhow::Result<Work> {
    axum(times, WRITE, site::own)
}

/// A read through tower-sessions.
pub(super) fn tower_read(times: u32) -> anyhow::Result<Work> {
    axum(times, READ, |mesh| Ok(site::tower(sessionmesh_axum::MeshStore::new(mesh))))
}

/// A write through tower-sessions.
pub(super) fn tower_write(times: u32) -> anyhow::Result<Work> {
    axum(times, WRITE, |mesh| Ok(site::tower(sessionmesh_axum::MeshStore::new(mesh))))
}

/// Requests of one visitor to a site for axum.
fn axum(times: u32, path: &'static str, site: fn(sessionmesh::Mesh) -> anyhow::Result<Router>) -> anyhow::Result<Work> {
    let runtime = runtime()?;
    let (site, cookie) = runtime.block_on(async {
        let mut site = site(alone().await?)?;
        let response = site.call(Request::get(WRITE).body(Body::empty())?).await?;
        let set = response.headers().get(SET_COOKIE).context("no cookie is set")?.to_str()?;
        anyhow::Ok((site, set.split(';').next().unwrap_or_default().to_owned()))
    })?;
    requests_to(runtime, site, times, path, &cookie)
}

/// So many requests with this cookie.
fn requests_to(
    runtime: Runtime,
    mut site: Router,
    times: u32,
    path: &'static str,
    cookie: &str,
) -> anyhow::Result<Work> {
    let request = |_| Request::get(path).header(COOKIE, cookie).body(Body::empty());
    let mut requests = (0..times).map(request).collect::<Result<Vec<_>, _>>()?.into_iter();
    Ok(Box::new(move || {
        runtime.block_on(async {
            for request in requests.by_ref() {
                let response = site.call(request).await?;
                ensure!(response.status() == 200, "the answer is {}", response.status());
            }
            Ok(times.into())
        })
    }))
}

/// A read through actix-session.
pub(super) fn actix_read(times: u32) -> anyhow::Result<Work> {
    actix(times, READ)
}

/// A write through actix-session.
pub(super) fn actix_write(times: u32) -> anyhow::Result<Work> {
    actix(times, WRITE)
}

/// Requests of one visitor to a site for actix-web that does the same.
fn actix(times: u32, path: &'static str) -> anyhow::Result<Work> {
    use actix_session::Session;

    async fn read(session: Session) -> actix_web::Result<String> {
        let value = session.get::<String>(KEY)?;
        Ok(value.map_or_else(|| "none".to_owned(), |value| value.len().to_string()))
    }
    async fn write(session: Session, wanted: web::Query<Wanted>) -> actix_web::Result<String> {
        let (number, value) = wanted.value();
        session.insert(KEY, value)?;
        Ok(number.to_string())
    }
    let failed = |error: actix_web::Error| anyhow::anyhow!("{error}");
    let runtime = runtime()?;
    let (service, requests) = runtime.block_on(async {
        // Signed and not encrypted: the latter gives another text of another length in each run.
        let sessions = SessionMiddleware::builder(MeshStore::new(alone().await?), Key::from(&[7; 64]))
            .cookie_content_security(CookieContentSecurity::Signed)
            .build();
        let app = App::new().wrap(sessions).route("/read", web::get().to(read)).route("/write", web::get().to(write));
        let service = init_service(app).await;
        let response: ServiceResponse<_> =
            service.call(TestRequest::get().uri(WRITE).to_request()).await.map_err(failed)?;
        let cookie = response.response().cookies().next().context("no cookie is set")?.into_owned();
        let request = |_| TestRequest::get().uri(path).cookie(cookie.clone()).to_request();
        let requests: Vec<_> = (0..times).map(request).collect();
        drop(response);
        anyhow::Ok((service, requests))
    })?;
    let mut requests = requests.into_iter();
    Ok(Box::new(move || {
        runtime.block_on(async {
            for request in requests.by_ref() {
                let response: ServiceResponse<_> = service.call(request).await.map_err(failed)?;
                ensure!(response.status() == 200, "the answer is {}", response.status());
            }
            Ok(times.into())
        })
    }))
}
