//! The admin API as a scope of actix-web.
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use sessionmesh::Mesh;
//! use sessionmesh_admin::Admin;
//!
//! # async fn example(mesh: Mesh) -> std::io::Result<()> {
//! let admin = Admin::new(mesh);
//! HttpServer::new(move || App::new().service(sessionmesh_admin::actix::scope("/admin", admin.clone())))
//!     .bind("127.0.0.1:8080")?
//!     .run()
//!     .await
//! # }
//! ```

use std::convert::Infallible;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, PayloadConfig};
use actix_web::{HttpRequest, HttpResponse, Scope, web};
use futures::StreamExt as _;

use crate::{Admin, BODY_BYTES_MAX, Body, Request};

/// All paths of the API below `path`.
pub fn scope(path: &str, admin: Admin) -> Scope {
    web::scope(path)
        .app_data(Data::new(admin))
        .app_data(PayloadConfig::new(BODY_BYTES_MAX))
        .default_service(web::to(answer))
}

async fn answer(request: HttpRequest, body: Bytes, admin: Data<Admin>) -> HttpResponse {
    let Some(parts) = parts(&request) else {
        return HttpResponse::BadRequest().body("malformed\n");
    };
    let from = request.peer_addr().map(|from| from.ip());
    let answer = admin.answer(&Request { parts, body, from }).await;
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in answer.headers() {
        response.insert_header((name.as_str(), value.as_bytes()));
    }
    match answer.into_body() {
        Body::Whole(bytes) => response.body(bytes),
        Body::Events(stream) => response.streaming(stream.map(Ok::<_, Infallible>)),
    }
}

/// actix-web has types of its own for this.
fn parts(request: &HttpRequest) -> Option<http::request::Parts> {
    let rest = request.match_info().unprocessed();
    let path = if rest.is_empty() { "/" } else { rest };
    let query = request.query_string();
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut built = http::Request::builder().method(request.method().as_str()).uri(uri);
    for (name, value) in request.headers() {
        built = built.header(name.as_str(), value.as_bytes());
    }
    Some(built.body(()).ok()?.into_parts().0)
}
