//! What the layer costs a request, in allocations, which unlike times are the same on every machine.

#![cfg(feature = "layer")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are outside the functions that clippy knows as tests")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::routing::{get, post};
use sessionmesh::{Discovery, Mesh};
use sessionmesh_axum::{Session, SessionLayer};
use tower::ServiceExt as _;

fn routes() -> Router {
    let read = async |session: Session| if session.get::<u64>("n").unwrap() == Some(7) { "seven" } else { "none" };
    let write = async |session: Session| session.insert("n", &7).unwrap();
    Router::new().route("/quiet", get(async || "quiet")).route("/read", get(read)).route("/write", post(write))
}

fn request(method: &str, path: &str, cookie: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).header(COOKIE, cookie).body(Body::empty()).unwrap()
}

/// Allocations of one request, when all that is made once has been made.
async fn allocations(site: &Router, path: &str, cookie: &str) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..20 {
        let (site, request) = (site.clone(), request("GET", path, cookie));
        // On this thread only, and nothing here waits for another one.
        let (response, counted) = {
            let mut response = None;
            let mut serving = Box::pin(site.oneshot(request));
            let counted = allocation_counter::measure(|| {
                response = Some(futures::executor::block_on(&mut serving));
            });
            (response.unwrap().unwrap(), counted)
        };
        assert!(response.status().is_success());
        fewest = fewest.min(counted.count_total);
    }
    fewest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_reads_the_session_allocates_little_and_one_that_does_not_hardly_anything() {
    let alone = Mesh::builder().name("web-1").discovery(Discovery::seeds(["127.0.0.1:1"]));
    let mesh = alone.discovery_window(Duration::ZERO).start().await.unwrap();
    mesh.ready().await;
    // Any layer makes axum box the route once more.
    let idle = tower::util::MapRequestLayer::new(|request: Request<Body>| request);
    let (bare, site) = (routes().layer(idle), routes().layer(SessionLayer::new(mesh)));
    let response = site.clone().oneshot(request("POST", "/write", "")).await.unwrap();
    let set = response.headers()[SET_COOKIE].to_str().unwrap();
    let cookie = format!("theme=dark; {}", set.split(';').next().unwrap());

    let nothing = allocations(&bare, "/quiet", &cookie).await;
    let quiet = allocations(&site, "/quiet", &cookie).await;
    let read = allocations(&site, "/read", &cookie).await;
    println!("a layer that does nothing: {nothing}, this layer: {quiet}, and one attribute read: {read}");
    assert!(quiet <= nothing + 4, "{quiet} with the layer, {nothing} with one that does nothing");
    assert!(read <= quiet + 4, "{read} to read an attribute, {quiet} to read none");
}
