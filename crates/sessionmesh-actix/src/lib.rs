//! Replicated sessions for actix-web, without a session server.
//!
//! [`MeshStore`] is a session store for actix-session. An application that uses another store changes the line that
//! makes the store, and starts a [`Mesh`](sessionmesh::Mesh) before it:
//!
//! ```no_run
//! use actix_session::{Session, SessionMiddleware};
//! use actix_web::cookie::Key;
//! use actix_web::{App, HttpServer, web};
//! use sessionmesh::{Discovery, Mesh};
//! use sessionmesh_actix::MeshStore;
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mesh = Mesh::builder().name("app-1").discovery(Discovery::multicast()).start().await?;
//!     mesh.ready().await;
//!
//!     let store = MeshStore::new(mesh.clone());           // was: RedisSessionStore::new(url).await?
//!     let key = Key::from(&std::fs::read("cookie.key")?); // the same on all nodes
//!     HttpServer::new(move || {
//!         App::new()
//!             .wrap(SessionMiddleware::new(store.clone(), key.clone()))
//!             .route("/", web::get().to(count))
//!     })
//!     .bind("127.0.0.1:8080")?
//!     .run()
//!     .await?;
//!     mesh.leave(std::time::Duration::from_secs(10)).await?; // hands all sessions over
//!     Ok(())
//! }
//!
//! async fn count(session: Session) -> Result<String, actix_web::Error> {
//!     let visits = session.get::<u32>("visits")?.unwrap_or(0) + 1;
//!     session.insert("visits", visits)?;
//!     Ok(format!("{visits} visits"))
//! }
//! ```
//!
//! The mesh runs on the runtime on which it is started. Start it in `main`, as above: the runtime of a worker ends with
//! the worker. Both `#[actix_web::main]` and `#[tokio::main]` work.
//!
//! `examples/actix_identity.rs` is a complete login with actix-identity, with a logout of all sessions of the user on all
//! nodes:
//!
//! ```sh
//! cargo run -p sessionmesh-actix --example actix_identity
//! ```
//!
//! # What differs from the stock stores
//!
//! | | stock stores | [`MeshStore`] |
//! |---|---|---|
//! | two requests of a visitor write different entries | the later save overwrites the other's | both stay |
//! | a slow request saves after the logout | a new session, logged in, with a new cookie | stays logged out, same key |
//! | log out on one node, request on another | - (one Redis) | logged out at once |
//! | the server with the session dies | the session server survives it | another node has it |
//! | `TtlExtensionPolicy::OnEveryRequest` | one command to Redis per request | noted on this node; others hear of it after a tenth of the time |
//! | `renew` | keeps what this request loaded | also keeps what others had written until then |
//! | the key in the cookie | 64 letters and digits | the 22 characters of [`SessionId::encode`](sessionmesh::SessionId::encode) |
//!
//! # Other crates in this interface
//!
//! The `SessionStore` of actix-session 0.11 and the types in it (anyhow 1, the durations of the cookies of actix-web
//! 4), and `sessionmesh` of this version: that is what a store is for.

mod store;

pub use store::MeshStore;

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
