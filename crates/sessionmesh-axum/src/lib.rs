//! Replicated sessions for axum, without a session server.
//!
//! # With tower-sessions
//!
//! [`MeshStore`] is a session store for tower-sessions. Whoever has an application with another store changes the line
//! that makes the store, and starts a [`Mesh`](sessionmesh::Mesh) before it:
//!
#![cfg_attr(
    feature = "tower-sessions-0_15",
    doc = r#"
```no_run
use axum::http::StatusCode;
use axum::{Router, routing::get};
use sessionmesh::{Discovery, Mesh};
use sessionmesh_axum::MeshStore;
# use tower_sessions_0_15 as tower_sessions;
use tower_sessions::{Session, SessionManagerLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mesh = Mesh::builder().name("app-1").discovery(Discovery::multicast()).start().await?;
    mesh.ready().await;

    let store = MeshStore::new(mesh.clone());           // was: MemoryStore::default()
    let app: Router = Router::new().route("/", get(count)).layer(SessionManagerLayer::new(store));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    axum::serve(listener, app).await?;
    mesh.leave(std::time::Duration::from_secs(10)).await?;  // hands all sessions over
    Ok(())
}

async fn count(session: Session) -> Result<String, StatusCode> {
    // Whether the visitor has a session may not be known while the cluster changes: the client shall come again.
    let visits = session.get::<u32>("visits").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?.unwrap_or(0) + 1;
    session.insert("visits", visits).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(format!("{visits} visits"))
}
```
"#
)]
//!
//! tower-sessions 0.15 is the feature `tower-sessions-0_15`, on by default. Its version 0.14, which axum-login 0.18
//! uses, is `tower-sessions-0_14`; `examples/axum_login.rs` is a complete login on it:
//!
//! ```sh
//! cargo run -p sessionmesh-axum --example axum_login --features tower-sessions-0_14
//! ```
//!
//! # What differs from the stock stores
//!
//! | | stock stores | [`MeshStore`] |
//! |---|---|---|
//! | two requests of a visitor write different attributes | the later save overwrites the other's | both stay |
//! | a slow request saves after the logout | logged in again | stays logged out |
//! | log out on one node, request on another | a cache in between may not know | logged out at once |
//! | the server with the session dies | lost, or a session server survives it | another node has it |
//! | unchanged save (`with_always_save`) | writes the record | notes the access |
//! | `cycle_id` | takes along what this request loaded | and what others had written until then |
//! | it cannot be known whether a session exists | - | an error from the session's methods, and the cookie stays |
//!
//! Expiry is the same: a session ends at the expiry date of its last save, and reading does not prolong it. Clocks of the
//! nodes need not agree on it.

#[cfg(feature = "tower-sessions")]
mod tower_sessions;

#[cfg(feature = "tower-sessions")]
pub use tower_sessions::MeshStore;
