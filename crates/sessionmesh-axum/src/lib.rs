//! Replicated sessions for axum, without a session server: a layer and an extractor for new applications, and a store
//! for applications that [use tower-sessions](#with-tower-sessions).
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::response::Redirect;
//! use axum::routing::{get, post};
//! use axum::{Form, Router};
//! use sessionmesh::{Discovery, Mesh};
//! use sessionmesh_axum::{Session, SessionError, SessionLayer};
//!
//! #[derive(serde::Deserialize)]
//! struct Login {
//!     user: String,
//! }
//!
//! async fn home(session: Session) -> Result<String, SessionError> {
//!     let visits = session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0) + 1))?;
//!     let user = session.get::<String>("user")?.unwrap_or_else(|| "stranger".to_owned());
//!     Ok(format!("Hello {user}, visit {}", visits.unwrap_or(0)))
//! }
//!
//! async fn login(session: Session, Form(login): Form<Login>) -> Result<Redirect, SessionError> {
//!     // ... after the password was checked:
//!     session.renew();
//!     session.insert("user", &login.user)?;
//!     Ok(Redirect::to("/"))
//! }
//!
//! async fn logout(session: Session) -> Result<Redirect, SessionError> {
//!     session.invalidate().await?;
//!     Ok(Redirect::to("/"))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mesh = Mesh::builder().name("app-1").discovery(Discovery::multicast()).start().await?;
//!     mesh.ready().await;
//!     let app = Router::new()
//!         .route("/", get(home))
//!         .route("/login", post(login))
//!         .route("/logout", post(logout))
//!         .layer(SessionLayer::new(mesh.clone()).ignore_paths(["/assets", "/healthz"]));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     axum::serve(listener, app).with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await?;
//!     // Before a deploy: hand all sessions over to the other nodes.
//!     mesh.leave(Duration::from_secs(10)).await?;
//!     Ok(())
//! }
//! ```
//!
//! # What happens in a request
//!
//! Nothing, until something asks for the [`Session`]. Then it is loaded once, however many extractors there are: from
//! this node's memory if it owns the session, otherwise from a node that does.
//!
//! The changes of the request are collected, and become **one commit when the response is ready, before its head
//! leaves**. So a visitor who follows a redirect to another node sees the change. A login ([`Session::renew`]) and what
//! it stores are one step. Two requests at the same time that change different attributes never overwrite each other. A
//! visitor without a session gets one, and a cookie, when the first attribute is stored, not before.
//!
//! | the request | its changes |
//! |---|---|
//! | answers 1xx to 4xx | are committed |
//! | answers 5xx | are dropped, a renewal too; [`SessionLayer::commit_on_server_error`] commits them |
//! | panics, or the visitor hangs up first | are dropped |
//! | called [`Session::invalidate`] | are dropped: the session has ended at that moment; any answer removes the cookie |
//! | called [`Session::commit`] | made before the call are committed; any answer carries a new id |
//!
//! If a logout elsewhere has ended the session meanwhile, the response goes out as it is, nothing is stored, and no
//! cookie is set. The same holds if another request renewed the id. What was written then follows into the renewed
//! session, but only the response to the request that renewed the id carries the new one. A request that arrives with
//! an id that was renewed in the last minute has no session, stores nothing and gets no cookie, because its cookie
//! would replace the good one ([`Session::was_renewed_elsewhere`]). A session that was moved
//! ([`sessionmesh::Session::move_home`]) continues: the response to every request with the old id carries the new one.
//! For other failures see [`ErrorKind`] and [`SessionLayer::error_page`].
//!
//! The body of a response is streamed after that. Changes during the stream are committed by [`Session::commit`], or
//! when the last handle is dropped. The stream can neither make a session nor renew one, because the head with the
//! cookie has left. Each use of the handle is an access: see [`Session`].
//!
//! # The cookie
//!
//! [`SessionCookie`] says what the cookie looks like, and what happens if a request carries several of its name.
//! Reading a session is an access, at no cost. With [`SessionCookie::max_age`], every response to a request that used
//! the session sends the cookie again, so the browser's copy lives as long as the session. A response with a
//! `Set-Cookie` of this layer gets `Cache-Control: no-store`, unless it says `private` or `no-store` itself: a shared
//! cache that keeps one would log everybody in as the same visitor. Other responses to requests that used the session
//! get `Cache-Control: private, no-cache`, unless the handler sets that header, and all of them `Vary: Cookie`; see
//! [`SessionLayer::cache_headers`].
//!
//! "Remember me" is [`Session::remember_for`], at the login:
//!
//! ```
//! # use std::time::Duration;
//! # use sessionmesh_axum::{Session, SessionError};
//! async fn log_in(session: Session, user: &str, stay: bool) -> Result<(), SessionError> {
//!     session.renew();
//!     session.insert("user", user)?;
//!     if stay {
//!         session.remember_for(Duration::from_secs(30 * 24 * 60 * 60));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Behind a balancer
//!
//! Any node serves any session, so any balancer will do. [`RouteCookie`] names the node, for balancers that keep a
//! visitor on one node. With [`RouteCookie::moves_sessions`], a visitor who arrives at another node than the cookie
//! names, as after a crash, gets a session id whose primary is the new node. Then this node need not ask others at each
//! further request.
//!
//! ```no_run
//! # fn site(mesh: sessionmesh::Mesh) -> Result<(), Box<dyn std::error::Error>> {
//! use sessionmesh_axum::{RouteCookie, SessionLayer};
//!
//! let layer = SessionLayer::new(mesh).route_cookie(RouteCookie::new("route").moves_sessions(true))?;
//! # Ok(())
//! # }
//! ```
//!
//! # With tower-sessions
//!
//! [`MeshStore`] is a session store for tower-sessions. An application that uses another store changes the line that
//! makes the store, and starts a [`Mesh`](sessionmesh::Mesh) before it:
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
    // While the cluster changes, it may not be known whether the visitor has a session: ask the client to come again.
    let visits = session.get::<u32>("visits").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?.unwrap_or(0) + 1;
    session.insert("visits", visits).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(format!("{visits} visits"))
}
```
"#
)]
//!
//! The feature `tower-sessions-0_15`, on by default, is for tower-sessions 0.15. The feature `tower-sessions-0_14` is
//! for version 0.14, which axum-login 0.18 uses. `examples/axum_login.rs` is a complete login on it, with a logout of
//! all sessions of the user on all nodes:
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
//! | log out on one node, request on another | a cache in between may not know of it | logged out at once |
//! | the server with the session dies | lost, or a session server survives it | another node has it |
//! | unchanged save (`with_always_save`) | writes the record | notes the access |
//! | `cycle_id` | keeps what this request loaded | also keeps what others had written until then |
//! | it cannot be known whether a session exists | - | an error from the session's methods, and the cookie stays |
//!
//! Expiry is the same: a session ends at the expiry date of its last save, and reading does not prolong it. The clocks
//! of the nodes need not agree on that date.
//!
//! # Other crates in this interface
//!
//! An adapter has types of both sides in its interface: http 1, axum-core 0.5 (that of axum 0.8), tower-layer and
//! tower-service 0.3, serde 1, tower-sessions-core 0.14 and 0.15 behind their features, and `sessionmesh` of this
//! version. [`Key`] and [`SameSite`] are those of cookie 0.18, as in axum-extra and tower-cookies, so that an
//! application has one key for all.

#[cfg(feature = "layer")]
mod layer;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;

#[cfg(all(feature = "layer", any(fuzzing, sessionmesh_simulation)))]
#[doc(hidden)]
pub use layer::fuzzing;
#[cfg(feature = "layer")]
pub use layer::{
    Commit, CookieError, ErrorKind, Key, Priority, RequestHead, RouteCookie, SameSite, Session, SessionCookie,
    SessionError, SessionFuture, SessionLayer, SessionOptions, SessionOptionsService, SessionService,
};
#[cfg(feature = "tower-sessions")]
pub use tower_sessions::MeshStore;

/// The example of the README compiles.
#[cfg(all(doctest, feature = "layer"))]
#[doc = include_str!("../README.md")]
struct Readme;
