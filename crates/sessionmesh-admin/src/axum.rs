//! The admin API as a `Router` of axum.
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use axum::Router;
//! use sessionmesh::Mesh;
//! use sessionmesh_admin::Admin;
//!
//! # async fn example(mesh: Mesh) -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::<()>::new().nest("/admin", sessionmesh_admin::axum::router(&Admin::new(mesh)));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! // With where a connection comes from; without it, only the token lets anybody in.
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;

use ::axum::Router;
use ::axum::body::{Body as AxumBody, to_bytes};
use ::axum::extract::ConnectInfo;
use ::axum::response::{IntoResponse as _, Response};
use ::axum::routing::any;
use futures::StreamExt as _;
use http::StatusCode;

use crate::answer::PATHS;
use crate::{Admin, BODY_BYTES_MAX, Body, Request, page};

/// All paths of the API. Mount it where you want, with `nest` or `merge`.
pub fn router<S: Clone + Send + Sync + 'static>(admin: &Admin) -> Router<S> {
    let mut router = Router::new();
    let paths = PATHS.iter().map(|(path, _)| *path);
    for path in paths.chain(page::FILES.iter().map(|(path, ..)| *path)) {
        let admin = admin.clone();
        router = router.route(path, any(move |request| answer(admin.clone(), request)));
    }
    router
}

async fn answer(admin: Admin, request: ::axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let from = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| from.ip());
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or did not arrive\n").into_response();
    };
    admin.answer(&Request { parts, body, from }).await.map(|body| match body {
        Body::Whole(bytes) => AxumBody::from(bytes),
        Body::Events(stream) => AxumBody::from_stream(stream.map(Ok::<_, Infallible>)),
    })
}
