//! Sessions of [`sessionmesh`] for axum.
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
//! Nothing, until something asks for the [`Session`]. Then it is loaded once, however many extractors there are, from
//! this node's memory if it owns the session, else from a node that does.
//!
//! What the request changes is collected and becomes **one commit when the response is ready, before its head leaves**.
//! So whoever follows a redirect to another node sees the change, a login ([`Session::renew`]) and what it stores are one
//! step, and two requests at the same time that change different attributes never overwrite each other. A visitor who
//! has no session gets one, and a cookie, with the first attribute that is stored, not before.
//!
//! | the request | its changes |
//! |---|---|
//! | answers 1xx to 4xx | are committed |
//! | answers 5xx | are dropped, a renewal too; [`SessionLayer::commit_on_server_error`] commits them |
//! | panics, or the visitor hangs up first | are dropped |
//! | called [`Session::invalidate`] | the session has ended at that moment; the cookie goes whatever the answer |
//! | called [`Session::commit`] | what it had changed by then is made; a new id is told whatever the answer |
//!
//! If the session has ended meanwhile, by a logout elsewhere, the response goes out as it is, nothing is stored, and no
//! cookie is set. The same holds if another request renewed its id: what was written follows into the renewed session, but
//! only the request that renewed it tells the new id. For other failures see [`Reason`] and [`SessionLayer::error_page`].
//!
//! The body of a response is streamed after that. What it changes is committed by [`Session::commit`] only; it can neither
//! make a session nor renew one, since the visitor could not be told.
//!
//! # The cookie
//!
//! [`SessionCookie`] says what it looks like. Reading a session counts as an access, at no cost; with
//! [`SessionCookie::max_age`] the cookie is sent again with every response to a request that used the session, so the
//! browser's copy lives on as the session does. A response with a `Set-Cookie` of this layer gets `Cache-Control: no-store`
//! unless it says `private` or `no-store` itself: a shared cache that keeps one would log everybody in as the same visitor.
//! (A page that shows what a session holds should say so too, also when no cookie is set.)

#[cfg(feature = "layer")]
mod layer;

#[cfg(feature = "layer")]
pub use layer::{
    Asked, Commit, CookieError, Key, Reason, RouteCookie, SameSite, Session, SessionCookie, SessionError,
    SessionFuture, SessionLayer, SessionOptions, SessionOptionsService, SessionService,
};
